"""Known failures as data: what a line of a log looks like that says why a job failed.

A form is a plain text with holes: ``{library}: cannot open shared object file``. A hole takes anything, ``{!library}``
one word; ``^`` at the beginning and ``$`` at the end of a form are the ends of the line. A form begins and ends where a
word does, unless a hole ``{}`` without a name is there. It is sought part by part from the left, so that no text takes
more than linear time. Files of patterns are YAML, as the manual describes them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from attrs import field, frozen

from pilot_core.config.spelling import meant
from pilot_core.control.levels import Level, level_of
from pilot_core.control.said import STDERR, STDOUT, Line
from pilot_core.errors import Code, ErrorCode, NoSuchCode, Party, PilotError, Retry, Stage, by_acronym
from pilot_core.model.failure import CLASSES, MOST_FACTOR
from pilot_core.model.plain import parse_plain
from pilot_core.model.wire import BadMessage, Fields, Problem

SHOWN: Final = 300
IN_HOLE: Final = 120
STAGES: Final = (Stage.BEFORE, Stage.STAGE_IN, Stage.PAYLOAD)
LEAST_TEXT: Final = 4
"""The longest part of a form has so many characters at least: shorter ones fit anything."""
ONE_WORD: Final = "!"
USUAL_RANK: Final = 50
HIGHEST_RANK: Final = 100
HIGHEST_STATUS: Final = 255
USUAL_LOGS: Final = (STDERR, STDOUT)
HARMLESS: Final = "harmless"
"""The class of lines that never say why something failed."""
MERE: Final = 8
"""A warning is in so much doubt: alone it is no cause."""
_HOLE: Final = re.compile(r"\{(!?[a-z_]*)\}")


@frozen
class Form:
    """How a line looks: literal parts with named holes between."""

    parts: tuple[str, ...]
    names: tuple[str, ...]
    begins: bool
    ends: bool
    level: Level = Level.PLAIN
    """What a line has to be at least, to be believed; a form that names a level is content with it."""

    @classmethod
    def of(cls, text: str) -> Form:
        """Read a form as it is written."""
        begins, ends = text.startswith("^"), text.endswith("$")
        found = _HOLE.split(text[begins : len(text) - ends])
        return cls(tuple(found[::2]), tuple(found[1::2]), begins, ends, level_of(text))

    @property
    def longest(self) -> str:
        """The part that a text must hold for any line of it to fit."""
        return max(self.parts, key=len)

    def fit(self, line: str) -> dict[str, str] | None:
        """What stands in the holes, if a line fits."""
        at = 0
        taken: list[str] = []
        for number, part in enumerate(self.parts):
            found = self._place(line, number, at)
            if found < 0:
                return None
            taken += [line[at:found]] if number else []
            at = found + len(part)
        return self._named(taken)

    def _place(self, line: str, number: int, at: int) -> int:
        """Where a part stands; the outer ones are at the ends of the line, or of words."""
        part, first, last = self.parts[number], number == 0, number == len(self.parts) - 1
        if last and (self.ends or not part):
            at = max(at, len(line) - len(part))
        while (found := line.find(part, at)) >= 0:
            stop = found + len(part)
            left = not first or (found == 0 if self.begins else not _joined(line, found))
            right = not last or (stop == len(line) if self.ends else not _joined(line, stop))
            if left and right:
                return found
            if first and self.begins:
                break
            at = found + 1
        return -1

    def _named(self, taken: list[str]) -> dict[str, str] | None:
        """The holes by name; of one that begins a form, the last of what colons separate."""
        if taken and not self.parts[0] and not self.begins:
            taken[0] = taken[0].rpartition(": ")[2]
        named = dict(zip(self.names, taken, strict=True))
        if any(name[:1] == ONE_WORD and len(text.split()) != 1 for name, text in named.items()):
            return None
        return {name.removeprefix(ONE_WORD): _trim(text) for name, text in named.items() if name}


def _joined(line: str, place: int) -> bool:
    """Whether a place is within a word."""
    return 0 < place < len(line) and all(each.isalnum() or each == "_" for each in line[place - 1 : place + 1])


def _trim(text: str) -> str:
    return text.strip(" \t'\"`,;()[]")[:IN_HOLE]


@frozen(kw_only=True)
class Pattern:
    """One known failure."""

    name: str
    kind: str
    code: ErrorCode
    forms: tuple[Form, ...]
    cause: str
    remedy: str
    rank: int = USUAL_RANK
    files: tuple[str, ...] = USUAL_LOGS
    unless: tuple[str, ...] = ()
    exit_codes: tuple[int, ...] = ()
    fault: Party
    retry: Retry
    factors: Mapping[str, float] = field(factory=dict)
    examples: tuple[str, ...] = ()
    counterexamples: tuple[str, ...] = ()

    def find(self, lines: Iterable[Line], text: str) -> Iterator[Match]:
        """The lines that fit and are no ordinary talk; ``text`` is all of them."""
        forms = [form for form in self.forms if form.longest in text]
        for line in lines if forms else ():
            if match := self._match(forms, line):
                yield match

    def _match(self, forms: list[Form], line: Line) -> Match | None:
        for form in forms:
            if form.longest in line.text and not any(word in line.text for word in self.unless):
                holes = form.fit(line.text)
                if holes is not None and level_of(line.text) >= min(form.level, Level.WARNING):
                    return Match(self, form, line, holes)
        return None

    def fits(self, text: str) -> Match | None:
        """How one line fits by itself."""
        return self._match(list(self.forms), Line("", 1, text))


@frozen
class Match:
    """A line that fits a pattern, and what stands in its holes."""

    pattern: Pattern
    form: Form
    line: Line
    holes: Mapping[str, str]
    doubts: int = 0
    """How much speaks against it."""

    @property
    def believed(self) -> bool:
        """Whether it can be the cause."""
        return self.doubts < MERE

    @property
    def cause(self) -> str:
        """What happened, in a sentence."""
        return self._filled(self.pattern.cause)

    @property
    def remedy(self) -> str:
        """What somebody can do about it."""
        return self._filled(self.pattern.remedy)

    def _filled(self, sentence: str) -> str:
        return _HOLE.sub(lambda hole: self.holes.get(hole[1]) or "?", sentence)

    def facts(self) -> dict[str, Any]:
        """What an error is told of it."""
        pattern, line = self.pattern, self.line
        plain: dict[str, Any] = {"class": pattern.kind, "pattern": pattern.name, "fault": pattern.fault.value}
        plain |= {"retry": pattern.retry.name.lower(), "cause": self.cause, "remedy": self.remedy}
        plain |= {"file": line.file, "line": line.number, "said": line.text[:SHOWN]}
        return plain | dict(pattern.factors)

    def error(self, **more: object) -> PilotError:
        """The error that it stands for."""
        return PilotError(self.pattern.code, told(self), **self.facts(), **more)


def told(match: Match) -> str:
    """What is found, in one line: the cause, the words that say so, and where they stand."""
    line = match.line
    return f"{match.cause} ({line.file}:{line.number}: {line.text[:SHOWN]})"


# --- reading ----------------------------------------------------------------------------------------------------------


@cache
def read_patterns(path: Path) -> tuple[Pattern, ...]:
    """The patterns of a file, or ``BadMessage`` with everything that is wrong with it.

    In a larger document, as a profile is, they stand under ``errors``.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadMessage([Problem("", error.strerror or str(error))], str(path)) from None
    plain = parse_plain(data, str(path))
    whole = isinstance(plain, Mapping)
    fields = Fields(plain if whole else {"patterns": plain})
    patterns = patterns_in(fields, "errors" if whole else "patterns")
    fields.raise_problems(str(path))
    return patterns


