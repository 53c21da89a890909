"""What a payload may use, and whether it still moves: real files, and times that the test moves."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from attrs import evolve

from pilot_core.builtin import monitors
from pilot_core.builtin.monitors import Disk, Looping, Memory, WallTime
from pilot_core.model.files import FileSpec
from pilot_core.model.job import Job
from pilot_core.model.payload import Usage
from pilot_core.model.queue import Queue, Resources
from pilot_core.sdk import View

MB = 10**6


@pytest.fixture
def view(tmp_path: Path) -> View:
    return View(job=Job(id="1"), queue=Queue(name="q"), workdir=tmp_path, usage=Usage(), running_s=0.0, mono=1000.0)


def later(view: View, by_s: float, **changes: object) -> View:
    return evolve(view, mono=view.mono + by_s, running_s=view.running_s + by_s, **changes)


def fill(path: Path, size_b: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size_b)


def breach(monitor, view) -> tuple[int, str] | None:
    error = monitor.look(view).breach
    return error and (error.code.number, error.detail)


# --- disk -------------------------------------------------------------------------------------------------------------


def test_a_job_that_needs_little_is_left_alone(make, view):
    fill(view.workdir / "a", MB)
    reading = make(Disk).look(view)
    assert reading.breach is None
    assert reading.measures["disk_b"] >= MB


def test_a_full_node_stops_the_job(make, view):
    """pilot:E10"""
    number, told = breach(make(Disk, disk={"free_b": 10**18}), view)
    assert number == 1098
    assert "are free on the node" in told


@pytest.mark.parametrize(
    ("job_b", "queue", "stops"),
    [
        (2 * MB, Queue(name="q"), True),
        (3 * MB, Queue(name="q"), False),
        (None, Queue(name="q", disk_b=2 * MB), True),
        (None, Queue(name="q", disk_b=8 * MB, cores=8), True),
        (None, Queue(name="q", disk_b=24 * MB, cores=8), False),
        (100 * MB, Queue(name="q", disk_b=2 * MB), True),
        (None, Queue(name="q"), False),
    ],
    ids=range(7),
)
def test_a_directory_that_grows_too_large_stops_the_job(make, view, job_b, queue, stops):
    """pilot:E08, E09"""
    fill(view.workdir / "deep/er/a", 3 * MB)
    job = Job(id="1", needs=Resources(disk_b=job_b))
    found = breach(make(Disk), evolve(view, job=job, queue=queue))
    assert (found is not None) == stops
    if found:
        assert found[0] == 1104
        assert " MB are allowed" in found[1]


def test_the_directory_is_summed_up_now_and_then_only(make, view):
    disk = make(Disk, disk={"walk_s": 100, "limit_b": MB})
    assert breach(disk, view) is None
    fill(view.workdir / "a", 2 * MB)
    assert breach(disk, later(view, 99)) is None
    assert breach(disk, later(view, 101))[0] == 1104


def test_a_slow_walk_never_takes_more_than_its_share(make, view, monkeypatch):
    """pilot:E25"""
    walks = []
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr(monitors.time, "monotonic", lambda: float(next(clock)))
    walk = monitors.Inside.walk
    monkeypatch.setattr(monitors.Inside, "walk", lambda self: walks.append(1) or walk(self))
    disk = make(Disk, disk={"walk_s": 1})
    for seconds in range(0, 2000, 100):
        disk.look(later(view, seconds))
    assert len(walks) == 2, "a walk of 10 s every 1000 s"


def test_output_that_grows_too_large_stops_the_job(make, view):
    """pilot:E07, E13"""
    outputs = (FileSpec(lfn="big.root"),)
    view = evolve(view, job=Job(id="1", outputs=outputs))
    with (view.workdir / "big.root").open("wb") as file:
        file.truncate(500 * 10**9)
    assert breach(make(Disk), view)[0] == 1124
    os.truncate(view.workdir / "big.root", 500 * 10**9 - 1)
    assert breach(make(Disk), view) is None
    with (view.workdir / "payload.stdout").open("wb") as file:
        file.truncate(2 * 2**30 + 1)
    number, told = breach(make(Disk), view)
    assert number == 1106
    assert "payload.stdout" in told


def test_an_output_that_is_empty_or_missing_yet_is_no_error(make, view):
    """pilot:E11"""
    (view.workdir / "a").touch()
    assert breach(make(Disk), evolve(view, job=Job(id="1", outputs=(FileSpec(lfn="a"), FileSpec(lfn="b"))))) is None


# --- wall time --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("job_s", "queue_s", "grace", "running_s", "stops"),
    [
        (600, None, 1.0, 601, True),
        (600, None, 1.0, 599, False),
        (None, 600, 1.0, 601, True),
        (600, 60, 1.0, 61, True),
        (600, None, 1.1, 659, False),
        (600, None, 1.1, 661, True),
        (None, None, 1.0, 1e9, False),
    ],
)
def test_a_payload_whose_time_is_over_is_stopped(make, view, job_s, queue_s, grace, running_s, stops):
    """pilot:G06"""
    job, queue = Job(id="1", wall_limit_s=job_s), Queue(name="q", wall_limit_s=queue_s)
    found = breach(make(WallTime, walltime={"grace": grace}), evolve(view, job=job, queue=queue, running_s=running_s))
    assert (found is not None) == stops
    if found:
        assert found[0] == 1213
        assert f"{running_s:.0f} s" in found[1]


# --- memory -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("needs_b", "queue", "rss_b", "stops"),
    [
        (2000 * MB, Queue(name="q"), 4100 * MB, True),
        (2000 * MB, Queue(name="q"), 3900 * MB, False),
        (None, Queue(name="q", memory_b=16000 * MB, cores=8), 4100 * MB, True),
        (None, Queue(name="q", memory_b=16000 * MB, cores=8), 3900 * MB, False),
        (None, Queue(name="q"), 10**13, False),
    ],
)
def test_a_payload_that_takes_too_much_memory_is_stopped(make, view, needs_b, queue, rss_b, stops):
    """pilot:E14, E16"""
    job = Job(id="1", needs=Resources(memory_b=needs_b))
    found = breach(make(Memory), evolve(view, job=job, queue=queue, usage=Usage(rss_b=rss_b)))
    assert (found is not None) == stops
    if found:
        assert found == (1235, "the payload's memory: 4100.0 MB, 4000.0 MB are allowed")


def test_a_site_sets_a_limit_of_its_own(make, view):
    memory = make(Memory, memory={"limit_b": "1 GB"})
    assert breach(memory, evolve(view, usage=Usage(rss_b=1001 * MB)))[0] == 1235


# --- looping ----------------------------------------------------------------------------------------------------------


class Node:
    """A payload's directory on a node whose two clocks the test moves."""

    def __init__(self, monitor, view, monkeypatch):
        self.monitor, self.view, self.wall, self.cpu_s = monitor, view, time.time(), 0.0
        monkeypatch.setattr(monitors.time, "time", lambda: self.wall)

    def pass_time(self, by_s: float, cpu_s: float = 0.0, suspended_s: float = 0.0, step_s: float = 300.0):
        """Let time pass in steps, with a look after each; the first breach, if any."""
        self.wall += suspended_s
        while by_s > 0:
            step = min(step_s, by_s)
            by_s, self.wall, self.cpu_s = by_s - step, self.wall + step, self.cpu_s + cpu_s * step
            self.view = later(self.view, step, usage=Usage(cpu_user_s=self.cpu_s))
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


def test_files_that_the_site_ignores_are_no_sign_of_life(node):
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
