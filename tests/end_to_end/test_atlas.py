"""Whole pilots with ATLAS jobs: transforms, releases, containers, steps, reports."""

from __future__ import annotations

import io
import json
import subprocess
import tarfile

import pytest
from tests.atlas.jobs import ANALYSIS, PRODUCTION, job_report, listed
from tests.atlas.world import Desk, make_cvmfs, put_release, web_server

SIM = """\
report() {{ cat > jobReport.json <<'END'
{report}
END
}}
echo "$@" > args; env > env.txt; echo "simulating on $ATHENA_PROC_NUMBER cores in $AtlasRelease"
{work}
"""
HITS = "HITS.1.pool.root.1"
OUTPUTS = f"{HITS},log.1.job.log.tgz.1"
NAMED = {"HITS__1__pool__root__1": 7}


def sim(work: str = f"echo hits > {HITS}; report", **report: object) -> str:
    told = job_report(**{"files": listed(**NAMED), "resource": {"transform": {"processedEvents": 7}}, **report})
    return SIM.format(report=json.dumps(told), work=work)


def produced(**more: object) -> dict[str, object]:
    wire = {"transformation": "Sim_tf.py", "outFiles": OUTPUTS, "coreCount": 8}
    return {**PRODUCTION, **wire, "jobPars": "--maxEvents=7 --tag 'default:A B'", **more}


def failure(desk) -> tuple[object, ...]:
    """The pilot's code, the exit code of the transform, and its own word for it, as the server is told."""
    return tuple(desk.body().get(name) for name in ("pilot_error_code", "trans_exit_code", "exe_error_code"))


@pytest.fixture
def desk(tmp_path):
    return Desk(tmp_path, make_cvmfs(tmp_path / "cvmfs"))


@pytest.fixture
def sim_release(desk):
    """Puts the release of production jobs on CVMFS, with this transform."""
    return lambda script="true", **more: put_release(desk.cvmfs, "AthSimulation/23.0.53", Sim_tf=script, **more)


@pytest.fixture
def web():
    with web_server() as server:
        yield server


def test_a_production_job_runs_in_its_release_and_is_reported_with_what_its_transform_says(desk, sim_release):
    sim_release(sim())
    record = desk.run(produced())
    assert record["state"] == "finished", desk.said
    assert (desk.store / HITS).read_text() == "hits\n"
    with tarfile.open(desk.store / "log.1.job.log.tgz.1") as log:
        kept = {each.name.partition("/")[2]: each for each in log.getmembers()}
        said = log.extractfile(kept["payload.stdout"]).read().decode()
        env = dict(line.split("=", 1) for line in log.extractfile(kept["env.txt"]).read().decode().splitlines())
        assert log.extractfile(kept["args"]).read().decode() == "--maxEvents=7 --tag default:A B\n"
    assert "asetup AthSimulation,23.0.53,notest --platform x86_64-el9-gcc13-opt --makeflags=" in said
    assert "simulating on 8 cores in AthSimulation/23.0.53" in said
    assert {"jobReport.json", "my_release_setup.sh", "payload.stderr"} <= kept.keys()
    assert HITS not in kept
    wanted = {"PandaID": "7100000001", "RUCIO_APPID": "simul", "FRONTIER_ID": "[40222333_7100000001]", "TZ": "UTC"}
    assert wanted.items() <= env.items()


def test_guids_events_and_metadata_of_the_report_are_told(desk, sim_release):
    """server:R-08 (they agree)"""
    sim_release(sim())
    desk.run(produced())
    body = desk.body()
    report = json.loads(body["meta_data"])
    (entry,) = report["files"]["output"][0]["subFiles"]
    assert report["exitMsg"] == "OK"
    assert json.loads(body["job_output_report"])[HITS]["guid"] == entry["file_guid"] == f"GUID-{HITS}"
    assert body["n_events"] == entry["nentries"] == 7
    assert "nEvents=7" in body["job_metrics"].split()


@pytest.mark.parametrize("lacking", ["file_guid", "nentries"])
def test_a_managed_job_whose_report_lacks_what_the_server_wants_fails_before_its_outputs_are_stored(
    desk, sim_release, lacking
):
    """server:R-08 (they are not there)"""
    files = listed(**NAMED)
    del files["output"][0]["subFiles"][0][lacking]
    sim_release(sim(files=files))
    record = desk.run(produced())
    assert failure(desk) == (1187, 0, None), desk.said
    assert f"jobReport.json has no {lacking} of {HITS}" in record["error"]["detail"]
    assert not (desk.store / HITS).exists()
    assert (desk.store / "log.1.job.log.tgz.1").exists()


