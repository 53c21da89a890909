"""Whole pilots whose payloads run in real containers: ends as they are, failures of runtimes, and hostile payloads."""

from __future__ import annotations

import json
import os
import signal
import tempfile
import textwrap
from pathlib import Path

import pytest
from tests.end_to_end.conftest import Site, alive

from .conftest import insist
from .containers import RUNTIMES, SHELL, lacks, let_go, make_image
from .install import APPTAINER, missing

CODES = (0, 1, 2, 31, 49, 125, 126, 127, 128, 255)
"""Those that a runtime means something by, too."""
EVERY = sorted(RUNTIMES)
TIGHT = [name for name in EVERY if not RUNTIMES[name].lacks]


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    insist(missing(SHELL))
    with tempfile.TemporaryDirectory(prefix="p-") as short:
        yield make_image(tmp_path_factory.mktemp("image") / "root", Path(short))
        let_go(Path(short))


def insist_on(runtime):
    """Skip a runtime that this machine lacks, unless it has to have it; what comes from unstable nobody has to."""
    if runtime == "apptainer" and (lack := lacks(runtime)):
        pytest.skip(lack)
    insist(lacks(runtime))


class Node(Site):
    """A site on a node that has every runtime which ``install.py`` installed."""

    def start(self, *arguments, **environ):
        return super().start(*arguments, **{"PATH": os.environ["PATH"], **environ})


@pytest.fixture(autouse=True, scope="module")
def _programs():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{APPTAINER / 'bin'}:{os.environ['PATH']}")
        yield


@pytest.fixture
def site(tmp_path):
    made = Node(tmp_path)
    yield made
    made.close()


@pytest.fixture(params=EVERY)
def runtime(request, image):
    insist_on(request.param)
    return request.param


@pytest.fixture(params=["isolation", *TIGHT])
def tight(request, image):
    """What keeps a payload to its own: settings, and what its job says besides."""
    runtime = "bubblewrap" if request.param == "isolation" else request.param
    insist_on(runtime)
    if request.param == "isolation":
        return ["payload.isolation=bubblewrap"], {}
    return image.settings(runtime), {"image": str(image.path)}


def record(site, name):
    return json.loads((site.work / f"PanDA_Pilot-{name}.control" / "record.json").read_text())


def test_every_end_is_the_payloads_own(site, image, runtime):
    """pilot:D02"""
    for code in CODES:
        site.job(f"e{code}", f"exit {code}", image=str(image.path))
    site.job("killed", "kill -9 $$", image=str(image.path))
    _, said = site.run(*image.settings(runtime), "pilot.black_hole_failures=0")
    for code in CODES:
        assert record(site, f"e{code}")["outcome"]["exit_code"] == code, said
        assert [error["number"] for error in record(site, f"e{code}")["errors"]] == [1305] * bool(code)
    killed = record(site, "killed")["outcome"]
    assert killed.get("signal") == 9 or killed["exit_code"] == 137


def test_a_payload_works_in_its_directory_with_its_environment(site, image, runtime):
    script = 'echo "$A" "$HOME" "$TMPDIR" >out; pwd >>out; cat in >>out; echo "secret: $LEAK$LD_PRELOAD" >>out'
    inputs = [{"source": str(site.root / "in")}]
    (site.root / "in").write_text("input\n")
    site.job("1", script, image=str(image.path), inputs=inputs, outputs=[site.output("out")], environment={"A": "a $b"})
    pilot = site.start(*site.arguments(*image.settings(runtime)), LEAK="leak")
    said, _ = pilot.communicate(timeout=60)
    assert pilot.returncode == 0, said
    where = "/srv" if runtime == "charliecloud" else site.work / "PanDA_Pilot-1"
    assert (site.store / "out").read_text() == f"a $b {where} {where}\n{where}\ninput\nsecret: \n"


def test_what_a_job_says_never_moves_the_runtime(site, image, runtime):
    """A payload's environment is loaded in the container only, not into the program that makes it."""
    evil = {"LD_PRELOAD": "/nowhere/evil.so", "APPTAINER_BIND": "/", "CONTAINERS_CONF": "/nowhere/conf"}
    site.job("1", 'test "$CONTAINERS_CONF" = /nowhere/conf && ls /', image=str(image.path), environment=evil)
    code, said = site.run(*image.settings(runtime), "pilot.cleanup=false")
    assert code == 0, said
    shown = (site.work / "PanDA_Pilot-1" / "payload.stdout").read_text().split()
    assert "work" not in shown
    assert "home" not in shown


