"""Hypothesis strategies for the core's values, read from their own annotations."""

from __future__ import annotations

import enum
import types
import typing
from collections.abc import Mapping
from typing import Any

import attrs
from hypothesis import strategies as st

from pilot_core.errors import PilotError, codes
from pilot_core.machine import events as e
from pilot_core.model.job import Job, JobExtras
from pilot_core.model.payload import Command

NAMES = st.text("abcdefgh_.-", min_size=1, max_size=8)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False, width=32)
SCALARS = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | NUMBERS | TEXTS
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXTS, inner, max_size=2), max_leaves=4
)
"""What survives a journal."""


def values(kind: Any) -> st.SearchStrategy[Any]:
    """Values of a type: an attrs class, or whatever the fields of ours are annotated with."""
    simple = _SIMPLE.get(kind)
    if simple is not None:
        return simple
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return st.one_of([st.none() if each is type(None) else values(each) for each in args])
    if origin is tuple:
        return st.lists(st.deferred(lambda: values(args[0])), max_size=2).map(tuple)
    if origin is not None and issubclass(origin, Mapping):
        return st.dictionaries(TEXTS, values(args[1]), max_size=2)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return st.sampled_from(kind)
    if attrs.has(kind):
        return _built(kind)
    return values(kind.__supertype__)


def _built(kind: type) -> st.SearchStrategy[Any]:
    hints = typing.get_type_hints(kind)
    fields = {field.name: field for field in attrs.fields(kind)}
    required = {name: values(hints[name]) for name, field in fields.items() if field.default is attrs.NOTHING}
    optional = {name: values(hints[name]) for name in fields if name not in required}
    return st.fixed_dictionaries(required, optional=optional).map(lambda given: kind(**given))


def errors() -> st.SearchStrategy[PilotError]:
    """Errors of any code, with and without facts and others beside them."""
    alone = st.builds(
        lambda code, detail, facts: PilotError(code, detail, **facts),
        st.sampled_from(codes()),
        TEXTS,
        st.dictionaries(st.text("abc", min_size=1, max_size=3), SCALARS, max_size=2),
    )
    return st.builds(PilotError.among, alone, st.lists(alone, max_size=1))


def events() -> st.SearchStrategy[e.JobEvent]:
    """Anything that may happen to a job."""
    return st.one_of([values(kind) for kind in e.JobEvent.__subclasses__()])


def jobs() -> st.SearchStrategy[Job]:
    """Jobs with anything in them."""
    strategy: st.SearchStrategy[Job] = values(Job)
    return strategy


_SIMPLE: dict[Any, st.SearchStrategy[Any]] = {
    str: TEXTS,
    int: st.integers(-(2**53), 2**53),
    float: NUMBERS,
    bool: st.booleans(),
    object: JSON,
    PilotError: st.deferred(errors),
    JobExtras: st.dictionaries(NAMES, JSON, max_size=2).map(JobExtras),
    Command: st.builds(
        lambda argv, env: Command(*argv, env=env),
        st.lists(TEXTS, min_size=1, max_size=3),
        st.dictionaries(NAMES, TEXTS, max_size=2),
    ),
}
