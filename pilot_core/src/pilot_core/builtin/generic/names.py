"""Patterns of file names: ``out/*.root`` as a shell knows it, and ``regex|hits_[0-9]+\\.root`` for a whole name.

Regular expressions come from jobs, too, and some take for ever: they are tried where they can be ended.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from fnmatch import fnmatchcase
from stat import S_ISREG
from typing import Any, Final

from pilot_core.builtin.generic import REGEX
from pilot_core.sdk import Code, PilotError
from pilot_core.sdk.io import Inside, call_in_child
from pilot_core.sdk.wire import Fields

LIMIT_S: Final = 30.0
HERE: Final = f"{__name__}:match_in_child"


def read_pattern(fields: Fields, name: str = "match") -> str:
    """The pattern in a field of a document."""
    pattern = fields.text(name, required=True)
    if pattern.startswith(REGEX):
        try:
            re.compile(pattern.removeprefix(REGEX))
        except re.error as wrong:
            fields.problem(name, f"{pattern!r} is no regular expression: {wrong}")
    elif pattern.startswith("/") or ".." in pattern.split("/"):
        fields.problem(name, f"{pattern!r} leaves the job's directory; write it as seen from there")
    return pattern


def matching(patterns: Collection[str], names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The names that each pattern fits, in their order."""
    names = list(names)
    plain = {pattern: [name for name in names if _fits(name, pattern)] for pattern in patterns}
    asked = {pattern: names for pattern in patterns if pattern.startswith(REGEX)}
    return {pattern: tuple(fitting) for pattern, fitting in {**plain, **_by_regex(asked)}.items()}


def found(folder: Inside, patterns: Collection[str]) -> dict[str, tuple[str, ...]]:
    """The regular files in a job's directory that each pattern fits, sorted."""
    globs = {each: [path for path in folder.glob(each) if _is_file(folder, path)] for each in patterns if _glob(each)}
    regexes = [each for each in patterns if not _glob(each)]
    names = [name for name in folder.names() if _is_file(folder, name)] if regexes else []
    asked = dict.fromkeys(regexes, names)
    return {pattern: tuple(fitting) for pattern, fitting in {**globs, **_by_regex(asked)}.items()}


def _glob(pattern: str) -> bool:
    return not pattern.startswith(REGEX)


def _fits(name: str, pattern: str) -> bool:
    return fnmatchcase(name, pattern)


def _is_file(folder: Inside, path: str) -> bool:
    try:
        return S_ISREG(folder.stat(path).st_mode)
    except OSError:
        return False


def _by_regex(asked: Mapping[str, list[str]]) -> dict[str, list[str]]:
    if not asked:
        return {}
    try:
        fitting: dict[str, list[str]] = call_in_child(HERE, asked, LIMIT_S)
    except TimeoutError:
        told = f"{', '.join(asked)} took more than {LIMIT_S:g} s on the names of files: write a simpler expression"
        raise PilotError(Code.BADOUTPUTFILENAME, told) from None
    return fitting


def match_in_child(asked: Mapping[str, list[str]], _: Any) -> dict[str, list[str]]:
    """The names that each regular expression fits as a whole; one that is none fits nothing."""
    return {pattern: _whole(pattern.removeprefix(REGEX), names) for pattern, names in asked.items()}


def _whole(expression: str, names: list[str]) -> list[str]:
    try:
        known = re.compile(expression)
    except (re.error, OverflowError, RecursionError):
        return []
    return [name for name in names if known.fullmatch(name)]
