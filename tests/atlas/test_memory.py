"""How much memory a payload may hold."""

from __future__ import annotations

import json
from typing import ClassVar

import pytest

from pilot_atlas.memory import ASK, BUILT_IN, UNKNOWN, AtlasMemory, asked_of, limit_of, per_core, read_types
from pilot_core.sdk import Code, Queue, Resources, Usage, View
from pilot_core.testing.contracts.drivers import MonitorContract

from .jobs import PRODUCTION, a_job

GIB = 1 << 30
PER_CORE = {"SCORE": 2000.0, "MCORE": 2000.0, "MCORE_HIMEM": 3000.0}
QUEUE = Queue(name="Q", cores=8, memory_b=16_000_000_000)


def job(kind: str, cores: int = 1, memory_b: int | None = None):
    return a_job({**PRODUCTION, "resource_type": kind}, needs=Resources(cores=cores, memory_b=memory_b))


@pytest.mark.parametrize(
    ("kind", "cores", "memory_b", "asked"),
    [
        ("SCORE", 1, None, 2000),
        ("MCORE", 8, None, 16000),
        ("MCORE_HIMEM", 8, None, 24000),  # pilot:E17
        ("SCORE_NEW", 1, None, UNKNOWN),
        ("SCORE_VHIMEM", 2, None, 4000),
        ("MCORE_VHIMEM", 8, None, 16000),
        ("Undefined", 8, 1_800_000_000, 2000),
        ("", 8, 14_400_000_000, 15000),
        ("", 8, None, None),
    ],
)
def test_it_goes_by_the_resource_type_of_the_job(kind, cores, memory_b, asked):
    assert asked_of(job(kind, cores, memory_b), QUEUE, PER_CORE) == asked


def test_a_queue_that_says_nothing_sets_no_limit():
    for kind in ("SCORE_VHIMEM", "MCORE_VHIMEM"):
        assert limit_of(job(kind), Queue(name="Q"), PER_CORE) is None


@pytest.mark.parametrize(("used_b", "breached"), [(int(4.1 * GIB), True), (int(3.9 * GIB), False)])
def test_what_is_shared_counts_once_and_the_most_counts(make_settings, tmp_path, used_b, breached):
    """pilot:E16"""
    monitor = AtlasMemory(make_settings(atlas={"ram_per_core": PER_CORE}))
    usage = Usage(rss_b=8 * GIB, pss_b=GIB, pss_peak_b=used_b)
    view = View(job=job("SCORE"), queue=QUEUE, workdir=tmp_path, usage=usage, running_s=1.0, mono=1.0)
    breach = monitor.look(view).breach
    assert (breach is not None) == breached
    if breach is not None:
        assert breach.code is Code.PAYLOADEXCEEDMAXMEM
        assert (breach.facts["value_b"], breach.facts["limit_b"]) == (used_b, 4000 << 20)


@pytest.mark.parametrize(("grace", "factor"), [(0, 1.0), (50, 1.5), (-5, 2.0), ("much", 2.0)])
def test_the_queue_has_a_grace(grace, factor):
    queue = Queue(name="Q", params={"pilot_rss_grace": grace})
    assert limit_of(job("SCORE"), queue, PER_CORE) == 2000 * factor * (1 << 20)


def test_the_server_is_asked_what_resource_types_have(web, make_settings):
    rows = [{"resource_name": "SCORE", "maxrampercore": 1500}, {"resource_name": "X", "maxrampercore": None}, "odd"]
    web.put(ASK, json.dumps({"success": True, "data": rows}).encode())
    assert per_core(make_settings(connection={"url": [web.url]})) == {"SCORE": 1500.0}
    assert per_core(make_settings(connection={"url": [web.url]}, atlas={"ram_per_core": PER_CORE})) == PER_CORE
    assert len(web.asked) == 1


NULLS = {"success": True, "data": [{"resource_name": kind, "maxrampercore": None} for kind in (*BUILT_IN, None)]}


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, b"<html>not here</html>"),
        (200, b"<html>not now</html>"),
        (200, b'{"success": false, "message": "Database error", "data": null}'),
        (200, b'{"success": true, "data": []}'),
        (200, b'{"success": true, "data": [{}, null]}'),
        (200, json.dumps(NULLS).encode()),
    ],
)
def test_where_the_server_does_not_say_what_resource_types_have_the_built_in_table_does(
    web, make_settings, tmp_path, status, body
):
    """server:M-02"""
    web.put(ASK, body, status)
    monitor = AtlasMemory(make_settings(connection={"url": [web.url]}))
    for kind, most in (("SCORE", 2000), ("MCORE_HIMEM", 3000), ("MCORE_LOMEM", 1000), ("SCORE_NEW", UNKNOWN)):
        usage = Usage(rss_b=GIB << 10, pss_b=GIB << 10)
        view = View(job=job(kind, 2), queue=QUEUE, workdir=tmp_path, usage=usage, running_s=1.0, mono=1.0)
        assert monitor.look(view).breach.facts["limit_b"] == int(most * 2 * 2 * (1 << 20))
    assert web.asked == [ASK]


def test_where_no_server_is_named_or_none_listens_or_makes_sense_nothing_is_read(make_settings):
    """server:M-02 (no server)"""
    assert per_core(make_settings()) == {}
    assert per_core(make_settings(connection={"url": ["http://127.0.0.1:9"]})) == {}
    for odd in (None, [], {"data": 1}, {"data": [1]}):
        assert read_types(odd) == {}


class TestAtlasMemory(MonitorContract):
    driver = AtlasMemory
    options: ClassVar = {"atlas.ram_per_core": PER_CORE}

    def bad_view(self) -> View:
        return self.view(job=job("SCORE"), usage=Usage(rss_b=9 * GIB, pss_b=5 * GIB, pss_peak_b=5 * GIB))
