"""Inputs as a profile has them found: copied, read where they lie or not brought at all, and under which name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from attrs import evolve, frozen

from pilot_core.builtin.generic.names import matching, read_pattern
from pilot_core.builtin.generic.words import NOTHING, OF_FILE, Reader, Text, Values, values_of_file
from pilot_core.sdk import FileSpec, Replica
from pilot_core.sdk.wire import Fields, meant

COPY: Final = "copy"
DIRECT: Final = "direct"
SKIP: Final = "skip"
WAYS: Final = (COPY, DIRECT, SKIP)


@frozen(kw_only=True)
class InputRule:
    """For the inputs that fit: how they come, and the path under which the payload finds them."""

    match: str
    way: str = COPY
    path: Text = NOTHING


def read_inputs(fields: Fields, reader: Reader) -> tuple[InputRule, ...]:
    """The rules in a profile; the first that fits a file counts."""
    reader = reader.with_fields(OF_FILE)
    items = fields.items("inputs", "a list of rules")
    return tuple(_read(fields.inner(place, raw), reader) for place, raw in items)


def _read(fields: Fields, reader: Reader) -> InputRule:
    way = fields.text("way", COPY)
    if way not in WAYS:
        fields.problem("way", f"{way!r} is none of {', '.join(WAYS)}{meant(way, WAYS)}")
    rule = InputRule(match=read_pattern(fields), way=way, path=reader.text(fields, "path"))
    fields.refuse_unknown()
    return rule


def rules_of(rules: Sequence[InputRule], files: Sequence[FileSpec]) -> dict[str, InputRule]:
    """The rule for each file that one fits, by logical name."""
    fitting = matching([rule.match for rule in rules], [file.lfn for file in files])
    return {name: rule for rule in reversed(rules) for name in fitting[rule.match]}


def selected(rules: Sequence[InputRule], files: Sequence[FileSpec], values: Values) -> list[FileSpec]:
    """The inputs as the payload is to find them."""
    known = rules_of(rules, files)
    return [_ruled(file, known[file.lfn], values) if file.lfn in known else file for file in files]


def _ruled(file: FileSpec, rule: InputRule, values: Values) -> FileSpec:
    path = rule.path.fill({**values, **values_of_file(file, None)})
    return evolve(file, direct=rule.way == DIRECT, path=path)


def skipped(rules: Sequence[InputRule], files: Sequence[FileSpec]) -> list[str]:
    """The names of inputs that need not come."""
    return [name for name, rule in rules_of(rules, files).items() if rule.way == SKIP]


def listed(files: Sequence[FileSpec], left: Sequence[str], direct: Mapping[str, Replica]) -> str:
    """The inputs, a line each: paths, or the addresses of those that are read where they lie."""
    there = (file for file in files if file.lfn not in left)
    return "".join(f"{direct[file.lfn].url if file.lfn in direct else file.local}\n" for file in there)
