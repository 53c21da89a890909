"""Errors a job or a pilot can end with: a registry of codes, one exception, and the choice among several.

The core's codes are ``Code``'s constants. A plugin writes such a class of its own, numbers from 2000 to 2999,
and registers it when it is registered itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import copy
from itertools import takewhile

from pilot_core.error_table import OF_CLASS, Code, ErrorCode, Party, Retry, Stage

__all__ = [
    "OF_CLASS",
    "Code",
    "ErrorCode",
    "NoSuchCode",
    "Party",
    "PilotError",
    "Retry",
    "Stage",
    "by_acronym",
    "code",
    "codes",
    "merge",
    "nearest",
    "owner",
    "register",
]

CORE = "pilot-core"
CORE_NUMBERS = range(1000, 2000)
PLUGIN_NUMBERS = range(2000, 3000)

_rows: dict[int, ErrorCode] = {}
_acronyms: dict[str, ErrorCode] = {}
_owners: dict[int, str] = {}


class NoSuchCode(LookupError):
    """No error code has this number or acronym; the message names the nearest."""


def register(owner: str, table: type) -> None:
    """Add the codes that are attributes of ``table``, in the name of the distribution ``owner``.

    All or none: a number outside the owner's range, or a number or acronym that another row has, is a
    ``ValueError``. Doing it twice with the same table changes nothing.
    """
    rows, acronyms = dict(_rows), dict(_acronyms)
    for row in vars(table).values():
        if isinstance(row, ErrorCode):
            _check_free(owner, row, rows.setdefault(row.number, row), acronyms.setdefault(row.acronym, row))
    _owners.update(dict.fromkeys(rows.keys() - _rows.keys(), owner))
    _rows.update(rows)
    _acronyms.update(acronyms)


def _check_free(owner: str, row: ErrorCode, *holders: ErrorCode) -> None:
    numbers = CORE_NUMBERS if owner == CORE else PLUGIN_NUMBERS
    if row.number not in numbers:
        raise ValueError(f"{owner}: {row} is outside {numbers[0]} to {numbers[-1]}, the numbers it may use")
    for holder in holders:
        if holder is not row and holder != row:
            raise ValueError(f"{owner}: {row} is taken: {_owners.get(holder.number, owner)} has {holder}")


def codes() -> list[ErrorCode]:
    """Every registered code, by number."""
    return [_rows[number] for number in sorted(_rows)]


def owner(code: ErrorCode) -> str:
    """The distribution that registered a code."""
    return _owners[code.number]


def code(number: int) -> ErrorCode:
    """The code with this number, or ``NoSuchCode``."""
    try:
        return _rows[number]
    except KeyError:
        raise _no_such_code(str(number)) from None


def by_acronym(acronym: str) -> ErrorCode:
    """The code with this acronym, in any case, or ``NoSuchCode``."""
    try:
        return _acronyms[acronym.upper()]
    except KeyError:
        raise _no_such_code(acronym) from None


def nearest(text: str) -> list[ErrorCode]:
    """Up to three codes whose number or acronym looks like ``text``, the likeliest first."""
    from difflib import get_close_matches

    known = {**_acronyms, **{str(number): row for number, row in _rows.items()}}
    return [known[name] for name in get_close_matches(text.upper(), known, n=3, cutoff=0.7)]


def _no_such_code(text: str) -> NoSuchCode:
    near = ", ".join(map(str, nearest(text)))
    return NoSuchCode(f"no error code {text!r}" + (f"; near it: {near}" if near else ""))


class PilotError(Exception):
    """Something a job or the pilot fails by: a code, what happened this time, and facts for programs.

    Facts are plain JSON values; anything else is kept as its text. ``others`` are the errors that ``merge``
    found beside this one. Two errors are equal when they say the same.
    """

    def __init__(self, code: ErrorCode, detail: str = "", **facts: object) -> None:
        super().__init__(code, detail)
        self.code = code
        self.detail = detail
        self.facts = {name: _plain(value) for name, value in facts.items()}
        self.others: tuple[PilotError, ...] = ()

    def __str__(self) -> str:
        said = f"{self.code}: {self.code.sentence}"
        return f"{said}: {' '.join(self.detail.split())}" if self.detail else said

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PilotError) and self._said() == other._said()

    def __hash__(self) -> int:
        return hash((self.code.number, self.detail))

    def _said(self) -> tuple[object, ...]:
        return self.code.number, self.detail, self.facts, self.others

    def among(self, others: Iterable[PilotError]) -> PilotError:
        """This error as the reported one of several."""
        reported = copy(self)
        reported.others = tuple(others)
        return reported

    def to_wire(self) -> dict[str, object]:
        """The JSON form, complete enough for a reader that lacks the plugin whose code this is."""
        wire: dict[str, object] = {
            "number": self.code.number,
            "acronym": self.code.acronym,
            "sentence": self.code.sentence,
            "detail": self.detail,
            "stage": self.code.stage.name.lower(),
            "party": self.code.party.value,
            "retry": self.code.retry.name.lower(),
            "advice": self.code.retry.value,
            "facts": self.facts,
        }
        return wire | ({"others": [error.to_wire() for error in self.others]} if self.others else {})

    @classmethod
    def from_wire(cls, wire: Mapping[str, object]) -> PilotError:
        """Read ``to_wire``'s form back; a ``ValueError`` names what is wrong in it."""
        error = cls(_code_from_wire(wire), _text(wire, "detail"))
        facts, others = wire.get("facts", {}), wire.get("others", [])
        if not isinstance(facts, Mapping) or not isinstance(others, list):
            raise ValueError("an error's facts are an object and its others a list")
        error.facts = {str(name): _plain(value) for name, value in facts.items()}
        return error.among(map(cls.from_wire, others))


