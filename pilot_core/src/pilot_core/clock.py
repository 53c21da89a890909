"""Two clocks in one: wall time to tell people, monotonic time to measure."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Where time comes from; tests pass one that they move themselves."""

    def now(self) -> float:
        """Seconds since the epoch. May jump: never subtract two of these."""
        ...

    def mono(self) -> float:
        """Seconds since some moment, never going back. Means nothing to another process."""
        ...


class SystemClock:
    """The machine's own clock."""

    __slots__ = ()

    def now(self) -> float:
        return time.time()

    def mono(self) -> float:
        return time.monotonic()
