"""Plots: what is drawn stands where its axes say, and every axis is easy to read."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilot_core.report.plot import HIGH, MOST_POINTS, WIDE, Line, plot, thinned
from pilot_core.report.units import BYTES, COUNT, PLAIN, SPAN, in_bytes, lasted, moment, rung, shown, ticks


def drawn(*lines: Line, ladder=BYTES, title: str = "Memory") -> ET.Element:
    return ET.fromstring(plot(title, lines, ladder))


def places(element: ET.Element) -> list[tuple[float, float]]:
    return [tuple(map(float, pair.split(","))) for pair in element.attrib["points"].split()]


def test_a_line_stands_between_its_axes():
    svg = drawn(Line("rss", [(0.0, 0.0), (30.0, 1.5e9), (60.0, 3e9)]))
    ticks_ = [each.text for each in svg.iter("text")]
    assert ticks_ == ["Memory (GB)", "0", "1", "2", "3", "0", "0.5", "1 min"]
    (line,) = svg.iter("polyline")
    (x0, y0), (x1, y1), (x2, y2) = places(line)
    assert (x1, y1) == ((x0 + x2) / 2, (y0 + y2) / 2)
    grid = [float(each.attrib["y1"]) for each in svg.iter("line") if each.attrib["class"] == "grid"]
    assert (y0, y2) == (grid[0], grid[-1])


def test_two_lines_and_a_single_point():
    svg = drawn(Line("read", [(0.0, 1.0), (5.0, 2.0)]), Line("written", [(3.0, 1.0)]))
    assert [each.attrib["class"] for each in svg.iter("polyline")] == ["line line0"]
    assert [each.attrib["class"] for each in svg.iter("circle")] == ["dot line1"]


def test_nothing_to_draw():
    assert plot("Memory", [Line("rss", [])], BYTES) == ""


def test_a_title_is_escaped_and_no_style_or_colour_is_written():
    text = plot('<b>"&', [Line("<i>", [(0.0, 1.0), (1.0, 2.0)])], PLAIN)
    assert {each.tag for each in ET.fromstring(text).iter()} == {"svg", "text", "line", "polyline"}
    assert not re.search(r"style=|fill=|stroke=", text)


@given(st.lists(st.tuples(st.floats(0, 1e7), st.floats(0, 1e15)), min_size=1, max_size=60))
def test_nothing_is_drawn_outside_the_paper(points):
    svg = drawn(Line("any", sorted(points)))
    for line in svg.iter("polyline"):
        assert all(0 <= x <= WIDE and 0 <= y <= HIGH for x, y in places(line))


def test_a_long_line_keeps_its_ends_and_its_peak():
    points = [(float(number), 1.0) for number in range(10_000)]
    points[4321] = (4321.0, 9.0)
    kept = thinned(points)
    assert len(kept) <= MOST_POINTS
    assert (kept[0], kept[-1]) == (points[0], points[-1])
    assert (4321.0, 9.0) in kept
    assert kept == sorted(kept)


@given(st.floats(1e-6, 1e15), st.sampled_from((BYTES, SPAN, PLAIN, COUNT)))
def test_ticks_are_few_round_and_reach_far_enough(most, ladder):
    unit = rung(most, ladder)
    found = ticks(most, unit)
    assert 2 <= len(found) <= 6
    assert found[0] == 0
    assert found[-1] >= most * (1 - 1e-6)
    assert found[-2] < most
    if unit.whole:
        assert all(value == int(value) for value in found)


@pytest.mark.parametrize(
    ("span_s", "words"),
    [
        (0, "0 ms"),
        (0.0004, "<1 ms"),
        (0.0455, "45.5 ms"),
        (3.2, "3.2 s"),
        (245, "4 min 5 s"),
        (7800, "2 h 10 min"),
        (277_000, "3 d 4 h"),
        (3600, "1 h"),
    ],
)
def test_a_time_in_words(span_s, words):
    assert lasted(span_s) == words


@pytest.mark.parametrize(
    ("size_b", "words"), [(None, "-"), (0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (134_336_512, "134 MB")]
)
def test_a_size_in_words(size_b, words):
    assert in_bytes(size_b) == words


def test_numbers_and_moments():
    assert [shown(value) for value in (0, 0.4152, 12.0, 1234.5, float("inf"))] == ["0", "0.415", "12", "1234", "-"]
    assert moment(0.5) == "1970-01-01 00:00:00 UTC"
    assert (moment(None), moment(float("nan")), moment(1e300)) == ("-", "-", "-")
