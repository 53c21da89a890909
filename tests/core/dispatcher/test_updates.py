"""What pilots say, typed and read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilot_core.dispatcher import updates
from pilot_core.dispatcher.updates import (
    ACQUIRE,
    UPDATE,
    Mistyped,
    Report,
    error_of,
    read_report,
    read_typed,
    timing_of,
)


@pytest.mark.parametrize(("update", "told"), [
    ({}, "Argument error: missing a required argument: 'job_id'"),
    ({"job_id": None}, "Argument error: missing a required argument: 'job_id'"),
    ({"job_id": "7"}, "Type error: 'job_id' must be of type int, got str."),
    ({"job_id": 7.0}, "Type error: 'job_id' must be of type int, got float."),
    ({"job_id": 7, "max_rss": "5"}, "Type error: 'max_rss' must be of type int or float, got str."),
    ({"job_id": 7, "pilot_log": None}, "Type error: 'pilot_log' must be of type str, got NoneType."),
    ({"job_id": 1 << 64}, "Type error: 'job_id' has more digits than any number here"),
    ({"job_id": 7, "nde": "x"}, "Argument error: got an unexpected keyword argument 'nde'; did you mean 'node'?"),
    ([7], "Argument error: the body wants to be one JSON object, sent as application/json"),
])  # fmt: skip
def test_types_are_panda_s(update, told):
    with pytest.raises(Mistyped) as refused:
        read_typed(update, UPDATE, ("job_id",))
    assert str(refused.value) == told


def test_what_says_nothing_is_left_out():
    update = {"job_id": True, "node": "n", "batch_id": "", "grid": None, "max_rss": 1.5, "pilot_id": "a\0\ud800"}
    assert read_typed(update, UPDATE, ()) == {"job_id": True, "node": "n", "max_rss": 1.5, "pilot_id": "a?"}
    assert read_typed({"node": ""}, UPDATE, ("node",)) == {"node": ""}


def test_what_is_long_is_cut_or_dropped_or_left_to_the_database():
    update = {"node": "\u00e9" * 200, "stdout": "s" * 2049, "pilot_timing": "t" * 200, "job_id": 1}
    assert updates.cut(update) == {"node": "\u00e9" * 128, "pilot_timing": "t" * 200, "job_id": 1}
    assert updates.too_wide({"node": "\u00e9" * 128}) == "'node' has 256 bytes; there is room for 128"
    assert updates.too_wide({"pilot_timing": "t" * 200}) == "'pilot_timing' has 200 bytes; there is room for 100"
    assert not updates.too_wide({"node": "n" * 128, "pilot_log": "l" * 9000, "job_id": 10**18})


def test_remaining_time_may_be_anything():
    assert read_typed({"site_name": "q", "remaining_time": "soon"}, ACQUIRE, ()) == {
        "site_name": "q",
        "remaining_time": "soon",
    }
    assert [updates.seconds(each) for each in ("soon", "60", 60.9, None, -1, float("inf"))] == [0, 60, 60, 0, 0, 0]


def test_usage_prefers_the_pilots_own_metrics():
    told = {"max_rss": 10, "cpu_consumption_time": 3, "tot_rbytes": 4.0, "job_metrics": "rss=77 processes=2 odd x=y"}
    assert updates.usage_of(told) == updates.Usage(cpu_s=3, rss_b=77, rss_peak_b=10240, read_b=4, processes=2)
    for told, now_b, peak_b in (
        ({"max_rss": 10}, 10240, 10240),
        ({"job_metrics": "rss=7"}, 7, 7),
        ({"max_rss": 0.5}, 512, 512),
    ):
        usage = updates.usage_of(told)
        assert (usage.rss_b, usage.rss_peak_b) == (now_b, peak_b)


@given(st.text(max_size=30))
def test_no_metrics_break_the_reader(text):
    updates.usage_of({"job_metrics": text})
    timing_of(text)
    read_report(text)


def test_timing():
    assert timing_of("1|2|3|x|5") == {"get_job": 1, "stage_in": 2, "payload": 3, "initial_setup": 5}


def test_a_report():
    report = read_report('{"a": {"guid": "g", "fsize": 3, "adler32": "01020304", "surl": "https://h/a"}}')
    assert report.names == {"a"}
    assert report.files == ({"name": "a", "size_b": 3, "checksum": "adler32:01020304", "url": "https://h/a"},)


@pytest.mark.parametrize(("told", "tells"), [
    ("a.b", True), ("a.b._1", True), ("a.b_0012", True), ("axb._1", False), ("a.b._", False), ("a.b._1x", False),
    ("xa.b._1", False), ("a.b.1", False), ("a.b._1\n", False),
])  # fmt: skip
def test_an_expected_file_may_be_told_of_by_several(told, tells):
    assert Report(names=frozenset({told})).tells_of("a.b") is tells


@pytest.mark.parametrize("text", ["{", "[]", '{"a": 5}', '{"a": {}}'])
def test_a_report_that_makes_no_sense_names_no_files(text):
    report = read_report(text)
    assert report.problem
    assert not report.names


def test_why_a_job_failed():
    pilot = error_of({"pilot_error_code": -1099, "pilot_error_diag": "no copy", "exe_error_code": 5})
    assert pilot is not None
    assert (pilot["code"], pilot["acronym"], pilot["detail"]) == (1099, "STAGEINFAILED", "no copy")
    assert (error_of({"exe_error_code": 65}) or {})["sentence"] == "The payload reported an error"
    assert (error_of({"trans_exit_code": 3}) or {})["detail"] == "exit code 3"
    assert error_of({}) is None