def test_a_runtime_that_fails_is_no_payload_that_failed(site, image, runtime, tmp_path):
    """pilot:C07"""
    empty = tmp_path / "empty"
    empty.mkdir()
    site.job("1", "true", image=str(empty))
    site.job("2", "true", image=str(tmp_path / "none"))
    _, said = site.run(*image.settings(runtime))
    first = record(site, "1")["errors"][0]
    assert 1305 not in {error["number"] for error in record(site, "1")["errors"]}, said
    assert "the container runtime did not start the payload (exit code" in first["detail"]
    assert record(site, "2")["errors"][0]["number"] == 1360


def test_a_payload_that_removes_all_it_sees_is_no_runtime_that_failed(site, image, runtime):
    """Found: the sign that the payload had begun was gone with the rest, and the site was blamed."""
    site.job("1", "rm -rf .pilot *; exit 126", image=str(image.path))
    _, said = site.run(*image.settings(runtime))
    assert [error["number"] for error in record(site, "1")["errors"]] == [1305], said
    assert record(site, "1")["failure"]["fault"] == "payload"


def test_an_image_that_is_not_allowed_is_refused_before_anything_moves(site, image, runtime):
    for name, wanted in (("1", image.path), ("2", f"{image.path.parent}/other/../root")):
        site.job(name, "true", image=str(wanted))
    _, said = site.run(*image.settings(runtime), f"container.images={image.path.parent}/other")
    for name in ("1", "2"):
        assert "container.images allows no image" in record(site, name)["error"]["detail"], said
        assert record(site, name)["outcome"] is None
        assert record(site, name)["error"]["number"] == 1360


GRACEFUL = 'trap "echo asked >asked; exit 7" TERM; echo ready >ready; while :; do sleep 0.1; done'


def test_a_payload_is_asked_to_end_and_its_runtime_waits_for_it(site, tight):
    settings, more = tight
    site.job("1", GRACEFUL, **more)
    pilot = site.start(*site.arguments(*settings, "pilot.cleanup=false", "pilot.stop_s=60", "payload.grace_s=30"))
    site.await_file(site.work / "PanDA_Pilot-1" / "ready")
    pilot.send_signal(signal.SIGTERM)
    said, _ = pilot.communicate(timeout=60)
    assert (site.work / "PanDA_Pilot-1" / "asked").exists(), said
    assert record(site, "1")["outcome"]["exit_code"] == 7, said


HOSTILE = r"""
look() {{ cat "$1" >/dev/null 2>&1 && echo "READ $1"; }}
cat /proc/*/environ 2>/dev/null | grep -a -q 'only-to-the-pilo[t]' && echo "READ the pilot's environment"
cat /proc/*/cmdline 2>/dev/null | grep -a -q 'pilot_cor[e]' && echo "SAW the pilot"
kill -0 {pilot} 2>/dev/null && echo "REACHED the pilot"
kill -9 {pilot} 2>/dev/null
look {token}; look {other}/out; look {control}/journal; look {control}/../other; look /proc/{pilot}/environ
d=$PWD; for i in 1 2 3 4 5 6 7 8; do d=$d/..; ls -R $d 2>/dev/null | grep -q {mark} && echo "FOUND $d"; done
for place in {other} {control} /etc; do (echo x >$place/wrote) 2>/dev/null; done
rm -rf {control} {other} {token} 2>/dev/null
echo done >finished
kill -9 -1
"""


AROUND = """
from pilot_core.sdk import Command, SideProcess, hookimpl

@hookimpl
def {hook}():
    return [SideProcess(name="around", command=Command("/bin/sh", "-c", 'eval "$HOSTILE"'))]
"""


def test_a_hostile_payload_reaches_nothing_of_the_pilots(site, tight):
    settings, more = tight
    be_hostile(site, settings, "payload", lambda script: site.job("1", script, **more))
    assert record(site, "1")["outcome"]["wall_s"] > 0


@pytest.mark.parametrize("named", [False, True], ids=["node", "image"])
@pytest.mark.parametrize("moment", ["preprocesses", "sides", "postprocesses"])
def test_nor_does_what_runs_around_an_isolated_payload(site, image, moment, named):
    insist_on("bubblewrap")
    (site.root / "around.py").write_text(AROUND.format(hook=f"pilot_payload_{moment}"))
    settings = ["payload.isolation=bubblewrap", *image.settings("bubblewrap")]
    waits = "until test -e finished; do sleep 0.1; done" if moment == "sides" else "true"
    more = {"image": str(image.path)} if named else {}

    def put(script):
        site.job("1", waits, environment={"HOSTILE": script}, **more)

    be_hostile(site, [*settings, f"bootstrap.pilotfile={site.root / 'around.py'}"], "around", put)
    assert record(site, "1")["notes"]["isolation"] == {"by": "bubblewrap", "cannot_prevent": "", "outside": []}