@pytest.mark.parametrize(
    ("work", "report", "expected"),
    [
        (f"echo x > {HITS}", {}, (1187, 0, None)),  # pilot:D19
        ("report; exit 65", {"exitCode": 65, "exitMsg": "Non-zero return"}, (1305, 65, 65)),  # pilot:D20
        (f"echo x > {HITS}; report", {"exitCode": 65, "exitMsg": "Non-zero return"}, (1220, 0, 65)),  # pilot:D21
        (
            "report; exit 64",
            {"exitCode": 64, "exitMsg": "EVNTtoHITS got a SIGSEGV signal"},
            (1328, 64, 64),
        ),  # pilot:D22
        ("echo 'FATAL out of memory: taking the application down' >&2; exit 1", {}, (1212, 1, None)),  # pilot:D23
        (f"echo x > {HITS}; echo '{{' > jobReport.json", {}, (1187, 0, None)),  # pilot:D24
        ("exit 146", {}, (1246, 146, None)),
    ],
)
def test_what_a_production_job_fails_of(desk, sim_release, work, report, expected):
    sim_release(sim(work, **report))
    record = desk.run(produced())
    assert record["state"] == "failed", desk.said
    assert failure(desk) == expected
    assert (desk.store / "log.1.job.log.tgz.1").exists()


@pytest.mark.parametrize(("number", "code"), [("23.0.53", 1110), ("23.0.99", 1244)])
def test_a_release_that_cannot_be_set_up_fails_the_job_before_its_transform_is_begun(desk, sim_release, number, code):
    """pilot:C14"""
    sim_release("touch ../begun", broken="")
    desk.run(produced(homepackage=f"AthSimulation/{number}", swRelease=f"Atlas-{number}"))
    assert failure(desk)[:2] == (code, 110), desk.said
    assert not (desk.work / "begun").exists()


def test_the_name_of_an_output_is_plain(desk, sim_release):
    sim_release("touch ../begun")
    record = desk.run(produced(outFiles="höhe.root,log.1.job.log.tgz.1"))
    assert record["error"]["number"] == 1371
    assert not (desk.work / "begun").exists()


# --- users ------------------------------------------------------------------------------------------------------------

RUN_GEN = """\
#!/bin/bash
echo "$@" > args.txt
while [ $# -gt 0 ]; do case "$1" in -l) lib=$2;; -p) text=$2;; esac; shift; done
tar xzf "$lib"
eval "$(printf %b "${text//%/\\\\x}")"
"""
URL = "/trf/user/runGen-00-00-02"


@pytest.fixture
def library(desk):
    """The library tarball that a build job left in storage."""
    path = desk.store / "user.lib.tgz"
    with tarfile.open(path, "w:gz") as tar:
        data = b"#!/bin/sh\necho made by $ROOTCORE_NCPUS with $1 > hist.root\n"
        member = tarfile.TarInfo("ana.sh")
        member.size, member.mode = len(data), 0o755
        tar.addfile(member, io.BytesIO(data))
    return path


def asked(web, **more: object) -> dict[str, object]:
    return {
        **ANALYSIS,
        "prodSourceLabel": "user",
        "transformation": web.url + URL,
        "jobPars": '-r . -l user.lib.tgz -i "[\'DAOD.1\']" -p "./ana.sh%20DAOD.1"',
        "outFiles": "hist.root,job.log.tgz",
        "coreCount": 1,
        **more,
    }


def test_a_users_job_unpacks_its_library_and_runs_what_the_user_wrote(desk, web, library):
    """server:D-17 (an allowed base)"""
    put_release(desk.cvmfs, "AnalysisBase/25.2.40")
    web.put(URL, RUN_GEN.encode())
    inputs = {"inFiles": library.name, "prodDBlockToken": "local", "sources": {library.name: str(library)}}
    record = desk.run(asked(web, **inputs), atlas={"transforms": [f"{web.url}/trf"]})
    assert record["state"] == "finished", desk.said
    assert (desk.store / "hist.root").read_text() == "made by 1 with DAOD.1\n"
    assert web.asked == [URL]


def test_a_transform_whose_server_is_down_comes_from_the_next(desk, web):
    """server:D-17 (the first base is down)"""
    with web_server() as gone:
        pass
    put_release(desk.cvmfs, "AnalysisBase/25.2.40")
    web.put(URL, b"#!/bin/sh\necho made > hist.root\n")
    record = desk.run(asked(gone), atlas={"transforms": [f"{gone.url}/trf", f"{web.url}/trf"]})
    assert record["state"] == "finished", desk.said
    assert (desk.store / "hist.root").read_text() == "made\n"
    assert web.asked == [URL]


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("/other/user/runGen", "/trf"),  # pilot:C02
        ("/trf.evil/user/runGen", "/trf"),  # pilot:C03
    ],
)
def test_a_transform_from_elsewhere_is_not_fetched(desk, web, url, base):
    """server:D-17 (a base that is not allowed)"""
    web.put(url, b"#!/bin/sh\n")
    record = desk.run(asked(web, transformation=web.url + url), atlas={"transforms": [web.url + base]})
    assert record["error"]["number"] == 1149
    assert web.asked == []


def test_a_server_whose_name_begins_like_one_that_is_allowed_is_not_asked(desk):
    """server:D-17 (a host that looks alike)"""
    url = f"https://pandaserver.cern.ch.evil.example:25443{URL}"
    record = desk.run({**ANALYSIS, "transformation": url})
    assert record["error"]["number"] == 1149
    assert record["error"]["detail"].startswith(f"{url} is not below https://pandaserver.cern.ch:25443, ")


