"""What a process may use, and until when, each value with who tells it: a variable, a file, a program."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from attrs import evolve, fields, frozen

T = TypeVar("T")


@frozen
class Told(Generic[T]):
    """A value, and who tells it."""

    value: T
    by: str


@frozen(kw_only=True)
class Allotment:
    """Our part of a node, and of the allocation around it; ``None`` where nobody tells."""

    system: Told[str] | None = None
    job: Told[str] | None = None
    queue: Told[str] | None = None
    nodes: Told[tuple[str, ...]] | None = None
    cores: Told[int] | None = None
    memory_b: Told[int] | None = None
    disk_b: Told[int] | None = None
    gpus: Told[tuple[str, ...]] | None = None
    left_s: Told[float] | None = None

    def within(self, other: Allotment) -> Allotment:
        """Of two limits the tighter one; for the rest what this one tells, else the other."""
        tighter = {name: tightest(getattr(self, name), getattr(other, name)) for name in LIMITS}
        rest = [each.name for each in fields(Allotment) if each.name not in LIMITS]
        return evolve(self, **tighter, **{name: getattr(self, name) or getattr(other, name) for name in rest})


LIMITS = ("cores", "memory_b", "disk_b", "left_s")


def tightest(*limits: Told[Any] | None) -> Told[Any] | None:
    """The least of those that are told; of equals the first."""
    return min((each for each in limits if each is not None), key=lambda each: each.value, default=None)


def told(value: T | None, by: str) -> Told[T] | None:
    """The value as told, if there is one."""
    return None if value is None else Told(value, by)
