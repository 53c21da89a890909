"""Columns and measures."""

from __future__ import annotations

import pytest

from pilot_core.cli.output import columns, count, duration, size


def test_columns_are_as_wide_as_their_widest_and_nothing_trails():
    assert columns(("A", "LONGER", "C"), [("1", "x", None), ("222", 7, "")]).splitlines() == [
        "A    LONGER  C",
        "1    x       -",
        "222  7       -",
    ]


def test_the_last_column_wraps_below_itself():
    text = columns(("A", "B"), [("1", "one two three four five six seven eight nine ten eleven")], width=50)
    lines = text.splitlines()
    assert len(lines) > 2
    assert all(len(line) <= 50 for line in lines)
    assert lines[2].startswith("   ")
    assert " ".join(text.split()) == "A B 1 one two three four five six seven eight nine ten eleven"


def test_a_table_without_rows_is_its_headings():
    assert columns(("A", "B"), []) == "A  B"


@pytest.mark.parametrize(
    ("size_b", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (1.5e9, "1.5 GB"), (2e12, "2.0 TB"), (5e15, "5000.0 TB")],
)
def test_sizes(size_b, text):
    assert size(size_b) == text


@pytest.mark.parametrize(
    ("time_s", "text"),
    [
        (0, "0 ms"),
        (0.0426, "43 ms"),
        (59.94, "59.9 s"),
        (59.96, "1 min 0 s"),
        (61, "1 min 1 s"),
        (3600, "1 h 0 min"),
        (90061, "25 h 1 min"),
    ],
)
def test_durations(time_s, text):
    assert duration(time_s) == text


def test_counts():
    assert [count(number, "job") for number in (0, 1, 2)] == ["no jobs", "1 job", "2 jobs"]
