"""Signals, orders and limits: every end is orderly, within its time, and reported."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest


def alive(pid: int) -> bool:
    """Whether a process runs, and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


TRAPPED = """trap 'echo stopped >> {out}; exit 1' TERM; echo $$ > {pid}; while :; do sleep 0.05; done"""


def running(site, *settings, script="echo $$ > {pid}; exec sleep 300"):
    """A pilot whose payload runs, and the payload's pid."""
    pid = site.root / "pid"
    site.job(
        "one",
        script.format(pid=pid, out=site.root / "said"),
        log={"name": "log.tgz", "destination": str(site.store / "log.tgz")},
    )
    pilot = site.start(*site.arguments(*settings))
    return pilot, int(site.await_file(pid))


@pytest.mark.parametrize(
    ("number", "code", "exit_code"),
    [
        (signal.SIGTERM, 1201, 143),
        (signal.SIGINT, 1208, 130),
        (signal.SIGQUIT, 1202, 131),
        (signal.SIGXCPU, 1204, 152),
        (signal.SIGUSR1, 1207, 138),
        (signal.SIGUSR2, 1201, 143),
        (signal.SIGHUP, 1201, 143),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_a_signal_ends_the_pilot_in_order(site, number, code, exit_code):
    """pilot:F01, F04, F05, F06 (server:F-13)"""
    pilot, payload = running(site)
    began = time.monotonic()
    pilot.send_signal(number)
    said, _ = pilot.communicate(timeout=30)
    assert time.monotonic() - began < 25
    assert pilot.returncode == exit_code, said
    assert not alive(payload)
    report = site.report("one")
    assert report["error"]["number"] == code
    assert (site.store / "log.tgz").exists()
    assert not (site.work / "PanDA_Pilot-one").exists()


def test_a_payload_gets_its_grace(site):
    """pilot:F02"""
    pilot, _ = running(site, script=TRAPPED)
    pilot.send_signal(signal.SIGTERM)
    pilot.communicate(timeout=30)
    assert (site.root / "said").read_text() == "stopped\n"


def test_a_payload_that_ignores_everything_is_ended_after_its_grace(site):
    """pilot:F03 (server:C-04)"""
    ignores = "trap '' TERM; (trap '' TERM; echo $$ > {pid}; while :; do sleep 0.05; done) & wait"
    pilot, payload = running(site, "payload.grace_s=0.5", "pilot.stop_s=12", script=ignores)
    pilot.send_signal(signal.SIGTERM)
    pilot.communicate(timeout=30)
    assert not alive(payload)
    assert site.report("one")["error"]["number"] == 1201


def test_a_second_signal_only_shortens(site):
    """pilot:F08 (server:F-14)"""
    pilot, payload = running(site, script="trap '' TERM; echo $$ > {pid}; while :; do sleep 0.05; done")
    pilot.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    began = time.monotonic()
    pilot.send_signal(signal.SIGTERM)
    pilot.communicate(timeout=30)
    assert time.monotonic() - began < 9
    assert not alive(payload)
    assert site.report("one")["final"]


def test_an_idle_pilot_ends_at_once(site):
    """pilot:F09"""
    pilot = site.start(*site.arguments("filebox.watch=true"))
    site.await_there(site.work / "pilot.control" / "pilot.sock")
    began = time.monotonic()
    pilot.send_signal(signal.SIGTERM)
    said, _ = pilot.communicate(timeout=10)
    assert time.monotonic() - began < 5
    assert pilot.returncode == 143, said


def test_nothing_happens_at_a_sigcont(site):
    """pilot:F15"""
    pilot, _ = running(site, script="echo $$ > {pid}; sleep 1")
    pilot.send_signal(signal.SIGCONT)
    said, _ = pilot.communicate(timeout=30)
    assert pilot.returncode == 0, said
    assert site.report("one")["state"] == "finished"


def test_drain_finishes_what_runs_and_takes_no_more(site):
    pilot, _ = running(site, "filebox.watch=true", script="echo $$ > {pid}; sleep 1")
    drained = site.start("drain", str(site.work))
    assert drained.wait(10) == 0
    site.job("two", "true")
    pilot.communicate(timeout=30)
    assert site.report("one")["state"] == "finished"
    assert (site.box / "two.json").exists()


def test_status_tells_what_runs(site):
    pilot, payload = running(site)
    asked = site.start("status", str(site.work), "--json")
    said, _ = asked.communicate(timeout=10)
    status = json.loads(said)
    assert status["jobs"][0]["id"] == "one"
    assert status["jobs"][0]["phase"] == "running"
    assert status["jobs"][0]["pid"] == payload
    stopped = site.start("stop", str(site.work))
    assert stopped.wait(10) == 0
    pilot.communicate(timeout=30)
    assert pilot.returncode == 143


def test_the_pilot_ends_before_its_time_is_over(site):
    """pilot:G01"""
    pilot, payload = running(site, "pilot.lifetime_s=3", "pilot.stop_s=2", "payload.grace_s=0.5")
    said, _ = pilot.communicate(timeout=30)
    assert pilot.returncode == 81, said
    assert site.report("one")["error"]["number"] == 1213
    assert not alive(payload)


def test_a_second_pilot_does_not_get_the_work_directory(site):
    pilot, _ = running(site)
    code, said = site.run()
    assert code == 1
    assert f"held by process {pilot.pid}" in said
    pilot.send_signal(signal.SIGTERM)
    pilot.communicate(timeout=30)


def test_a_session_leader_runs_jobs_as_well(site):
    """pilot:A14"""
    import subprocess
    import sys

    site.job("one", "true")
    started = subprocess.run(
        ["setsid", "--wait", sys.executable, "-m", "pilot_core", *site.arguments()], timeout=60, capture_output=True
    )
    assert started.returncode == 0, started.stderr
    assert site.report("one")["state"] == "finished"


SLOW_STORE = """
import pathlib, time
from pilot_core.sdk import hookimpl


@hookimpl
def pilot_outputs_replicas(job, files, queue):
    if any(file.lfn == "out" for file in files):
        pathlib.Path({begun!r}).write_text("now")
        time.sleep(1.5)
"""


def test_a_stop_leaves_outputs_on_their_way_the_rest_of_its_time(site):
    """Found: whoever was told to stop just then cut the copy off and removed the only other one."""
    begun, pilotfile = site.root / "begun", site.root / "pilotfile.py"
    pilotfile.write_text(SLOW_STORE.format(begun=str(begun)))
    site.job("one", "echo fruit > out", outputs=[site.output("out")])
    pilot = site.start(*site.arguments(f"bootstrap.pilotfile={pilotfile}"))
    site.await_file(begun)
    pilot.send_signal(signal.SIGTERM)
    said, _ = pilot.communicate(timeout=30)
    assert site.report("one")["state"] == "finished", said
    assert (site.store / "out").read_text() == "fruit\n"
    assert pilot.returncode == 143


def test_outputs_that_found_no_place_stay_where_they_are(site):
    """pilot:I12"""
    site.job("one", "echo fruit > out", outputs=[{"name": "out", "destination": "/proc/none/out"}])
    _, said = site.run("data.attempts=1")
    report = site.report("one")
    assert report["state"] == "failed", said
    assert (site.work / "PanDA_Pilot-one" / "out").read_text() == "fruit\n"
    record = json.loads((site.work / "PanDA_Pilot-one.control" / "record.json").read_text())
    assert record["kept"] == "outputs are not stored: out"


def test_a_payload_is_stopped_when_its_time_is_over_and_not_at_the_next_sample(site):
    """Found: a limit of 1 s ended a payload after 30 s, or not at all."""
    site.job("one", "sleep 8", limits={"wall": "1 s"})
    _, said = site.run()
    assert site.report("one")["error"]["acronym"] == "REACHEDMAXTIME", said
