"""Whether a payload still gets on: real files, and two clocks that the test moves."""

from __future__ import annotations

import os
import time

import pytest
from attrs import evolve

from pilot_core.builtin.monitors import looping as monitors
from pilot_core.builtin.monitors.looping import Looping
from pilot_core.model.job import Job
from pilot_core.model.payload import Usage

from .looking import breach, fill, later


class Node:
    """A payload's directory on a node whose two clocks the test moves."""

    def __init__(self, monitor, view, monkeypatch):
        self.monitor, self.view, self.wall, self.cpu_s = monitor, view, time.time(), 0.0
        self.moved_b, self.more = 0, {}
        monkeypatch.setattr(monitors.time, "time", lambda: self.wall)

    def pass_time(self, by_s: float, cpu_s: float = 0.0, suspended_s: float = 0.0, step_s: float = 300.0):
        """Let time pass in steps, with a look after each; the first breach, if any."""
        self.wall += suspended_s
        while by_s > 0:
            step = min(step_s, by_s)
            by_s, self.wall, self.cpu_s = by_s - step, self.wall + step, self.cpu_s + cpu_s * step
            usage = Usage(cpu_user_s=self.cpu_s, rchar_b=self.moved_b, more=self.more)
            self.view = later(self.view, step, usage=usage)
            if found := breach(self.monitor, self.view):
                return found
        return None

    def touch(self, name: str) -> None:
        (self.view.workdir / name).touch()
        os.utime(self.view.workdir / name, (self.wall, self.wall))


@pytest.fixture
def node(make, view, monkeypatch):
    return lambda **options: Node(make(Looping, looping=options), view, monkeypatch)


def test_a_payload_that_does_nothing_is_stopped(node):
    """pilot:E01"""
    idle = node()
    assert idle.pass_time(7199) is None
    number, told = idle.pass_time(301)
    assert number == 1150
    assert "7200 s are allowed" in told


def test_a_payload_that_computes_is_not(node):
    """pilot:E02"""
    busy = node()
    assert busy.pass_time(30_000, cpu_s=1.0) is None
    assert busy.pass_time(30_000, cpu_s=0.001)[0] == 1150


def test_a_payload_that_touches_a_file_is_not(node):
    writing = node()
    for _ in range(6):
        writing.touch("events.root")
        assert writing.pass_time(7000) is None
    writing.touch("payload.stdout")
    assert writing.pass_time(7100) is None
    assert writing.pass_time(500)[0] == 1150


@pytest.mark.parametrize("options", [{}, {"progress": "a"}], ids=["any", "progress"])
def test_a_file_of_the_future_is_a_sign_of_life_when_it_is_made_so(node, options):
    idle = node(**options)
    (idle.view.workdir / "a").touch()
    os.utime(idle.view.workdir / "a", (idle.wall + 1e9, idle.wall + 1e9))
    assert idle.pass_time(7100) is None
    number, told = idle.pass_time(500)
    assert number == 1150
    assert "no file touched for" in told


def test_files_that_the_site_ignores_are_no_sign_of_life(node):
    """pilot:E03"""
    chatty = node(ignore=["payload.stdout", "log.*"])
    found = None
    for _ in range(10):
        chatty.touch("payload.stdout")
        chatty.touch("log.1")
        found = found or chatty.pass_time(1000)
    assert found[0] == 1150


def test_the_check_can_be_switched_off(node):
    """pilot:E04"""
    assert node(check=False).pass_time(100_000, step_s=5000) is None


def test_the_name_of_the_directory_does_not_matter(node, view):
    """pilot:E05"""
    strange = view.workdir / "pilot" / "x.py"
    strange.mkdir(parents=True)
    idle = node()
    idle.view = evolve(idle.view, workdir=strange)
    fill(strange / "job.py", 1)
    os.utime(strange / "job.py", (0, 0))
    assert idle.pass_time(8000)[0] == 1150


def test_a_suspended_node_is_no_looping_job(node):
    """pilot:E06"""
    asleep = node()
    asleep.touch("a")
    assert asleep.pass_time(7000) is None
    assert asleep.pass_time(600, suspended_s=3 * 3600) is None
    assert asleep.pass_time(7000)[0] == 1150


def test_a_job_says_how_long_it_may_do_nothing(node):
    patient = node()
    patient.view = evolve(patient.view, job=Job(id="1", looping_limit_s=600.0))
    assert patient.pass_time(500, step_s=100) is None
    assert patient.pass_time(200, step_s=100)[0] == 1150


def test_files_are_looked_at_only_when_it_seems_idle(node, monkeypatch):
    walks = []
    walk = monitors.Inside.walk
    monkeypatch.setattr(monitors.Inside, "walk", lambda self: walks.append(1) or walk(self))
    busy = node()
    assert busy.pass_time(30_000, cpu_s=0.5) is None
    assert not walks
    busy.touch("a")
    assert busy.pass_time(7100) is None
    assert len(walks) <= 1


def test_a_payload_that_moves_bytes_is_not(node):
    reading = node()
    for _ in range(4):
        reading.moved_b += 10_001 * 7000
        assert reading.pass_time(7000, step_s=7000) is None
    assert reading.pass_time(7200, step_s=7200)[0] == 1150


def test_a_payload_that_computes_on_a_gpu_is_not(node):
    busy = node()
    busy.more = {"gpu_busy": 0.5}
    assert busy.pass_time(30_000) is None
    busy.more = {"gpu_busy": 0.0}
    assert busy.pass_time(7500)[0] == 1150


def test_where_there_is_a_progress_file_it_alone_counts(node):
    busy = node(progress="steps")
    assert busy.pass_time(8000, cpu_s=1.0) is None, "there is none yet"
    busy.touch("steps")
    assert busy.pass_time(7000) is None, "it waits, and said so"
    busy.touch("steps")
    assert busy.pass_time(7100, cpu_s=1.0) is None
    number, told = busy.pass_time(400, cpu_s=1.0)
    assert number == 1150
    assert "by its progress file steps" in told


def test_a_payload_may_compute_for_nothing_only_so_long(node):
    spinning = node(spin_s=1000)
    spinning.touch("a")
    assert spinning.pass_time(900, cpu_s=1.0) is None
    assert spinning.pass_time(400, cpu_s=1.0)[0] == 1150


def test_what_was_seen_is_told_in_numbers(node):
    idle = node()
    idle.touch("a")
    number, told = idle.pass_time(8000, cpu_s=0.001)
    assert number == 1150
    assert told == (
        "it has not got on for 7200 s, 7200 s are allowed: 7.2 s of CPU time, 0 B read and written, "
        "0 context switches since the last of each that counted, no file touched for 7200 s"
    )


def test_stacks_are_kept_for_the_log_once(make, view, tmp_path):
    looping = make(Looping, looping={"stacks_s": 0, "limit_s": 10})
    view = evolve(view, pids=(os.getpid(),))
    assert breach(looping, view) is None
    number, told = breach(looping, later(view, 11))
    assert number == 1150
    assert "; " in told, "where it stands is told"
    kept = view.workdir / "looping_stacks.txt"
    assert f"== process {os.getpid()}: " in kept.read_text()
    kept.unlink()
    assert breach(looping, later(view, 12)) is not None
    assert not kept.exists()
