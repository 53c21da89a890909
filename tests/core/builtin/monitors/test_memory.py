"""What a payload's processes may hold."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from attrs import evolve

from pilot_core.builtin.monitors.memory import Memory
from pilot_core.model.job import Job
from pilot_core.model.payload import Usage
from pilot_core.model.queue import Queue, Resources
from pilot_core.sdk.io import Groups

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


def test_shared_pages_count_once_where_that_was_measured(make, view):
    """pilot:E18"""
    memory = make(Memory, memory={"limit_b": "1 GB"})
    reading = memory.look(evolve(view, usage=Usage(rss_b=8000 * MB, pss_b=1000 * MB)))
    assert reading.breach is None
    assert reading.measures == {"avg_rss": 8000 * MB / 1024, "avg_pss": 1000 * MB / 1024}
    assert breach(memory, evolve(view, usage=Usage(rss_b=8000 * MB, pss_b=1001 * MB)))[0] == 1235


def test_a_site_sets_a_limit_of_its_own(make, view):
    memory = make(Memory, memory={"limit_b": "1 GB"})
    assert breach(memory, evolve(view, usage=Usage(rss_b=1001 * MB)))[0] == 1235


def own_group() -> Path | None:
    """Where a group can be made below this process's own, by whoever may."""
    group = Groups.of().memory
    return group.path if group and group.version == 1 and os.access(group.path, os.W_OK) else None


@pytest.mark.skipif(own_group() is None, reason="needs a cgroup of version 1 that may be divided")
def test_a_group_of_the_payloads_own_tells_its_peak_and_its_kills(make, view, tmp_path):
    group = own_group() / f"pilot-test-{tmp_path.name}-{os.getpid()}"
    group.mkdir()
    program = "input(); b = bytearray(64 << 20)"
    try:
        with subprocess.Popen([sys.executable, "-I", "-S", "-c", program], stdin=subprocess.PIPE) as payload:
            (group / "memory.limit_in_bytes").write_text(str(24 << 20))
            (group / "cgroup.procs").write_text(str(payload.pid))
            memory, seen = make(Memory), evolve(view, pids=(payload.pid,))
            assert memory.look(seen).measures["group_oom_kills"] == 0
            payload.communicate(b"\n")
        assert payload.returncode == -9
        measures = memory.look(seen).measures
    finally:
        group.rmdir()
    assert measures["group_oom_kills"] == 1
    assert 20 << 20 <= measures["group_peak_b"] <= 24 << 20


def test_a_payload_in_the_pilots_own_group_tells_nothing_of_it(make, view):
    assert make(Memory).look(evolve(view, pids=(os.getpid(),))).measures == {}
