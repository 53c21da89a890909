"""How many cores a payload keeps busy."""

from __future__ import annotations

import logging

import pytest
from attrs import evolve

from pilot_core.builtin.monitors.cores import Cores
from pilot_core.model.job import Job
from pilot_core.model.payload import Usage
from pilot_core.model.queue import Resources

from .looking import later


@pytest.fixture
def two_cores(view):
    return evolve(view, job=Job(id="1", needs=Resources(cores=2)), running_s=10.0, usage=Usage(cpu_user_s=5, threads=8))


def test_cores_in_use_since_the_last_look(make, two_cores):
    cores = make(Cores)
    assert cores.look(two_cores).measures == {"cores_used": 0.5, "threads_per_core": 4.0}
    view = later(two_cores, 10, usage=Usage(cpu_user_s=15, cpu_system_s=15))
    assert cores.look(view).measures["cores_used"] == 2.5
    assert cores.look(view).measures == {}, "no time has passed"


def test_a_payload_that_takes_others_cores_is_warned_of_once(make, two_cores, caplog):
    caplog.set_level(logging.WARNING)
    cores = make(Cores, cores={"warn_s": 20})
    view = two_cores
    for step in range(1, 6):
        view = later(view, 10, usage=Usage(cpu_user_s=5 + 40 * step))
        assert cores.look(view).breach is None
    assert [record.getMessage() for record in caplog.records] == [
        "job 1 keeps 4.0 cores busy, and has had too many for 20 s: 2 are its own"
    ]
