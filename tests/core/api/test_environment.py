"""The environment, as it is here; what batch systems tell is tested with their drivers."""

from __future__ import annotations

import asyncio
import os
import resource
import socket

import pytest

from pilot_core.api.environment import alook, look
from pilot_core.plugins.drivers import NoSuchDriver


def test_each_value_says_where_it_comes_from(tmp_path, monkeypatch):
    (tmp_path / "hs06").write_text("11.5\n")
    monkeypatch.setenv("MACHINEFEATURES", str(tmp_path))
    found = look(tmp_path, resource="node")
    rows = dict(found.rows())
    assert (rows["features.hs06"].value, rows["features.hs06"].by) == ("11.5", "$MACHINEFEATURES/hs06")
    assert found.slot.cores.value <= len(os.sched_getaffinity(0))
    assert rows["node.host"].value == socket.gethostname()
    assert all(told.by for told in rows.values())


def test_limits_are_those_that_bind(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 40, hard))
    try:
        limits = look(tmp_path).limits
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (limits["file_b"].value, limits["file_b"].by) == (1 << 40, "RLIMIT_FSIZE")
    assert ("file_b" in look(tmp_path).limits) == (soft != resource.RLIM_INFINITY)


def test_a_driver_that_is_not_there_is_named(tmp_path):
    with pytest.raises(NoSuchDriver, match="resource 'nood': not installed; did you mean 'node'"):
        look(tmp_path, resource="nood")


def test_as_a_coroutine(tmp_path):
    assert asyncio.run(alook(tmp_path, resource="node")).slot.memory_b.value > 0
