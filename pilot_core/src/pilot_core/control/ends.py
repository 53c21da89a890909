"""What the exit codes of an experiment's programs mean."""

from __future__ import annotations

from attrs import frozen

from pilot_core.control.patterns import failure_in, numbers
from pilot_core.errors import PilotError
from pilot_core.model.payload import Outcome
from pilot_core.model.wire import Fields


@frozen(kw_only=True)
class End:
    """Exit codes, and the error that they stand for."""

    codes: tuple[int, ...]
    error: PilotError


def read_ends(fields: Fields) -> tuple[End, ...]:
    """The meanings in a document."""
    items = fields.items("exit_codes", "a list of meanings")
    return tuple(_read(fields.inner(place, raw)) for place, raw in items)


def _read(fields: Fields) -> End:
    codes = numbers(fields, "codes")
    if not codes:
        fields.problem("codes", "is empty; write the exit codes that mean this")
    end = End(codes=codes, error=failure_in(fields))
    fields.refuse_unknown()
    return end


def meaning(ends: tuple[End, ...], outcome: Outcome) -> list[PilotError]:
    """The error that an exit code stands for."""
    if outcome.signal or not outcome.exit_code:
        return []
    told = f"exit code {outcome.exit_code}"
    known = [end.error for end in ends if outcome.exit_code in end.codes][:1]
    return [PilotError(e.code, f"{e.detail} ({told})", **e.facts, trf=outcome.exit_code) for e in known]
