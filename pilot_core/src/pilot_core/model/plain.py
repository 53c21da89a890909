"""Texts that people write, YAML or JSON, as plain values: texts, numbers, true, false, null, lists and mappings.

YAML is read by the rules of its version 1.2, so that ``on`` is a text and ``1:30`` no number, and without what only
surprises: tags, anchors, merge keys. A key that stands twice is refused. Numbers keep the text they were written as or
stay texts, so ``0755`` is a text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from pilot_core.model.wire import BadMessage, Problem, joined

if TYPE_CHECKING:
    import yaml

LARGEST_B: Final = 4 << 20
DEEPEST: Final = 32
_INT: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,18})")
_FLOAT: Final = re.compile(r"-?[0-9]+(?:\.[0-9]*)?(?:[eE][-+]?[0-9]{1,3})?")
_WORDS: Final = {"": None, "~": None, "null": None, "true": True, "True": True, "false": False, "False": False}


class _Wrong(ValueError):
    """The text is not what it should be, at this place."""

    def __init__(self, place: str, text: str) -> None:
        super().__init__(text)
        self.problem = Problem(place, text)


def parse_plain(data: bytes, where: str, *, as_json: bool = False) -> object:
    """What a text holds; ``BadMessage`` says where it is wrong."""
    try:
        if len(data) > LARGEST_B:
            raise _Wrong("", f"is longer than {LARGEST_B} bytes; make it shorter")
        text = data.decode("utf-8-sig")
        return _parse_json(text) if as_json else _parse_yaml(text)
    except UnicodeDecodeError as error:
        raise BadMessage([Problem("", f"is not UTF-8 at byte {error.start}; save it as UTF-8")], where) from None
    except _Wrong as wrong:
        raise BadMessage([wrong.problem], where) from None


# --- JSON -----------------------------------------------------------------------------------------------------------


def _parse_json(text: str) -> object:
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise _Wrong(place, f"wants to be JSON, which this is not: {error.msg}") from None
    except RecursionError:
        raise _Wrong("", f"is nested more than {DEEPEST} deep; make it flatter") from None
    except _Wrong:
        raise
    except ValueError:
        raise _Wrong("", "holds a number that is too long; make it shorter") from None


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    made: dict[str, object] = {}
    for key, value in pairs:
        if key in made:
            raise _Wrong("", f"has the key {key[:60]!r} twice in one mapping; remove one")
        made[key] = value
    return made


def _refuse_constant(name: str) -> object:
    raise _Wrong("", f"holds {name}, which is no JSON value; write a number")


# --- YAML -----------------------------------------------------------------------------------------------------------


def _parse_yaml(text: str) -> object:
    import yaml

    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return _Builder().build(yaml.parse(text, Loader=loader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise _Wrong(_place(mark), f"wants to be YAML, which this is not: {error.problem or error.context}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        told = f"holds a character that YAML does not take, leave it out: {error.reason}"
        raise _Wrong(f"line {line}", told) from None


def _place(mark: yaml.Mark | None) -> str:
    return f"line {mark.line + 1}, column {mark.column + 1}" if mark else ""


class _Builder:
    """Puts a document together from YAML's events, without recursion and never deeper than allowed."""

    def __init__(self) -> None:
        self._open: list[dict[str, object] | list[object]] = []
        self._keys: list[str | None] = []
        self._whole: list[object] = []

    def build(self, events: Iterable[Any]) -> object:
        for event in events:
            kind = type(event).__name__
            if getattr(event, "anchor", None) or kind == "AliasEvent":
                raise _Wrong(_place(event.start_mark), "anchors and aliases are not read here; write the value out")
            if getattr(event, "tag", None) not in (None, "!"):
                raise _Wrong(_place(event.start_mark), f"tags are not read here; remove {event.tag!r}")
            self._take(kind, event)
        if len(self._whole) > 1:
            raise _Wrong("", "holds more than one document; write each into a file of its own")
        return self._whole[0] if self._whole else None

    def _take(self, kind: str, event: Any) -> None:
        match kind:
            case "ScalarEvent":
                self._scalar(event)
            case "MappingStartEvent" | "SequenceStartEvent":
                if len(self._open) >= DEEPEST:
                    raise _Wrong(_place(event.start_mark), f"is nested more than {DEEPEST} deep; make it flatter")
                made: dict[str, object] | list[object] = {} if kind[0] == "M" else []
                self._put(made, event)
                self._open.append(made)
                self._keys.append(None)
            case "MappingEndEvent" | "SequenceEndEvent":
                self._open.pop()
                self._keys.pop()

    def _scalar(self, event: Any) -> None:
        if self._open and isinstance(self._open[-1], dict) and self._keys[-1] is None:
            if event.value in self._open[-1]:
                told = f"has the key {event.value[:60]!r} twice in one mapping; remove one"
                raise _Wrong(_place(event.start_mark), told)
            self._keys[-1] = event.value
        else:
            self._put(_resolved(event.value) if event.implicit[0] else event.value, event)

    def _put(self, value: object, event: Any) -> None:
        if not self._open:
            self._whole.append(value)
            return
        top = self._open[-1]
        if isinstance(top, list):
            top.append(value)
            return
        key, self._keys[-1] = self._keys[-1], None
        if key is None:
            raise _Wrong(_place(event.start_mark), "a key wants to be a text, not a list or a mapping")
        top[key] = value


def _resolved(text: str) -> object:
    """What an unquoted scalar means."""
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        return int(text)
    return float(text) if _is_float(text) else text


# --- where it stands ------------------------------------------------------------------------------------------------


def lines_of(data: bytes) -> dict[str, int]:
    """The line of each value in a YAML text that ``parse_plain`` took, by its path in messages: ``inputs[2].name``."""
    import yaml

    lines: dict[str, int] = {}
    pending: list[tuple[str, Any]] = [("", yaml.compose(data.decode("utf-8-sig"), Loader=yaml.SafeLoader))]
    while pending:
        path, node = pending.pop()
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                below = joined(path, key.value)
                lines[below] = key.start_mark.line + 1
                pending.append((below, value))
        elif isinstance(node, yaml.SequenceNode):
            for number, value in enumerate(node.value):
                lines[f"{path}[{number}]"] = value.start_mark.line + 1
                pending.append((f"{path}[{number}]", value))
    return lines


def line_of(lines: Mapping[str, int], path: str) -> int:
    """The line of what stands at a path, or of what it is missing in."""
    while path and path not in lines:
        path = path[: max(path.rfind("."), path.rfind("["), 0)]
    return lines.get(path, 1)


def _is_float(text: str) -> bool:
    return bool(_FLOAT.fullmatch(text)) and ("." in text or "e" in text.lower())
