"""Which line of a payload's logs tells why it failed: known failures weighed by what speaks against each.

Ordinary talk and harmless lines are no evidence. Of the rest, what is in doubt counts where nothing else is found: a
warning, a line far from the end or outside the exception that ended the program, a failure that ends otherwise than
the payload did. What was used up is believed wherever it stands.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cache
from signal import SIGBUS, SIGFPE, SIGILL, SIGKILL, SIGSEGV, SIGXCPU, SIGXFSZ
from typing import Final

from attrs import evolve, field, frozen

from pilot_core.control.levels import Level, level_of
from pilot_core.control.patterns import HARMLESS, MERE, Match, Pattern
from pilot_core.control.said import Line, Said
from pilot_core.model.payload import Outcome

USED_UP: Final = 90
"""From this rank on a failure is believed wherever it is told."""
WENT_ON: Final = 100
"""A program that said so many lines more did not end by what it had said."""
BLOCK_LINES: Final = 40
_TRACEBACK: Final = "Traceback (most recent call last)"
_RAISED: Final = re.compile(r"[\w.]*(?:Error|Exception|Interrupt|Exit|Iteration)\b|(?:\w+\.)+[A-Z]\w*(?::|$)")
_RELAYED: Final = re.compile(r"[\w.]*(?:CalledProcessError|SystemExit)\b")
_CHAINED: Final = ("During handling of the above exception", "The above exception was the direct cause")
_QUIET: Final = (
    (re.compile(r"-+ WWWW -+ G4Exception-START"), re.compile("G4Exception-END")),
    (re.compile(r"%MSG-[dDiIwW]\b"), re.compile(r"%MSG$")),
    (re.compile(r"Exception ignored in\b"), _RAISED),
)
"""How a block of lines begins and ends that is no evidence."""
_QUIET_WORDS: Final = ("WWWW", "%MSG-", "Exception ignored")
_CRASHED: Final = frozenset({"crash", "memory", "disk", "limits", "node", "parallel"})
_LEFT_BY: Final[Mapping[int, frozenset[str]]] = {
    128 + SIGSEGV: _CRASHED,
    128 + SIGBUS: _CRASHED,
    128 + SIGFPE: _CRASHED,
    128 + SIGILL: _CRASHED | {"software"},
    128 + SIGKILL: _CRASHED | {"time", "stopped", "container"},
    128 + SIGXCPU: frozenset({"time"}),
    128 + SIGXFSZ: frozenset({"limits", "disk"}),
}
"""Which classes of failures end by a signal."""


@frozen
class Log:
    """The lines of one log: which are no evidence, and within which of them the program ended."""

    lines: list[Line]
    text: str
    quiet: Collection[int]
    end: range
    places: Mapping[int, int] = field(repr=False)

    @classmethod
    def of(cls, lines: list[Line], harmless: Iterable[Pattern] = ()) -> Log:
        """Look through the lines of a log."""
        text = "\n".join(line.text for line in lines)
        places = {line.number: place for place, line in enumerate(lines)}
        quiet = {places[match.line.number] for pattern in harmless for match in pattern.find(lines, text)}
        if any(word in text for word in _QUIET_WORDS):
            quiet.update(_quiet(lines))
        return cls(lines, text, frozenset(quiet), _end(lines, quiet) if _TRACEBACK in text else range(0), places)

    def matches(self, pattern: Pattern) -> Iterator[Match]:
        """The lines that are evidence of a known failure, with what speaks against them."""
        for match in pattern.find(self.lines, self.text):
            place = self.places[match.line.number]
            if place not in self.quiet:
                yield evolve(match, doubts=self._doubts(match, place))

    def _doubts(self, match: Match, place: int) -> int:
        warned = match.form.level > level_of(match.line.text)
        if match.pattern.rank >= USED_UP:
            return int(warned)
        outside = bool(self.end) and place not in self.end
        return MERE * warned + outside + (len(self.lines) - place > WENT_ON)


def recognise(said: Said, patterns: Iterable[Pattern], outcome: Outcome | None = None, only: str = "") -> list[Match]:
    """What is known of that which a payload said, in its logs or in one ``only``: the most telling first.

    What is least in doubt and of a higher rank tells more; of those in the same ten the first to be said is the first
    cause.
    """
    ranked = sorted(patterns, key=lambda each: -each.rank)
    harmless = [each for each in ranked if each.kind == HARMLESS]

    @cache
    def log(name: str) -> Log:
        return Log.of(said.lines(name), harmless)

    found: list[Match] = []
    for pattern in ranked:
        names = [only] if only else said.names(pattern.files)
        best = _least_doubted(match for name in names for match in log(name).matches(pattern))
        if best is not None and pattern.kind != HARMLESS:
            found.append(evolve(best, doubts=best.doubts + _misfits(pattern, outcome)))
    return sorted(found, key=_telling)


def _least_doubted(matches: Iterable[Match]) -> Match | None:
    best: Match | None = None
    for match in matches:
        best = match if best is None or match.doubts < best.doubts else best
        if not best.doubts:
            break
    return best


def says_nothing(text: str, patterns: Iterable[Pattern]) -> bool:
    """Whether a line is ordinary talk, or one of those that are known to be harmless."""
    return level_of(text) is Level.CHAT or any(each.kind == HARMLESS and each.fits(text) for each in patterns)


def _misfits(pattern: Pattern, outcome: Outcome | None) -> bool:
    """Whether a payload that failed so would have ended otherwise than it did."""
    if outcome is None or pattern.rank >= USED_UP:
        return False
    code = outcome.transform_code
    fitting = _LEFT_BY.get(code)
    otherwise = bool(pattern.exit_codes) and code not in pattern.exit_codes
    return otherwise or (fitting is not None and pattern.kind not in fitting)


def _telling(match: Match) -> tuple[int, int, int]:
    number = match.line.number
    return match.doubts, -(match.pattern.rank // 10), number if number > 0 else (1 << 40) + number


def _quiet(lines: list[Line]) -> Iterator[int]:
    """The places of lines in blocks that are no evidence."""
    end, last = None, 0
    for place, line in enumerate(lines):
        begun = end is not None and place < last
        if not begun:
            end = next((end for begin, end in _QUIET if begin.match(line.text)), None)
            last = place + BLOCK_LINES
        if end is not None:
            yield place
            if begun and end.search(line.text):
                end = None


def _end(lines: list[Line], quiet: Collection[int]) -> range:
    """The exception that ended a Python program, with those that led to it; none if it only relays another's end."""
    begins = [at for at, line in enumerate(lines) if line.text.startswith(_TRACEBACK) and at not in quiet]
    if not begins:
        return range(0)
    *earlier, first = begins
    raised = next((at for at in range(first + 1, len(lines)) if _RAISED.match(lines[at].text)), len(lines) - 1)
    if _RELAYED.match(lines[raised].text) or len(lines) - raised > WENT_ON:
        return range(0)
    while earlier and lines[first - 1].text.startswith(_CHAINED):
        first = earlier.pop()
    return range(first, raised + 1)
