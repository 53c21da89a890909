"""Signs that a payload gets on: numbers that grow, and how long one of them has not."""

from __future__ import annotations

from attrs import define


@define
class Signal:
    """A number that grows while a payload gets on; a growth of ``least`` or less a second counts as nothing."""

    least: float
    unit: str
    since: float
    """When it was last seen to grow enough."""
    looked: float
    value: float = 0.0
    base: float = 0.0
    """The number when it had last grown enough."""

    def note(self, now: float, value: float) -> None:
        """Take the number as it is now."""
        if now > self.looked and (value - self.value) / (now - self.looked) > self.least:
            self.since, self.base = now, value
        self.value, self.looked = value, now

    def begin_anew(self, now: float) -> None:
        """Count from now: what was before says nothing."""
        self.since, self.base = now, self.value

    def __str__(self) -> str:
        grown = max(self.value - self.base, 0.0)
        return f"{_short(grown)} {self.unit}"


def _short(number: float) -> str:
    return f"{number:.2f}".rstrip("0").rstrip(".") if number < 1000 else f"{number:.0f}"
