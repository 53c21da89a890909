"""The last words on refused jobs: each is tried until it is delivered or its time is spent, as a final update is."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

from pilot_core.errors import PilotError, code
from pilot_core.machine import commands as c
from pilot_core.machine import events as e
from pilot_core.machine.final import pause_s
from pilot_core.model.change import evolve

Letters = Mapping[str, "Owed"]
"""What is still to be delivered, by its place on the disk."""
Move = tuple[Letters, tuple[c.Command, ...]]


@frozen(kw_only=True)
class Owed:
    """A letter that is still to be delivered."""

    job: str
    until: float
    tries: int = 0
    waits: bool = False
    """Whether it waits for another try, until a timer."""


def unheard_of(job: str, why: PilotError) -> PilotError:
    """Why nobody heard of a job's end, by a code that the pilot's exit code shows."""
    if why.code.exit_code > 1:
        return why
    return PilotError(code(1318), f"the final update of job {job} was not delivered: {why}")


def owe(owed: Letters, event: e.LetterWaits) -> Move:
    """Deliver it, now for the first time."""
    letter = Owed(job=event.job, until=event.mono + event.budget_s)
    return {**owed, event.path: letter}, (c.Deliver(path=event.path),)


def due(owed: Letters, event: e.LetterDue) -> Move:
    """Try again."""
    letter = owed.get(event.path)
    if letter is None or not letter.waits:
        return owed, ()
    return {**owed, event.path: evolve(letter, waits=False)}, (c.Deliver(path=event.path),)


def tried(owed: Letters, event: e.LetterTried) -> Move:
    """It is delivered, or is tried again later, or is left where it waits."""
    letter = owed[event.path]
    rest = {path: each for path, each in owed.items() if path != event.path}
    if event.error is None:
        return rest, ()
    wait_s = pause_s(letter.job, letter.tries)
    said = f"refused job {letter.job}: its end was not delivered: {event.error}"
    if event.mono + wait_s >= letter.until:
        return rest, (c.Say(text=f"{said}; it waits in {event.path}"),)
    again = {**rest, event.path: evolve(letter, tries=letter.tries + 1, waits=True)}
    return again, (c.Say(text=f"{said}; it is tried again in {wait_s:.0f} s"), _later(event, wait_s))


def hasten(owed: Letters, until: float) -> Move:
    """The pilot ends by then: what waits is tried now."""
    now = tuple(_later(e.LetterDue(path=path), 0.0) for path, each in owed.items() if each.waits)
    return {path: evolve(each, until=min(each.until, until)) for path, each in owed.items()}, now


def _later(event: e.LetterTried | e.LetterDue, after_s: float) -> c.Command:
    return c.SetTimer(key=f"letter/{event.path}", after_s=after_s, event=e.LetterDue(path=event.path))
