"""Nothing outside: whatever a job, a plugin or a link says, only the job's own directory is touched."""

from __future__ import annotations

import os

PILOTFILE = """
from pilot_core.sdk import hookimpl

@hookimpl
def pilot_log_select(job, workdir):
    return ["/canary*", "../../canary*", "*/../../canary*"]

@hookimpl
def pilot_inputs_staged(job):
    return {written!r}
"""


def canary(site):
    path = site.root / "canary.txt"
    path.write_text("alive")
    (site.root / "canary").mkdir()
    (site.root / "canary" / "inside.txt").write_text("alive")
    return path


def unharmed(site):
    return (site.root / "canary.txt").read_text() == (site.root / "canary" / "inside.txt").read_text() == "alive"


def test_links_that_a_payload_leaves_are_not_followed(site):
    """pilot:I09"""
    canary(site)
    links = f"ln -s {site.root}/canary here; ln -s {site.root}/canary.txt out.txt; ln -s / all"
    log = {"name": "l.tgz", "destination": str(site.store / "l.tgz")}
    site.job("one", f"{links}; mkdir -p a/b; ln -s ../.. a/b/up", outputs=[site.output("out.txt")], log=log)
    site.run()
    assert unharmed(site)
    assert site.report("one")["error"]["number"] == 1165
    assert not (site.work / "PanDA_Pilot-one").exists()
    import tarfile

    with tarfile.open(site.store / "l.tgz") as archive:
        assert not [name for name in archive.getnames() if "inside.txt" in name or "etc/passwd" in name]


def test_patterns_and_files_of_a_plugin_stay_inside(site):
    """pilot:I10"""
    for number, written in enumerate(["/tmp/never", "../canary.txt", "a/../../canary.txt"]):
        pilotfile = site.root / f"pilotfile{number}.py"
        pilotfile.write_text(PILOTFILE.format(written={written: "dead"}))
        if not (site.root / "canary").exists():
            canary(site)
        site.job(f"job{number}", "true", log="log.tgz")
        site.run(f"bootstrap.pilotfile={pilotfile}")
        report = site.report(f"job{number}")
        assert report["state"] == "failed"
        assert written in report["error"]["detail"]
        assert "pilotfile" in report["error"]["detail"]
    assert unharmed(site)


def test_names_that_leave_the_directory_are_refused_before_anything_happens(site):
    canary(site)
    for number, name in enumerate(["../canary.txt", "/etc/passwd", "..", "a/b", "", "-rf", "x\ny"]):
        site.job(f"job{number}", "true", outputs=[{"name": name, "destination": str(site.store / "x")}])
    site.run("pilot.black_hole_failures=0")
    assert unharmed(site)
    for number in range(7):
        report = site.report(f"job{number}")
        assert report["state"] == "failed"
        assert "outputs[0].name" in report["error"]["detail"]
    assert sorted(os.listdir(site.work)) == ["pilot.control", "pilotlog.txt"]


def test_a_directory_of_somebody_else_is_not_touched(site):
    """pilot:C01"""
    foreign = site.work / "PanDA_Pilot-one"
    foreign.mkdir()
    (foreign / "theirs.txt").write_text("theirs")
    site.job("one", "rm -f theirs.txt")
    code, said = site.run()
    assert code == 66, said
    assert site.report("one")["error"]["number"] == 1199
    assert (foreign / "theirs.txt").read_text() == "theirs"


def test_secrets_of_the_pilot_never_reach_the_payload_or_a_file(site):
    secret = "s3cr3t-t0k3n-value"
    site.job("one", "env; cat /proc/self/environ", log={"name": "l.tar", "destination": str(site.store / "l.tar")})
    code, said = site.run(
        "payload.keep_environment=PATH,PANDA_AUTH_TOKEN,MY_TOKEN,HOME",
        PANDA_AUTH_TOKEN=secret,
        MY_TOKEN=secret,
        X509_USER_PROXY=f"/tmp/{secret}",
    )
    assert code == 0, said
    assert secret not in said
    for directory, _, names in os.walk(site.root):
        for name in names:
            with open(os.path.join(directory, name), "rb") as file:
                assert secret.encode() not in file.read(), name


def test_a_secret_of_the_pilot_never_stands_in_a_command(site):
    secret = "s3cr3t-t0k3n-value"
    site.job("one", f"echo {secret}")
    _, said = site.run(PANDA_AUTH_TOKEN=secret)
    assert "holds a secret of the pilot's" in site.report("one")["error"]["detail"]
    assert secret not in said


def test_what_the_pilot_is_trusted_with_is_masked_wherever_it_turns_up(site):
    """A job that knows the pilot's token by other ways cannot have it in a report, a record or a journal."""
    secret = "s3cr3t-t0k3n-value"
    (site.root / "found").write_text(secret)
    site.job("one", f'echo "ERROR: refused with $(cat {site.root}/found)" >&2; exit 1')
    site.run(PANDA_AUTH_TOKEN=secret)
    assert "ERROR: refused with ***" in site.report("one")["error"]["detail"]
    for path in (site.box / "reports" / "one.json", *(site.work / "PanDA_Pilot-one.control").glob("*.json")):
        assert secret not in path.read_text(), path
