"""How full a node, a directory and a file may be: real files, and times that the test moves."""

from __future__ import annotations

import os

import pytest
from attrs import evolve

from pilot_core.builtin.monitors import disk as monitors
from pilot_core.builtin.monitors.disk import Disk
from pilot_core.model.files import FileSpec
from pilot_core.model.job import Job
from pilot_core.model.queue import Queue, Resources

from .looking import MB, breach, fill, later


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


def test_a_file_of_many_names_counts_once(make, view):
    fill(view.workdir / "a", MB)
    (view.workdir / "deep").mkdir()
    alone = make(Disk).look(view).measures["disk_b"]
    for number in range(9):
        os.link(view.workdir / "a", view.workdir / f"deep/{number}")
    assert make(Disk).look(view).measures["disk_b"] == alone >= MB


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
    """pilot:E13"""
    outputs = (FileSpec(lfn="big.root"),)
    view = evolve(view, job=Job(id="1", outputs=outputs))
    with (view.workdir / "big.root").open("wb") as file:
        file.truncate(500 * 10**9)
    assert breach(make(Disk), view)[0] == 1124
    os.truncate(view.workdir / "big.root", 500 * 10**9 - 1)
    assert breach(make(Disk), view) is None


def test_an_output_that_is_empty_or_missing_yet_is_no_error(make, view):
    """pilot:E11"""
    (view.workdir / "a").touch()
    assert breach(make(Disk), evolve(view, job=Job(id="1", outputs=(FileSpec(lfn="a"), FileSpec(lfn="b"))))) is None
