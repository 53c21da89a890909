"""Line plots over time as SVG, drawn by hand: axes, units, ticks that are easy to read. Colours are the page's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from attrs import frozen

from pilot_core.report.markup import escaped
from pilot_core.report.units import SPAN, Ladder, Unit, rung, shown, ticks

Point = tuple[float, float]

WIDE, HIGH = 360, 168
LEFT, RIGHT, TOP, BOTTOM = 40, 12, 22, 22
MOST_POINTS: Final = 400


@frozen
class Line:
    """One quantity over time; the points are ordered, times in seconds."""

    name: str
    points: Sequence[Point]


@frozen
class Axis:
    """Values and where they stand on the paper."""

    unit: Unit
    ticks: Sequence[float]
    start: float
    end: float

    @property
    def most(self) -> float:
        """The value at the axis's end."""
        return self.ticks[-1]

    def place(self, value: float) -> float:
        """Where a value stands."""
        return self.start + (self.end - self.start) * (value / self.most)

    def words(self, value: float) -> str:
        """What is written at a tick."""
        return shown(value / self.unit.base)


def plot(title: str, lines: Sequence[Line], ladder: Ladder) -> str:
    """An SVG picture of some lines with a common unit, from 0 on both axes; nothing if there is nothing to draw."""
    lines = [Line(line.name, thinned(line.points)) for line in lines if line.points]
    if not lines:
        return ""
    across = axis(max(line.points[-1][0] for line in lines), SPAN, LEFT, WIDE - RIGHT)
    up = axis(max(value for line in lines for _, value in line.points), ladder, HIGH - BOTTOM, TOP)
    parts = (*_frame(title, across, up), *(_drawn(line, number, across, up) for number, line in enumerate(lines)))
    label = escaped(f"{title}: {'; '.join(map(_in_words, lines))}")
    return f'<svg viewBox="0 0 {WIDE} {HIGH}" role="img" aria-label="{label}">{"".join(parts)}</svg>'


def axis(most: float, ladder: Ladder, start: float, end: float) -> Axis:
    """An axis that shows all up to ``most``."""
    unit = rung(most, ladder)
    return Axis(unit, ticks(most, unit), start, end)


def thinned(points: Sequence[Point]) -> list[Point]:
    """So few points that a line is no longer than its paper needs; of neighbours the highest stays, and the ends do."""
    if len(points) <= MOST_POINTS:
        return list(points)
    size = -(-len(points) // (MOST_POINTS - 2))
    inner = [points[start : start + size] for start in range(0, len(points), size)]
    highest = [max(group, key=lambda point: point[1]) for group in inner]
    return list(dict.fromkeys((points[0], *highest, points[-1])))


def _frame(title: str, across: Axis, up: Axis) -> Iterator[str]:
    unit = f" ({up.unit.name})" if up.unit.name else ""
    yield f'<text class="title" x="{LEFT}" y="13">{escaped(title)}{unit}</text>'
    for value in up.ticks:
        y = up.place(value)
        yield f'<line class="grid" x1="{LEFT}" x2="{WIDE - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text class="tick" x="{LEFT - 5}" y="{y + 3.5:.1f}" text-anchor="end">{up.words(value)}</text>'
    for value in across.ticks:
        x, last = across.place(value), value == across.most
        words = f"{across.words(value)} {across.unit.name}" if last else across.words(value)
        anchor, x_text = ("end", WIDE - 2) if last else ("middle", x)
        yield f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{HIGH - BOTTOM}" y2="{HIGH - BOTTOM + 4}"/>'
        yield f'<text class="tick" x="{x_text:.1f}" y="{HIGH - BOTTOM + 16}" text-anchor="{anchor}">{words}</text>'
    yield f'<line class="axis" x1="{LEFT}" x2="{WIDE - RIGHT}" y1="{HIGH - BOTTOM}" y2="{HIGH - BOTTOM}"/>'


def _drawn(line: Line, number: int, across: Axis, up: Axis) -> str:
    places = [(across.place(at), up.place(value)) for at, value in line.points]
    if len(places) == 1:
        ((x, y),) = places
        return f'<circle class="dot line{number}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>'
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    return f'<polyline class="line line{number}" points="{path}"/>'


def _in_words(line: Line) -> str:
    return f"{line.name} at {len(line.points)} moments"
