"""Numbers for people: with a unit that suits them, and ticks that are easy to read."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Final

from attrs import frozen


@frozen
class Unit:
    """One rung of a ladder of units: its name, how many of the base unit it is, and which steps between ticks suit."""

    name: str
    base: float
    steps: tuple[float, ...] = (1, 2, 5)
    whole: bool = False
    """Whether it cannot be split, as a process."""


Ladder = Sequence[Unit]
BYTES: Final = tuple(Unit(name, 1000.0**power) for power, name in enumerate(("B", "kB", "MB", "GB", "TB")))
SPEED: Final = tuple(Unit(f"{unit.name}/s", unit.base) for unit in BYTES)
SPAN: Final = (
    Unit("ms", 0.001),
    Unit("s", 1.0, (1, 2, 5, 10, 20, 30, 60)),
    Unit("min", 60.0, (1, 2, 5, 10, 20, 30, 60)),
    Unit("h", 3600.0, (1, 2, 4, 6, 12, 24)),
    Unit("d", 86400.0),
)
PLAIN: Final = (Unit("", 1.0),)
COUNT: Final = (Unit("", 1.0, whole=True),)


def rung(value: float, ladder: Ladder) -> Unit:
    """The largest unit of which ``value`` is at least one; the smallest if there is none."""
    fitting = [unit for unit in ladder if abs(value) >= unit.base]
    return fitting[-1] if fitting else ladder[0]


def say(value: float | None, ladder: Ladder = PLAIN) -> str:
    """``1.50 GB``, ``42 s``; a dash for what is not known."""
    if value is None:
        return "-"
    unit = rung(value, ladder)
    return f"{shown(value / unit.base)} {unit.name}".rstrip()


def shown(value: float) -> str:
    """Three digits that count, and none that do not."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else "-"
    places = max(2 - math.floor(math.log10(abs(value))), 0)
    text = f"{value:.{min(places, 6)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def in_bytes(size_b: float | None) -> str:
    """``1.5 GB``; a dash for what is not known."""
    return say(size_b, BYTES)


def lasted(span_s: float) -> str:
    """``45 ms``, ``3.2 s``, ``4 min 5 s``, ``2 h 10 min``, ``3 d 4 h``."""
    if span_s < 59.95:
        return say(span_s, SPAN) if span_s >= 0.001 else "0 ms" if span_s <= 0 else "<1 ms"
    seconds = round(span_s)
    parts = (
        (seconds // 86400, "d"),
        (seconds // 3600 % 24, "h"),
        (seconds // 60 % 60, "min"),
        (seconds % 60, "s"),
    )
    first = next(number for number, (amount, _) in enumerate(parts) if amount)
    return " ".join(f"{amount} {name}" for amount, name in parts[first : first + 2] if amount)


def moment(at: float | None) -> str:
    """A moment, in UTC; a dash for one that is not known."""
    if at is None or not 0 < at < 1e11:
        return "-"
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at))


def ticks(most: float, unit: Unit, about: int = 4) -> list[float]:
    """Round values from 0 to ``most`` or the next one above it, in the base unit; ``about`` so many steps."""
    wanted = max(most / unit.base / about, 1.0 if unit.whole else 1e-12)
    step = _step(wanted, unit.steps) * unit.base
    return [number * step for number in range(max(math.ceil(most / step - 1e-9), 1) + 1)]


def _step(wanted: float, steps: tuple[float, ...]) -> float:
    """The next step that is not smaller; beyond the last and below the first, in powers of ten."""
    fitting = [step for step in steps if step >= wanted]
    if fitting and wanted > steps[0] / 2:
        return fitting[0]
    power = 10.0 ** math.floor(math.log10(wanted))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= wanted * (1 - 1e-9))