def be_hostile(site, settings, name, put):
    """Run a job whose process of this name tries what it can, put there with its script when the pilot is known."""
    token, other = site.root / "token", site.work / "PanDA_Pilot-other"
    token.write_text("hunter2-and-then-some")
    other.mkdir()
    (other / "mark-of-another-job").write_text("x")
    (other / "out").write_text("x")
    settings = [*settings, "pilot.cleanup=false", f"connection.token={token}"]
    pilot = site.start(
        *site.arguments(*settings, "pilot.empty_answers=1000", "pilot.max_jobs=1"),
        PILOT_TRACE="",
        KNOWN_TO_PILOT="only-to-the-pilot",
    )
    control = site.work / "PanDA_Pilot-1.control"
    facts = {"pilot": pilot.pid, "token": token, "other": other, "control": control}
    put(textwrap.dedent(HOSTILE).format(**facts, mark="mark-of-another-job"))
    said, _ = pilot.communicate(timeout=60)
    workdir = site.work / "PanDA_Pilot-1"
    assert (workdir / "finished").exists(), said
    assert (workdir / f"{name}.stdout").read_text() == ""
    assert sorted(path.name for path in other.iterdir()) == ["mark-of-another-job", "out"]
    assert token.read_text() == "hunter2-and-then-some"
    assert not os.path.exists("/etc/wrote")


def test_without_isolation_it_is_said_what_is_not_kept_from_the_payload(site):
    site.job("1", "true")
    code, said = site.run("payload.isolation=none")
    assert code == 0
    told = "read and change whatever the pilot's user may"
    assert f"the payload is not isolated: it can {told}" in said
    assert record(site, "1")["notes"]["isolation"]["cannot_prevent"].startswith(told)
    doctor = site.start("plugins", "doctor", "--set", "payload.isolation=none")
    assert f"isolation: a payload without an image can {told}" in doctor.communicate(timeout=60)[0]


FILLS = """
echo in >/tmp/file; echo /tmp/*; echo in .pilot/tmp/*
head -c 3000000 /dev/zero >/dev/shm/file || echo shm is full
for place in / /dev /etc /usr; do (echo x >$place/file) 2>&- || echo not in $place; done
echo >/dev/null && echo works
"""


def test_under_bubblewrap_nothing_that_a_payload_writes_fills_the_nodes_memory(site):
    """Found: /tmp, / and /dev were memory without a limit, and counted nowhere."""
    insist_on("bubblewrap")
    site.job("1", FILLS)
    settings = ["payload.isolation=bubblewrap", "container.shm_b=1 MB", "pilot.cleanup=false"]
    code, said = site.run(*settings)
    assert code == 0, said
    workdir = site.work / "PanDA_Pilot-1"
    told = (workdir / "payload.stdout").read_text().splitlines()
    assert "/tmp/file" in told[0].split()
    assert ".pilot/tmp/file" in told[1].split()
    assert told[2:] == ["shm is full", "not in /", "not in /dev", "not in /etc", "not in /usr", "works"]
    assert not (workdir / ".pilot").exists()


def test_isolation_that_cannot_be_had_starts_no_pilot(site):
    site.job("1", "true")
    code, said = site.run("payload.isolation=bubblewrap", PATH="/nowhere")
    assert code == 2
    assert "container 'bubblewrap': no program bwrap is on PATH" in said


def test_a_process_beside_the_payload_has_an_image_of_its_own(site, image, tmp_path):
    (tmp_path / "beside.py").write_text(
        "from pilot_core.sdk import Command, SideProcess, hookimpl\n"
        "@hookimpl\n"
        "def pilot_payload_sides(job):\n"
        f"    beside = Command('sh', '-c', 'ls / >beside; echo $A >>beside', env={{'A': 'own'}})\n"
        f"    return [SideProcess(name='beside', command=beside, image={str(image.path)!r})]\n"
    )
    site.job("1", "while ! grep -q own beside; do sleep 0.1; done; ls / >payload", environment={"A": "payload"})
    settings = ("payload.isolation=bubblewrap", "payload.container=bubblewrap", "pilot.cleanup=false")
    code, said = site.run(*settings, f"bootstrap.pilotfile={tmp_path / 'beside.py'}")
    assert code == 0, said
    workdir = site.work / "PanDA_Pilot-1"
    assert "srv" in (workdir / "beside").read_text().split()
    assert "srv" not in (workdir / "payload").read_text().split()


def test_nothing_of_a_container_outlives_its_job(site, tight):
    settings, more = tight
    leaves = f"setsid sh -c 'echo >here; sleep 1234; true' {site.root} & while ! test -e here; do :; done"
    site.job("1", leaves, **more)
    _, said = site.run(*settings)
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    left = [pid for pid in pids if alive(pid) and {b"sh", str(site.root).encode()} <= {*_command_line(pid)}]
    assert not left, said


def _command_line(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().split(b"\0")
    except OSError:
        return []
