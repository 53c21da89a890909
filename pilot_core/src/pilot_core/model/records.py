"""Values to JSON and back, for journals and records: a field a key, tuples as lists, absent where default."""

from __future__ import annotations

import enum
import types
import typing
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import attrs

from pilot_core.errors import PilotError
from pilot_core.model.change import fields_of
from pilot_core.model.job import JobExtras

_PLAIN = frozenset({str, int, float, bool})


def pack(value: Any) -> Any:
    """Turn a frozen value into JSON material; what stands at its default is left out."""
    kind: Any = type(value)
    if value is None or kind in _PLAIN:
        return value
    layout = _layout(kind)
    if layout is None:
        return _pack_other(value)
    names, get, defaults = layout
    told = zip(names, get(value), defaults, strict=True)
    return {name: pack(item) for name, item, default in told if item is not default and item != default}


def _pack_other(value: Any) -> Any:
    if isinstance(value, PilotError):
        return value.to_wire()
    if isinstance(value, JobExtras):
        return value.plain()
    if isinstance(value, (tuple, list, frozenset, set)):
        return [pack(item) for item in value]
    if isinstance(value, (dict, Mapping)):
        return {str(key): pack(item) for key, item in value.items()}
    return value.value if isinstance(value, enum.Enum) else value


@cache
def _layout(kind: type) -> tuple[tuple[str, ...], Callable[[Any], tuple[object, ...]], tuple[object, ...]] | None:
    """The fields of an attrs class, what gives their values, and their defaults."""
    if not attrs.has(kind) or issubclass(kind, PilotError):
        return None
    return *fields_of(kind), tuple(map(_default_of, attrs.fields(kind)))


def _default_of(field: attrs.Attribute[Any]) -> object:
    made = getattr(field.default, "factory", None)
    return made() if made is not None else field.default


def unpack(kind: Any, data: Any) -> Any:
    """Build a value of type ``kind`` from what ``pack`` made of one."""
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return None if data is None else unpack(next(a for a in args if a is not type(None)), data)
    if origin is tuple:
        return tuple(unpack(args[0], item) for item in data)
    if origin is not None and issubclass(origin, Mapping):
        return {key: unpack(args[1], item) for key, item in data.items()}
    if isinstance(kind, type):
        return _unpack_class(kind, data)
    return data


def _unpack_class(kind: type, data: Any) -> Any:
    if issubclass(kind, PilotError):
        return PilotError.from_wire(data)
    if issubclass(kind, JobExtras):
        return JobExtras(data)
    if attrs.has(kind):
        hints = _hints(kind)
        known = {name: unpack(hints[name], item) for name, item in data.items() if name in hints}
        build = getattr(kind, "__attrs_init__", None)
        if build is None:
            return kind(**known)
        value = kind.__new__(kind)
        build(value, **known)
        return value
    return kind(data) if issubclass(kind, enum.Enum) else data


@cache
def _hints(kind: type) -> dict[str, Any]:
    return {name: hint for name, hint in typing.get_type_hints(kind).items() if name in attrs.fields_dict(kind)}
