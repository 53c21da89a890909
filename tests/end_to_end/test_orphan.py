"""A payload whose pilot was killed: it always has an owner, and its true end is known to whoever recovers.

pilot:F11
"""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

SCRIPT = "echo $$ > {root}/pid; sleep {lasts}; echo made > out.txt; echo over > {root}/over"


def alive(pid: int) -> bool:
    """Whether a process runs, and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def gone(pid: int, limit_s: float) -> bool:
    """Whether a process ends in time."""
    until = time.monotonic() + limit_s
    while alive(pid) and time.monotonic() < until:
        time.sleep(0.02)
    return not alive(pid)


def orphan(site, *settings, lasts=300):
    """The pid of a payload whose pilot is dead."""
    site.job("one", SCRIPT.format(root=site.root, lasts=lasts), outputs=[site.output("out.txt")], log="log.tgz")
    pilot = site.start(*site.arguments(*settings))
    payload = int(site.await_file(site.root / "pid"))
    pilot.send_signal(signal.SIGKILL)
    pilot.communicate()
    return payload


def test_stop_ends_it_at_once_and_the_job_is_reported_failed(site):
    payload = orphan(site, "payload.orphan=stop", "payload.grace_s=1")
    assert gone(payload, 5)
    code, said = site.recover()
    assert code == 0, said
    report = site.report("one")
    assert (report["state"], report["outcome"]["signal"]) == ("failed", signal.SIGTERM)
    assert "died" in report["error"]["detail"]


def test_wait_gives_a_recovering_pilot_time_and_then_ends_it(site):
    payload = orphan(site, "payload.orphan=wait", "payload.orphan_wait_s=1.5", "payload.grace_s=1")
    time.sleep(0.5)
    assert alive(payload)
    assert gone(payload, 5)
    site.recover()
    assert site.report("one")["state"] == "failed"


def test_a_payload_that_waits_is_adopted_and_its_output_stored(site):
    """pilot:F11"""
    payload = orphan(site, "payload.orphan=wait", lasts=2)
    assert alive(payload)
    code, said = site.recover()
    assert code == 0, said
    assert site.report("one")["state"] == "finished"
    assert (site.store / "out.txt").read_text() == "made\n"


def test_finish_lets_it_end_by_itself_and_its_exit_status_is_known_later(site):
    payload = orphan(site, "payload.orphan=finish", lasts=1)
    assert gone(payload, 10)
    code, said = site.recover()
    assert code == 0, said
    report = site.report("one")
    assert (report["state"], report["outcome"]["exit_code"]) == ("finished", 0)
    assert (site.store / "out.txt").read_text() == "made\n"


def test_a_running_payload_is_ended_where_the_site_does_not_adopt(site):
    payload = orphan(site)
    pilot = site.start("recover", str(site.work), "--set", "payload.adopt=false")
    said, _ = pilot.communicate(timeout=30)
    assert not alive(payload), said
    assert site.report("one")["state"] == "failed"


@pytest.mark.parametrize("victim", ["main", "child"])
def test_a_keeper_that_is_killed_leaves_nothing_without_an_owner(site, victim):
    site.job("one", SCRIPT.format(root=site.root, lasts=2), outputs=[site.output("out.txt")])
    pilot = site.start(*site.arguments())
    payload = int(site.await_file(site.root / "pid"))
    child = int(Path(f"/proc/{payload}/stat").read_text().rpartition(")")[2].split()[1])
    main = int(Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[1])
    signal.pidfd_send_signal(__import__("os").pidfd_open(main if victim == "main" else child), signal.SIGKILL)
    said, _ = pilot.communicate(timeout=30)
    report = site.report("one")
    if victim == "main":
        assert report["state"] == "finished", said
    else:
        assert report["state"] == "failed", said
        assert "keeper" in report["error"]["detail"]


def test_a_payload_that_kills_its_keeper_takes_nothing_along_and_leaves_nothing_behind(site):
    """server:I5"""
    killer = "setsid sleep 321 & echo $! > {0}/stray; sleep .3; echo $PPID > {0}/keeper; kill -9 $PPID; sleep 321"
    site.job("bad", killer.format(site.root))
    site.job("good", f"sleep 2; echo made > out.txt; echo over > {site.root}/over", outputs=[site.output("out.txt")])
    code, said = site.run("slot.cores=2")
    assert code == 0, said
    assert site.report("good")["state"] == "finished", said
    bad = site.report("bad")
    assert bad["state"] == "failed"
    assert "keeper" in bad["error"]["detail"]
    assert gone(int((site.root / "stray").read_text()), 2)


def test_recovery_ends_what_runs_on_without_a_keeper(site):
    payload = orphan(site)
    child = int(Path(f"/proc/{payload}/stat").read_text().rpartition(")")[2].split()[1])
    signal.pidfd_send_signal(__import__("os").pidfd_open(child), signal.SIGKILL)
    assert gone(child, 5)
    assert alive(payload)
    code, said = site.recover()
    assert code == 0, said
    assert gone(payload, 2)
    assert site.report("one")["state"] == "failed"
