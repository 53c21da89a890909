"""What a payload's processes may hold."""

from __future__ import annotations

import pytest
from attrs import evolve

from pilot_core.builtin.monitors.memory import Memory
from pilot_core.model.job import Job
from pilot_core.model.payload import Usage
from pilot_core.model.queue import Queue, Resources

from .looking import MB, breach


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
