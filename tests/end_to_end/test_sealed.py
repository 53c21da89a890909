"""Pilot, keeper and payload are killed at once, and what the payload said is lost: its sealed segments are not."""

from __future__ import annotations

import json
import os
import signal
import tarfile
from pathlib import Path

import psutil

SAYS = "echo begun; echo more >&2; echo $$ > payload.pid; exec sleep 600"


def kill_all(site, pilot):
    """Kill the pilot and all below it, at once."""
    processes = [pilot, *psutil.Process(pilot.pid).children(recursive=True)]
    for process in processes:
        os.kill(process.pid, signal.SIGSTOP)
    for process in processes:
        os.kill(process.pid, signal.SIGKILL)
    pilot.communicate(timeout=20)
    psutil.wait_procs(processes[1:], timeout=20)


def sealed_in(control: Path, name: str):
    return list(control.glob(f"sealed/{name}-*"))


def test_what_was_sealed_is_in_the_log_and_the_report_says_how_far(site):
    """A node that loses its power leaves files of the right size and other bytes."""
    site.job("lost", SAYS, log={"name": "log.tgz", "destination": str(site.store / "log.tgz")})
    pilot = site.start(*site.arguments("payload.seal_s=0.05"))
    workdir, control = site.work / "PanDA_Pilot-lost", site.work / "PanDA_Pilot-lost.control"
    site.await_file(workdir / "payload.pid")
    site.await_that(lambda: sealed_in(control, "payload.stdout") and sealed_in(control, "payload.stderr"))
    kill_all(site, pilot)
    (workdir / "payload.stdout").write_bytes(b"\0" * 6)
    for folder in (workdir, control):
        (folder / "payload.stderr").unlink()
    code, said = site.recover()
    assert code == 0, said
    with tarfile.open(site.store / "log.tgz") as tar:
        found = {entry.name.partition("/")[2]: tar.extractfile(entry).read() for entry in tar if entry.isreg()}
    assert found["payload.stdout.sealed"] == b"begun\n"
    assert found["payload.stderr.sealed"] == b"more\n"
    notes = json.loads(found["pilotjob.json"])["record"]["notes"]
    assert notes["sealed"]["payload.stdout"]["to_b"] == 6
    assert not (control / "sealed").exists(), "what is in the log is not kept twice"
    record = json.loads((control / "record.json").read_text())
    assert record["notes"]["sealed"] == notes["sealed"]


def test_what_a_payload_says_is_sealed_though_it_removed_the_files(site):
    """Found: after `rm *` nothing that it said got out of a node that died."""
    says = "while [ ! -e ../go ]; do sleep 0.05; done; echo still here; exec sleep 600"
    site.job(
        "lost", f"rm *; echo > ../gone; {says}", log={"name": "log.tgz", "destination": str(site.store / "log.tgz")}
    )
    pilot = site.start(*site.arguments("payload.seal_s=0.05"))
    workdir, control = site.work / "PanDA_Pilot-lost", site.work / "PanDA_Pilot-lost.control"
    site.await_file(site.work / "gone")
    assert not (workdir / "payload.stdout").exists()
    (site.work / "go").touch()
    site.await_that(lambda: sealed_in(control, "payload.stdout"))
    kill_all(site, pilot)
    code, said = site.recover()
    assert code == 0, said
    with tarfile.open(site.store / "log.tgz") as tar:
        found = {entry.name.partition("/")[2]: tar.extractfile(entry).read() for entry in tar if entry.isreg()}
    assert found["payload.stdout"] == b"still here\n"
