"""Lines and outliers: known answers, and what must hold for any series."""

from __future__ import annotations

import random
from math import isclose, sqrt
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilot_core.api.services import fit, growth, outliers

NUMBERS = st.floats(-1e6, 1e6).map(lambda number: round(number, 3))
SERIES = st.lists(st.tuples(NUMBERS, NUMBERS), min_size=3, max_size=40, unique_by=lambda pair: pair[0])


def test_a_line_of_a_text_book():
    line = fit([1, 2, 3, 4], [6, 5, 7, 10])
    assert (line.slope, line.intercept, line.points) == (1.4, 3.5, 4)
    assert isclose(line.slope_error, sqrt(0.42))
    assert isclose(line.intercept_error, sqrt(0.42 * 7.5))
    assert line.at(10) == 17.5


@given(SERIES, NUMBERS, NUMBERS)
def test_points_on_a_line_give_it_back(points, slope, intercept):
    xs = [x / 1000 for x, _ in points]
    line = fit(xs, [slope * x + intercept for x in xs])
    scale = 1 + abs(slope) * max(map(abs, xs)) + abs(intercept)
    assert all(abs(line.at(x) - slope * x - intercept) < 1e-6 * scale for x in xs)


@given(SERIES)
def test_no_other_line_has_smaller_squares(points):
    xs, ys = [x / 1000 for x, _ in points], [y for _, y in points]
    line = fit(xs, ys)
    squares = sum((y - line.at(x)) ** 2 for x, y in zip(xs, ys, strict=True))
    for change in (-1e-3, 1e-3):
        moved = sum((y - line.at(x) - change * (1 + x)) ** 2 for x, y in zip(xs, ys, strict=True))
        assert moved >= squares * (1 - 1e-9) - 1e-6


@pytest.mark.parametrize("xs", [[], [1], [1, 2], [3, 3, 3]])
def test_too_little_is_no_line(xs):
    assert fit(xs, xs) is None
    assert growth(xs, xs) is None


def test_the_uncertainty_is_true_for_noise_of_its_own_at_each_point():
    chance = random.Random(1)
    pulls = []
    for _ in range(300):
        line = fit(range(60), [0.5 * x + chance.gauss(0, 3) for x in range(60)])
        pulls.append((line.slope - 0.5) / line.slope_error)
    assert abs(fmean(pulls)) < 0.2
    assert 0.8 < sqrt(fmean(pull**2 for pull in pulls)) < 1.2


def test_a_series_that_wanders_is_less_sure_than_its_number_of_points_says():
    chance = random.Random(2)
    sure = 0
    for _ in range(200):
        level, ys = 0.0, []
        for _ in range(60):
            level = 0.8 * level + chance.gauss(0, 1)
            ys.append(level)
        sure += fit(range(60), ys).rises
    assert sure <= 6


def test_outliers_are_found_even_where_most_values_are_the_same():
    assert outliers([5, 5, 5, 5, 5, 90]) == (5,)
    assert outliers([1, 2, 3, 2, 1, 2, 50, 2, -40]) == (6, 8)
    assert outliers([4, 4, 4]) == outliers([]) == ()


@given(st.lists(NUMBERS, min_size=1), NUMBERS, st.floats(0.5, 100))
def test_outliers_do_not_depend_on_where_zero_is(values, shift, factor):
    assert set(outliers(values, 1e9)) <= set(outliers(values, 3)) <= set(outliers(values, 1))
    assert len(outliers(values)) <= len(values) / 2


def test_growth_is_not_led_astray_by_one_short_peak():
    times_s = list(range(100))
    memory = [1000.0 + 2 * time_s for time_s in times_s]
    memory[97] = 50_000.0
    line = growth(times_s, memory)
    assert isclose(line.slope, 2)
    assert (line.points, line.rises) == (99, True)
    assert not isclose(fit(times_s, memory).slope, 2, rel_tol=0.1)