def patterns_in(fields: Fields, field: str) -> tuple[Pattern, ...]:
    """The patterns in a field, with everything that is wrong with them noted there."""
    known: dict[str, Pattern | None] = {}
    for place, raw in fields.items(field, "a list of patterns"):
        inner = fields.inner(place, raw)
        name = inner.text("name", required=True)
        if name in known:
            inner.problem("name", f"{name!r} stands twice; a pattern has a name of its own")
        known[name] = _pattern(name, inner)
    return tuple(each for each in known.values() if each is not None)


def _pattern(name: str, fields: Fields) -> Pattern | None:
    kind, code = _kind(fields, *CLASSES, HARMLESS), _code(fields)
    forms = _forms(fields)
    factors = {f"{what}_factor": _factor(fields, what) for what in ("memory", "time") if what in fields.names()}
    pattern = Pattern(
        name=name,
        kind=kind,
        code=code,
        forms=forms,
        cause=fields.text("cause", required=kind != HARMLESS),
        remedy=fields.text("remedy", required=kind != HARMLESS),
        rank=fields.number("rank", USUAL_RANK, most=HIGHEST_RANK) or 0,
        files=fields.texts("files") or USUAL_LOGS,
        unless=fields.texts("unless"),
        exit_codes=numbers(fields, "exit_codes"),
        fault=_fault(fields, code),
        retry=_retry(fields, code),
        factors=factors,
        examples=fields.texts("examples"),
        counterexamples=fields.texts("counterexamples"),
    )
    fields.refuse_unknown()
    _check(pattern, fields)
    return pattern


