"""Reading messages field by field: a reader notes what is wrong, with its path, and goes on to the end.

Whatever comes in, the only exception is ``BadMessage``, with every problem in it::

    fields = Fields(raw)
    name = fields.text("name", required=True)
    size_b = fields.size("size")
    fields.refuse_unknown()
    fields.raise_problems("job.yaml")
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from attrs import frozen

LARGEST: Final = 2**63 - 1
DEEPEST: Final = 32
SHOWN: Final = 20
_SIZES: Final = {"b": 1} | {
    f"{prefix}{binary}b": (1024 if binary else 1000) ** power
    for power, prefix in enumerate("kmgtp", 1)
    for binary in ("", "i")
}
_TIMES: Final = {"s": 1, "min": 60, "h": 3600, "d": 86400}
_MEASURE: Final = re.compile(r"\s*([0-9]{1,15}(?:\.[0-9]{1,9})?)\s*([a-z]{1,3})\s*", re.ASCII | re.IGNORECASE)
_PLAIN_PLACE: Final = re.compile(r"[\w.-]{1,64}(?:\[\d{1,9}\](?:\.[\w.-]{1,64})?)*", re.ASCII)


@frozen
class Problem:
    """One thing wrong: its path in the message, and what would be right."""

    path: str
    text: str

    def __str__(self) -> str:
        return f"{self.path}: {self.text}" if self.path else self.text


class BadMessage(ValueError):
    """A message cannot be read; ``problems`` holds every reason, ``where`` says what was read."""

    def __init__(self, problems: Iterable[Problem], where: str = "") -> None:
        self.problems = tuple(problems)
        self.where = where
        lines = [f"{where}: {problem}" if where else str(problem) for problem in self.problems[:SHOWN]]
        if len(self.problems) > SHOWN:
            lines.append(f"and {len(self.problems) - SHOWN} more")
        super().__init__("\n".join(lines))


class Fields:
    """The fields of one mapping in a message. A field that is null counts as absent."""

    def __init__(self, raw: object, path: str = "", problems: list[Problem] | None = None) -> None:
        self.path = path
        self.problems = [] if problems is None else problems
        self._raw: dict[str, object] = {}
        self._asked: dict[str, None] = {}
        if isinstance(raw, Mapping):
            self._take(raw)
        else:
            self._note(path, f"wants a mapping of names to values, not {shown(raw)}")

    def _take(self, raw: Mapping[object, object]) -> None:
        for key, value in raw.items():
            if isinstance(key, str):
                self._raw[key] = value
            else:
                self._note(self.path, f"wants text as the name of each value, not {shown(key)}")

    def _note(self, path: str, text: str) -> None:
        self.problems.append(Problem(path, text))

    def problem(self, name: str, text: str) -> None:
        """Note what is wrong with a field."""
        self._note(joined(self.path, name), text)

    def value(self, name: str) -> object:
        """What is there, as it is; ``None`` if nothing is."""
        return self._get(name)

    def text(self, name: str, default: str = "", *, required: bool = False, lines: bool = False) -> str:
        """A text of one line, or of several; a whole number counts as the text it is written as."""
        value = self._get(name, required)
        return default if value is None else self._checked_text(name, value, lines, default)

    def number(
        self, name: str, default: int | None = None, *, least: int = 0, most: int = LARGEST, required: bool = False
    ) -> int | None:
        """A whole number between two limits."""
        value = self._get(name, required)
        if value is None:
            return default
        number = _finite(value)
        if number is None or number != int(number) or not least <= number <= most:
            limits = f"from {least} on" if most == LARGEST else f"from {least} to {most}"
            self.problem(name, f"wants a whole number {limits}, not {shown(value)}")
            return default
        return int(number)

    def size(self, name: str) -> int | None:
        """Bytes: a whole number, or a text such as "2 GB"."""
        found = self._measured(name, _SIZES, "a number of bytes, or a text such as '2 GB'")
        return None if found is None else round(found)

    def duration(self, name: str) -> float | None:
        """Seconds: a number, or a text such as "10 min"."""
        found = self._measured(name, _TIMES, "a number of seconds, or a text such as '10 min'")
        return None if found is None else float(found)

    def flag(self, name: str, default: bool = False) -> bool:
        """True or false, and nothing that looks like it."""
        value = self._get(name)
        if value is None or isinstance(value, bool):
            return default if value is None else value
        self.problem(name, f"wants true or false, not {shown(value)}")
        return default

    def items(self, name: str, wanted: str = "a list") -> list[tuple[str, object]]:
        """The entries of a list, each under its own name in messages: ``inputs[2]``."""
        value = self._get(name)
        if value is None or isinstance(value, (list, tuple)):
            return [(f"{name}[{number}]", each) for number, each in enumerate(value or ())]
        self.problem(name, f"wants {wanted}, not {shown(value)}")
        return []

    def texts(self, name: str, wanted: str = "a list of texts", *, lines: bool = False) -> tuple[str, ...]:
        """A list of texts."""
        return tuple(self._checked_text(place, value, lines, "") for place, value in self.items(name, wanted))

    def fields(self, name: str) -> Fields | None:
        """The mapping in a field, to be read like this one."""
        value = self._get(name)
        return None if value is None else self.inner(name, value)

    def inner(self, place: str, value: object) -> Fields:
        """A reader for a value found at ``place``, which notes its problems here."""
        return Fields(value, joined(self.path, place), self.problems)

    def table(self, name: str) -> dict[str, str]:
        """A mapping of texts to texts."""
        inner = self.fields(name)
        return {} if inner is None else {key: inner.text(key, lines=True) for key in inner.names()}

    def values(self, name: str) -> dict[str, object]:
        """A mapping of names to JSON values of any kind."""
        inner = self.fields(name)
        if inner is None:
            return {}
        if odd := oddity(inner._raw):
            self.problem(name, odd)
            return {}
        return dict(inner._raw)

    def names(self) -> tuple[str, ...]:
        """The names of all fields that are there."""
        return tuple(self._raw)

    def refuse_unknown(self) -> None:
        """Note each field that was never asked for, and the name that was probably meant."""
        for name in self._raw:
            if name not in self._asked:
                hint = _meant(name, self._asked) if len(self.problems) < SHOWN else ""
                self.problem(name, f"no such key{hint}")

    def raise_problems(self, where: str = "") -> None:
        """Raise ``BadMessage`` if anything was noted, here or in an inner mapping."""
        if self.problems:
            raise BadMessage(self.problems, where)

    def _get(self, name: str, required: bool = False) -> object:
        self._asked[name] = None
        value = self._raw.get(name)
        if value is None and required:
            self.problem(name, "is missing; write one")
        return value

    def _checked_text(self, place: str, value: object, lines: bool, default: str) -> str:
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= LARGEST:
            return str(value)
        if not isinstance(value, str):
            quotes = "; put it in quotes" if isinstance(value, (bool, float)) else ""
            self.problem(place, f"wants text, not {shown(value)}{quotes}")
        elif why := _unfit(value, lines):
            self.problem(place, f"holds {why}, leave it out: {shown(value)}")
        else:
            return value
        return default

    def _measured(self, name: str, units: Mapping[str, int], wanted: str) -> float | None:
        value = self._get(name)
        if value is None:
            return None
        number = _measure(value, units) if isinstance(value, str) else _finite(value)
        if number is None or not 0 <= number <= LARGEST:
            self.problem(name, f"wants {wanted}, not {shown(value)}")
            return None
        return number


def joined(path: str, place: str) -> str:
    """The path of what stands at ``place`` below ``path``."""
    written = place if _PLAIN_PLACE.fullmatch(place) else shown(place)
    return f"{path}.{written}" if path else written


def shown(value: object) -> str:
    """A value in the words of whoever wrote it, never long."""
    match value:
        case None:
            return "nothing"
        case bool():
            return str(value).lower()
        case str():
            return repr(value) if len(value) <= 60 else f"{value[:50]!r}..."
        case int():
            return str(value) if value.bit_length() <= 128 else "a huge number"
        case float():
            return repr(value)
        case Mapping():
            return "a mapping"
        case list() | tuple():
            return "a list"
    return f"a {type(value).__name__}"


def oddity(value: object) -> str:
    """Say why a value cannot be kept as JSON, or nothing."""
    pending: list[Iterator[object]] = [iter((value,))]
    while pending:
        if len(pending) > DEEPEST:
            return f"is nested more than {DEEPEST} deep; make it flatter"
        each = next(pending[-1], pending)
        if each is pending:
            pending.pop()
        elif isinstance(each, Mapping):
            pending.append(part for pair in each.items() for part in (_Key(pair[0]), pair[1]))
        elif isinstance(each, (list, tuple)):
            pending.append(iter(each))
        elif why := _odd(each):
            return why
    return ""


@frozen
class _Key:
    name: object


def _odd(value: object) -> str:
    if isinstance(value, _Key):
        fits = isinstance(value.name, str) and not _odd(value.name)
        return "" if fits else f"has the key {shown(value.name)}; a key wants to be text"
    if isinstance(value, str):
        return f"holds {why}; leave it out" if (why := _unfit(value, lines=True)) else ""
    if value is None or isinstance(value, bool) or _finite(value) is not None:
        return ""
    return f"holds {shown(value)}, which is no JSON value; write a text or a number"


def _finite(value: object) -> int | float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if isinstance(value, int):
        return value if abs(value) <= LARGEST else None
    return value if math.isfinite(value) else None


def _measure(text: str, units: Mapping[str, int]) -> float | None:
    found = _MEASURE.fullmatch(text)
    factor = units.get(found[2].lower()) if found else None
    return None if found is None or factor is None else round(float(found[1]) * factor, 6)


def _unfit(text: str, lines: bool) -> str:
    """What is in a text that no file, environment or command line takes."""
    if any("\ud800" <= char <= "\udfff" for char in text):
        return "half of a character pair"
    allowed: Callable[[str], bool] = "\t\n\r".__contains__ if lines else "\t".__contains__
    if any((char < " " or char == "\x7f") and not allowed(char) for char in text):
        return "a control character"
    return ""


def _meant(name: str, known: Iterable[str]) -> str:
    from difflib import get_close_matches

    known = list(known)
    if close := get_close_matches(name[:64], known, n=1, cutoff=0.6):
        return f"; did you mean {close[0]!r}?"
    return f"; there are {', '.join(known)}" if known else ""