def test_a_page_that_says_what_is_not_there_is_no_transform(desk, web):
    """pilot:C05"""
    record = desk.run(asked(web), atlas={"transforms": [f"{web.url}/trf"]})
    assert record["error"]["number"] == 1149
    assert "404" in record["error"]["detail"]
    assert web.asked == [URL] * 3


def test_a_transforms_server_that_is_away_is_tried_thrice(desk):
    """pilot:C04"""
    with web_server() as gone:
        pass
    record = desk.run(asked(gone), atlas={"transforms": [f"{gone.url}/trf"]})
    assert record["error"]["number"] == 1149
    assert desk.said.count("the program runGen-00-00-02: ") == 3


# --- containers and steps ---------------------------------------------------------------------------------------------

CONTAINED = {"container_type": "singularity:pilot"}


def test_alrb_sets_up_the_release_in_the_container_of_the_jobs_platform(desk, sim_release):
    sim_release(sim(f'echo "on $ALRB_PLATFORM" > {HITS}; report'))
    record = desk.run(produced(cmtConfig="x86_64-el9-gcc13-opt@el9"), CONTAINED)
    assert record["state"] == "finished", desk.said
    assert (desk.store / HITS).read_text() == "on el9\n"


def test_a_container_that_does_not_start_is_not_the_payloads_fault(desk, sim_release):
    sim_release(sim())
    record = desk.run(produced(cmtConfig="x86_64-el9-gcc13-opt@broken"), CONTAINED)
    assert record["error"]["party"] == "site", desk.said
    assert "root filesystem extraction failed" in record["error"]["detail"]


def test_a_set_up_that_fails_in_the_container_begins_no_transform(desk, sim_release):
    sim_release("touch ../begun")
    desk.run(produced(homepackage="AthSimulation/1.0.0", swRelease="Atlas-1.0.0"), CONTAINED)
    assert failure(desk)[:2] == (1244, 110), desk.said
    assert not (desk.work / "begun").exists()


def test_steps_run_around_the_payload_and_one_may_come_from_the_web(desk, sim_release, web):
    """pilot:C12"""
    sim_release(sim(f"cat pre > {HITS}; report; until [ -e beside ]; do sleep 0.05; done"))
    web.put("/trf/user/pre", b'#!/bin/sh\necho "prepared $1" > pre\n')
    steps = {
        "preprocess": {"command": f"{web.url}/trf/user/pre", "args": "-i"},
        "coprocess": {"command": "touch", "args": "beside; sleep 100"},
        "postprocess": {"command": "grep", "args": f"prepared {HITS}"},
    }
    record = desk.run(produced(**steps), atlas={"transforms": [f"{web.url}/trf"]})
    assert record["state"] == "finished", desk.said
    assert (desk.store / HITS).read_text() == "prepared -i\n"


@pytest.mark.parametrize("code", [160, 161, 162])
def test_a_step_that_finds_nothing_to_do_ends_the_job_without_outputs(desk, sim_release, code):
    """pilot:C10"""
    sim_release("touch ../begun")
    record = desk.run(produced(preprocess={"command": "sh", "args": f"-c 'exit {code}'"}))
    assert record["state"] == "finished", desk.said
    assert not (desk.work / "begun").exists()


# --- the node ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("without", "exit_code"), [(False, 64), (True, 0)])
def test_without_cvmfs_no_work_is_taken_unless_it_is_not_needed(desk, sim_release, without, exit_code):
    """pilot:A07, A08"""
    sim_release(sim())
    wire = produced(swRelease="NULL", homepackage="NULL", transformation="true", jobPars="", outFiles="job.log.tgz")
    record = desk.run(wire, atlas={"cvmfs": str(desk.root / "nowhere"), "without_cvmfs": without})
    assert desk.exit_code == exit_code, desk.said
    assert bool(record) == without


def test_a_proxy_that_ends_before_a_job_could_takes_none(desk, sim_release):
    """pilot:A11"""
    sim_release(sim())
    key, proxy = desk.root / "key", desk.root / "proxy"
    request = ["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    asked = subprocess.run([*request, "-keyout", key, "-subj", "/CN=p"], check=True, capture_output=True).stdout
    sign = ["openssl", "x509", "-req", "-signkey", key, "-days"]
    connection = {"url": ["https://127.0.0.1:9"], "info_sources": ["file"], "proxy": str(proxy)}
    for days, exit_code in (("2", 80), ("4", 0)):
        proxy.touch(0o600)
        proxy.write_bytes(subprocess.run([*sign, days], input=asked, check=True, capture_output=True).stdout)
        proxy.write_bytes(proxy.read_bytes() + key.read_bytes())
        atlas = {"ram_per_core": {"MCORE": 2000}}
        record = desk.run(produced(), connection=connection, atlas=atlas)
        assert desk.exit_code == exit_code, desk.said
        assert bool(record) == (exit_code == 0)