def failure_in(fields: Fields) -> PilotError:
    """The error that a document says something stands for, by the keys that a pattern has for that."""
    kind, code = _kind(fields, *CLASSES), _code(fields)
    facts = {"class": kind, "fault": _fault(fields, code).value, "retry": _retry(fields, code).name.lower()}
    cause, remedy = fields.text("cause", required=True), fields.text("remedy", required=True)
    return PilotError(code, cause, cause=cause, remedy=remedy, **facts)


def _kind(fields: Fields, *known: str) -> str:
    kind = fields.text("class", required=True)
    if kind not in known:
        fields.problem("class", f"{kind!r} is none of {', '.join(known)}{meant(kind, known)}")
    return kind


def _code(fields: Fields) -> ErrorCode:
    acronym = fields.text("code", Code.PAYLOADEXECUTIONFAILURE.acronym)
    try:
        code = by_acronym(acronym)
    except NoSuchCode as error:
        fields.problem("code", str(error))
        return Code.PAYLOADEXECUTIONFAILURE
    if code.stage not in STAGES:
        told = f"{code} belongs to another stage; a payload's log tells of what is before it, of inputs and of itself"
        fields.problem("code", told)
    return code


def _forms(fields: Fields) -> tuple[Form, ...]:
    forms = []
    for place, written in zip((each for each, _ in fields.items("lines")), fields.texts("lines"), strict=True):
        form = Form.of(written)
        if len(form.longest) < LEAST_TEXT:
            told = f"{written!r} fits almost any line; write {LEAST_TEXT} characters or more between two holes"
            fields.problem(place, told)
        forms.append(form)
    if not forms:
        fields.problem("lines", "is empty; write at least one form that a line can have")
    return tuple(sorted(forms, key=lambda form: form.level))


def numbers(fields: Fields, name: str) -> tuple[int, ...]:
    """A list of exit codes."""
    told = f"wants exit codes from 1 to {HIGHEST_STATUS}"
    fitting = []
    for place, value in fields.items(name, "a list of exit codes"):
        if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= HIGHEST_STATUS:
            fitting.append(value)
        else:
            fields.problem(place, f"{told}, not {value!r}")
    return tuple(fitting)


def _factor(fields: Fields, what: str) -> float:
    value = fields.value(what)
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 1 <= value <= MOST_FACTOR:
        return float(value)
    fields.problem(what, f"wants a factor from 1 to {MOST_FACTOR:g}, not {value!r}")
    return 1.0


def _fault(fields: Fields, code: ErrorCode) -> Party:
    known = {each.value: each for each in Party}
    written = fields.text("fault", code.party.value)
    if written not in known:
        fields.problem("fault", f"{written!r} is none of {', '.join(known)}{meant(written, known)}")
    return known.get(written, code.party)


def _retry(fields: Fields, code: ErrorCode) -> Retry:
    known = {each.name.lower(): each for each in Retry if each is not Retry.UNCOUNTED}
    written = fields.text("retry", code.retry.name.lower())
    if written not in known:
        told = "a payload's own words never make its attempt not count" if written == "uncounted" else ""
        fields.problem("retry", told or f"{written!r} is none of {', '.join(known)}{meant(written, known)}")
    return known.get(written, code.retry)


def _check(pattern: Pattern, fields: Fields) -> None:
    """What examples, counterexamples and holes must hold."""
    named = {name.removeprefix(ONE_WORD) for form in pattern.forms for name in form.names}
    for name, sentence in (("cause", pattern.cause), ("remedy", pattern.remedy)):
        if strange := set(_HOLE.findall(sentence)) - named:
            fields.problem(name, f"names {', '.join(sorted(strange))}, which no line of the pattern has")
    for text in pattern.examples:
        if not pattern.fits(text):
            fields.problem("examples", f"{text!r} does not fit")
    for text in pattern.counterexamples:
        if pattern.fits(text):
            fields.problem("counterexamples", f"{text!r} fits")
