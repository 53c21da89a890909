"""How long a payload may run."""

from __future__ import annotations

import pytest
from attrs import evolve

from pilot_core.builtin.monitors.walltime import WallTime
from pilot_core.model.job import Job
from pilot_core.model.queue import Queue

from .looking import breach


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


def test_the_end_of_its_time_is_told_before(make, view):
    reading = make(WallTime).look(evolve(view, job=Job(id="1", wall_limit_s=600.0), running_s=590.0))
    assert reading.breach_in_s == 10.0
    assert reading.breach is not None
    assert reading.breach.detail == "the payload has run for 600 s, 600 s are allowed"


@pytest.mark.parametrize(("running_s", "over"), [(59, False), (60, True)])
def test_no_payload_runs_longer_than_the_option_says(make, view, running_s, over):
    job = evolve(view.job, wall_limit_s=100.0)
    monitor = make(WallTime, walltime={"limit_s": 60, "grace": 2})
    assert (breach(monitor, evolve(view, job=job, running_s=float(running_s))) is not None) == over
