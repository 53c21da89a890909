"""Answers: JSON for programs, plain columns and readable measures for people."""

from __future__ import annotations

import json
import os
import sys
import textwrap
from collections.abc import Iterable, Sequence

NARROW = 40


def answer(as_json: bool, value: object, text: str) -> None:
    """Print the value as JSON, or the text."""
    print(json.dumps(value, indent=2) if as_json else text)


def columns(headings: Sequence[str], rows: Iterable[Sequence[object]], *, width: int | None = None) -> str:
    """Rows under headings, each column as wide as its widest; the last one is wrapped to a terminal's width."""
    lines = [[*headings], *([_cell(each) for each in row] for row in rows)]
    widths = [max(len(line[number]) for line in lines) for number in range(len(headings))]
    before = sum(widths[:-1]) + 2 * (len(widths) - 1)
    room = max((width or _screen() or 10**6) - before, NARROW)
    out = []
    for *cells, last in lines:
        left = "".join(f"{cell:<{wide}}  " for cell, wide in zip(cells, widths, strict=False))
        wrapped = textwrap.wrap(last, room, break_long_words=False, break_on_hyphens=False) or [""]
        out += [(left + wrapped[0]).rstrip(), *(" " * before + more for more in wrapped[1:])]
    return "\n".join(out)


def _cell(value: object) -> str:
    return "-" if value in (None, "") else str(value)


def _screen() -> int:
    return os.get_terminal_size(sys.stdout.fileno()).columns if sys.stdout.isatty() else 0


def size(size_b: float) -> str:
    """``1.5 GB``."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size_b < 1000 or unit == "TB":
            break
        size_b /= 1000
    return f"{size_b:.0f} {unit}" if unit == "B" else f"{size_b:.1f} {unit}"


def duration(time_s: float) -> str:
    """``45 ms``, ``3.2 s``, ``4 min 5 s``, ``2 h 10 min``."""
    if time_s < 1:
        return f"{time_s * 1000:.0f} ms"
    if time_s < 59.95:
        return f"{time_s:.1f} s"
    minutes, seconds = divmod(round(time_s), 60)
    if minutes < 60:
        return f"{minutes} min {seconds} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"


def count(number: int, noun: str) -> str:
    """``1 job``, ``2 jobs``, ``no jobs``."""
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"