def _plain(value: object) -> object:
    return value if value is None or isinstance(value, str | int | float) else str(value)


def _text(wire: Mapping[str, object], name: str) -> str:
    value = wire.get(name)
    if not isinstance(value, str):
        raise ValueError(f"an error's {name} is a text, not {value!r}")
    return value


def _code_from_wire(wire: Mapping[str, object]) -> ErrorCode:
    number = wire.get("number")
    if not isinstance(number, int):
        raise ValueError(f"an error's number is an integer, not {number!r}")
    if number in _rows:
        return _rows[number]
    stage, retry = _text(wire, "stage").upper(), _text(wire, "retry").upper()
    if stage not in Stage.__members__ or retry not in Retry.__members__:
        raise ValueError(f"error {number}: no stage {stage!r} or no retry {retry!r}")
    party, sentence, acronym = Party(_text(wire, "party")), _text(wire, "sentence"), _text(wire, "acronym")
    return ErrorCode(number, Stage[stage], party, Retry[retry], sentence, acronym=acronym)


def merge(errors: Iterable[PilotError]) -> PilotError | None:
    """Choose the error to report from several, in the order they were noticed; the rest are its ``others``.

    ==  =========================================================  ===================================
    1   a stop explains all that comes after it                    SIGTERM, then 1305: SIGTERM
    2   an earlier stage explains a later one, in any order        1137 and 1305: 1305
    3   within a stage the specific beats the vague, in any order  1305 and 1212: 1212
    4   else the first one noticed                                 1151, then 1171: 1151
    ==  =========================================================  ===================================

    Errors without a stage of their own (``Stage.ANY``) count as latest. Only exact repetitions are lost.
    """
    noticed = list(dict.fromkeys(_spread(errors)))
    if not noticed:
        return None
    reported = _reported(noticed)
    return reported.among(error for error in noticed if error is not reported)


def _spread(errors: Iterable[PilotError]) -> Iterable[PilotError]:
    for error in errors:
        yield error.among(())
        yield from error.others


def _reported(noticed: list[PilotError]) -> PilotError:
    before_stop = list(takewhile(lambda error: error.code.stage is not Stage.STOP, noticed))
    if not before_stop:
        return noticed[0]
    stage = min(error.code.stage for error in before_stop)
    return min((error for error in noticed if error.code.stage is stage), key=lambda error: error.code.vague)


register(CORE, Code)
