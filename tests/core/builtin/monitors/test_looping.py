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
