"""What a series of numbers tells: a straight line with its uncertainty, values that stand apart. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import sqrt
from statistics import fmean, median
from typing import Final

from attrs import frozen

LEAST: Final = 3
"""With fewer points a line has no uncertainty."""
APART: Final = 3.5
CONSISTENT: Final = 1.4826
"""The standard deviation of normal values over the median of their distances from the median."""


@frozen(kw_only=True)
class Line:
    """``intercept + slope * x``, and one standard deviation of each."""

    slope: float
    intercept: float
    slope_error: float
    intercept_error: float
    points: int

    def at(self, x: float) -> float:
        """Its value there."""
        return self.intercept + self.slope * x

    @property
    def rises(self) -> bool:
        """Whether it goes up by more than three times the uncertainty."""
        return self.slope > 3 * self.slope_error


def fit(xs: Sequence[float], ys: Sequence[float]) -> Line | None:
    """The line of least squares; nothing for fewer than three points, or all at one ``x``.

    Neighbours in a series of samples are alike. As many points fewer are counted as their residuals repeat each other,
    so that the uncertainty is not too small.
    """
    count = len(xs)
    if count < LEAST or count != len(ys):
        return None
    mean_x, mean_y = fmean(xs), fmean(ys)
    spread = sum((x - mean_x) ** 2 for x in xs)
    if not spread:
        return None
    slope = sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True)) / spread
    intercept = mean_y - slope * mean_x
    residuals = [y - intercept - slope * x for x, y in zip(xs, ys, strict=True)]
    variance = sum(each**2 for each in residuals) / (count - 2) * _repetition(residuals)
    return Line(
        slope=slope,
        intercept=intercept,
        slope_error=sqrt(variance / spread),
        intercept_error=sqrt(variance * (1 / count + mean_x**2 / spread)),
        points=count,
    )


def outliers(values: Sequence[float], apart: float = APART) -> tuple[int, ...]:
    """Where the values stand that are so many standard deviations from the median, these as seen without outliers."""
    if not values:
        return ()
    middle = median(values)
    distances = [abs(value - middle) for value in values]
    scale = CONSISTENT * median(distances) or fmean(distances)
    return tuple(number for number, distance in enumerate(distances) if distance > apart * scale > 0)


def growth(times_s: Sequence[float], values: Sequence[float]) -> Line | None:
    """The line through a series, but for points that stand apart from the line through all."""
    line = fit(times_s, values)
    if line is None:
        return None
    residuals = [value - line.at(time_s) for time_s, value in zip(times_s, values, strict=True)]
    left_out = set(outliers(residuals))
    kept = [number for number in range(len(values)) if number not in left_out]
    return fit([times_s[number] for number in kept], [values[number] for number in kept]) or line


def _repetition(residuals: Sequence[float]) -> float:
    """How many points do the work of one, from how much each residual is like the one before."""
    total = sum(each**2 for each in residuals)
    if not total:
        return 1.0
    alike = sum(one * after for one, after in pairwise(residuals)) / total
    alike = min(max(alike, 0.0), 1 - 2 / len(residuals))
    return (1 + alike) / (1 - alike)
