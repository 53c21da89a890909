"""One raw value read as the type that its option declares."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from types import MappingProxyType, UnionType
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin

from pilot_core.config.spelling import meant

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pilot_core.config.options import Option

_TRUE = frozenset({"true", "yes", "on", "1"})
_FALSE = frozenset({"false", "no", "off", "0"})
_UNITS: dict[str, dict[str, float]] = {
    "s": {"ms": 1e-3, "s": 1, "min": 60, "h": 3600, "d": 86400},
    "b": {"b": 1}
    | {f"{prefix}b": 1000.0**power for power, prefix in enumerate("kmgtp", 1)}
    | {f"{prefix}ib": 1024.0**power for power, prefix in enumerate("kmgtp", 1)},
}
_MEASURE = re.compile(r"\s*([0-9]*\.?[0-9]+)\s*([a-z]+)\s*", re.IGNORECASE)


class Unreadable(ValueError):
    """The value does not fit its option; the message says what would."""


def read_value(option: Option, raw: object, *, text: bool, base: str = "") -> object:
    """The value of ``option``, or ``Unreadable``; relative paths are seen from ``base``, where one is given.

    ``text`` says that ``raw`` comes from where all is text (environment, command line): lists are then
    written ``a,b``, mappings ``k=v,l=w``. Elsewhere a number in quotes is no number, unless it has a unit.
    """
    if isinstance(raw, bool) and {"yes", "no"} <= set(option.choices):
        raw = "yes" if raw else "no"  # as YAML reads these very words
    value = _read(option.type, raw, option.unit, text)
    for each in _each(value):
        if option.choices:
            _check_choice(each, option.choices)
        if option.least is not None and isinstance(each, int | float) and each < option.least:
            raise Unreadable(f"wants at least {option.least:g}, not {raw!r}")
    return _seen_from(base, value, option) if base else value


def read_measure(text: str, unit: str) -> float:
    """A number with its unit (``s`` or ``b``), as people write it; or ``Unreadable``."""
    value = _number(float, text, unit, text=True)
    assert isinstance(value, float)
    return value


def _each(value: object) -> tuple[object, ...]:
    if isinstance(value, Mapping):
        return tuple(value.values())
    return value if isinstance(value, tuple) else (value,)


def _seen_from(base: str, value: object, option: Option) -> object:
    if isinstance(value, Path):
        return base / value
    if option.place and isinstance(value, str) and value and ":" not in value:
        return os.path.join(base, value)
    return value


def _read(kind: Any, raw: object, unit: str, text: bool) -> object:
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        if raw is None or (text and raw == ""):
            return None
        return _read(next(each for each in inner if each is not type(None)), raw, unit, text)
    if origin is tuple:
        return tuple(_read(inner[0], each, unit, text) for each in _items(raw, text))
    if origin in (dict, Mapping):
        pairs = _pairs(raw, text)
        return MappingProxyType({key: _read(inner[1], each, unit, text) for key, each in pairs})
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _member(kind, raw)
    return _plain(kind, raw, unit, text)


def _plain(kind: Any, raw: object, unit: str, text: bool) -> object:
    if kind in (int, float):
        return _number(kind, raw, unit, text)
    if kind is bool:
        return _truth(raw, text)
    if kind is Path and isinstance(raw, Path):
        return raw
    if not isinstance(raw, str):
        raise Unreadable(f"wants text, not {raw!r}")
    if kind is Path and not raw:
        raise Unreadable("wants a path, not an empty text")
    return kind(raw)


def _number(kind: type[int | float], raw: object, unit: str, text: bool) -> object:
    value = _measured(raw, unit) if isinstance(raw, str) else raw
    if isinstance(value, str) and text:
        value = _parsed(kind, value)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise Unreadable(f"wants {_wanted(kind, unit)}, not {raw!r}")
    if kind is int and value != int(value):
        raise Unreadable(f"wants {_wanted(kind, unit)}, not {raw!r}")
    return kind(value)


def _parsed(kind: type[int | float], value: str) -> object:
    try:
        return kind(value)
    except ValueError:
        return value


def _measured(raw: str, unit: str) -> object:
    found = _MEASURE.fullmatch(raw)
    factors = _UNITS.get(unit, {})
    if found is None or found[2].lower() not in factors:
        return raw
    return round(float(found[1]) * factors[found[2].lower()], 6)


def _wanted(kind: type, unit: str) -> str:
    plain = "a whole number" if kind is int else "a number"
    example = {"s": " of seconds, or as '10 min'", "b": " of bytes, or as '2 GB'"}
    return plain + example.get(unit, "")


def _truth(raw: object, text: bool) -> bool:
    if isinstance(raw, bool):
        return raw
    if text and isinstance(raw, str) and raw.lower() in _TRUE | _FALSE:
        return raw.lower() in _TRUE
    raise Unreadable(f"wants true or false, not {raw!r}")


def _items(raw: object, text: bool) -> Iterable[object]:
    if text and isinstance(raw, str):
        return [each.strip() for each in raw.split(",") if each.strip()]
    if isinstance(raw, (list, tuple)):
        return raw
    raise Unreadable(f"wants a list, not {raw!r}")


def _pairs(raw: object, text: bool) -> Iterable[tuple[str, object]]:
    if text and isinstance(raw, str):
        return [_pair(str(each)) for each in _items(raw, text)]
    if isinstance(raw, Mapping) and all(isinstance(key, str) for key in raw):
        return raw.items()
    raise Unreadable(f"wants a mapping from text, not {raw!r}")


def _pair(written: str) -> tuple[str, object]:
    key, sign, value = written.partition("=")
    if not sign:
        raise Unreadable(f"wants 'key=value' pairs, not {written!r}")
    return key.strip(), value.strip()


def _member(kind: type[Enum], raw: object) -> Enum:
    for each in kind:
        if raw is each or raw == each.value or (isinstance(raw, str) and raw.lower() == each.name.lower()):
            return each
    names = [each.name.lower() for each in kind]
    raise Unreadable(f"{raw!r} is not one of {', '.join(names)}{meant(str(raw), names)}")


def _check_choice(value: object, choices: tuple[str, ...]) -> None:
    if value is not None and value not in choices:
        raise Unreadable(f"{value!r} is not one of {', '.join(choices)}{meant(str(value), choices)}")


def show_value(value: object) -> str:
    """A value as ``--set`` would take it."""
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case Enum():
            return value.name.lower()
        case tuple():
            return ",".join(map(show_value, value))
        case Mapping():
            return ",".join(f"{key}={show_value(each)}" for key, each in value.items())
    return str(value)
