"""A view that moves on in time, files to look at, and what a monitor finds."""

from __future__ import annotations

from pathlib import Path

from attrs import evolve

from pilot_core.sdk import View

MB = 10**6


def later(view: View, by_s: float, **changes: object) -> View:
    return evolve(view, mono=view.mono + by_s, running_s=view.running_s + by_s, **changes)


def fill(path: Path, size_b: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size_b)


def breach(monitor, view) -> tuple[int, str] | None:
    reading = monitor.look(view)
    error = None if reading.breach_in_s else reading.breach
    return error and (error.code.number, error.detail)
