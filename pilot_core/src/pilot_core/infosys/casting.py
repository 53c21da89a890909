"""Facts as the types that they should have. Documents are written by many hands: numbers come as text, tables too."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

TRUE: Final = frozenset({"1", "true", "yes"})
FALSE: Final = frozenset({"", "0", "false", "no", "none"})
T = TypeVar("T")
log = logging.getLogger(__name__)


class Cast:
    """Facts by name, each as the type that is wanted. What cannot be cast is told to the operator and left out."""

    def __init__(self, what: str, facts: Mapping[str, object]) -> None:
        self.what = what
        self.facts = facts
        self._asked: set[str] = set()

    def text(self, name: str, default: str = "") -> str:
        """A text, stripped."""
        return self.read(name, as_text, default) or default

    def number(self, name: str) -> int:
        """A whole number, 0 if there is none, and never less."""
        return max(self.read(name, as_number, 0), 0)

    def names(self, name: str) -> tuple[str, ...]:
        """Names in order: a list, the keys of a mapping, or a text split at commas."""
        return self.read(name, as_names, ())

    def mapping(self, name: str) -> Mapping[str, object]:
        """A mapping, or the text of one as JSON or as a Python literal."""
        return self.read(name, as_mapping, {})

    def rest(self) -> dict[str, object]:
        """What nobody asked for."""
        return {name: value for name, value in self.facts.items() if name not in self._asked}

    def read(self, name: str, cast: Callable[[Any], T], default: T) -> T:
        """The fact as ``cast`` makes it; the default where it is not told, or is not what it should be."""
        self._asked.add(name)
        value = self.facts.get(name)
        if value is None or (is_nothing(value) and cast is not as_flag):
            return default
        try:
            return cast(value)
        except (ValueError, TypeError, OverflowError, SyntaxError, RecursionError, MemoryError):
            log.warning("%s: %s: %.80r is left out: it cannot be read", self.what, name, value)
            return default


def is_nothing(value: object) -> bool:
    """Whether a value stands for none: null, its name as text, or an empty text."""
    return value is None or (isinstance(value, str) and value.strip().upper() in ("NULL", ""))


def as_text(value: Any) -> str:
    """Any value as stripped text."""
    return str(value).strip()


def as_number(value: Any) -> int:
    """A whole number or the text of one."""
    return int(value.strip()) if isinstance(value, str) else int(value)


def as_flag(value: Any) -> bool:
    """True or false, or a word or digit for it; an empty text is false."""
    word = str(value).strip().lower()
    if word not in TRUE | FALSE:
        raise ValueError(value)
    return word in TRUE


def as_names(value: Any) -> tuple[str, ...]:
    """A list, the keys of a mapping, or a text split at commas."""
    items = value.split(",") if isinstance(value, str) else list(value)
    return tuple(name for each in items if (name := str(each).strip()))


def as_mapping(value: Any) -> Mapping[str, object]:
    """A mapping, or the text of one: JSON, or a Python literal."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except json.JSONDecodeError:
            import ast

            value = ast.literal_eval(value.strip())
    if not isinstance(value, Mapping):
        raise TypeError(value)
    return {str(key): each for key, each in value.items()}


def as_name_lists(value: Any) -> Mapping[str, tuple[str, ...]]:
    """Names in order under each key of a mapping; a key without any is left out."""
    lists = {key: () if is_nothing(each) else as_names(each) for key, each in as_mapping(value).items()}
    return {key: names for key, names in lists.items() if names}


def as_users(value: Any) -> Mapping[str, str]:
    """Whose is what, from ``name:user;name:user``. A part without exactly one colon says nothing."""
    if isinstance(value, Mapping):
        return {str(user): str(name) for user, name in value.items() if name}
    pairs = [[part.strip() for part in each.split(":")] for each in str(value).split(";")]
    return {pair[1]: pair[0] for pair in reversed(pairs) if len(pair) == 2 and all(pair)}
