"""The life of the pilot: what it admits, when it asks for work, how it drains and stops.

A *claim* is one job's share of the slot: its disk from the moment it is taken, its cores, memory and GPUs while its
payload runs. Shares are granted in the order in which they were asked for; a large job at the head of the line is
not overtaken. Work is asked for while something of the slot is unclaimed, and for so many jobs more as may stage in
ahead of their turn.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from typing import Any

from attrs import field, frozen

from pilot_core.errors import PilotError, Stage, code, merge
from pilot_core.machine import commands as c
from pilot_core.machine import events as e
from pilot_core.machine import letters
from pilot_core.model.change import evolve
from pilot_core.model.job import Job
from pilot_core.model.queue import Resources

GIVE_UP_ASKING_S = 3.0
ENDS_PILOT = frozenset({1099, 1104, 1106, 1124, 1149, 1150, 1151, 1235})
"""Errors of a job that become the pilot's own, beside those with an exit code of their own."""
CHECKPOINTED = 1901
"""No failure: the job goes on in its next attempt."""


class Mode(enum.StrEnum):
    """What the pilot does about new work."""

    CHECKING = "checking"
    OPEN = "open"
    PAUSED = "paused"
    DRAINING = "draining"
    STOPPING = "stopping"
    ENDED = "ended"


class Turn(enum.StrEnum):
    """How far a claim has come."""

    STAGING = "staging"
    WAITING = "waiting"
    RUNNING = "running"
    ENDING = "ending"


@frozen(kw_only=True)
class Claim:
    """One job's share of the slot."""

    needs: Resources
    turn: Turn = Turn.STAGING
    ticket: int = 0


@frozen(kw_only=True)
class Limits:
    """The pilot's own rules, from its configuration."""

    prefetch_jobs: int = 1
    one_by_one: bool = False
    """Whether a job is asked for only when the one before is over."""
    max_jobs: int | None = None
    empty_answers: int = 2
    failed_answers: int = 5
    black_hole_failures: int = 5
    black_hole_s: float = 60.0


@frozen(kw_only=True)
class Pilot:
    """Where the pilot stands."""

    slot: Resources
    limits: Limits = field(factory=Limits)
    mode: Mode = Mode.CHECKING
    claims: Mapping[str, Claim] = field(factory=dict)
    line: tuple[str, ...] = ()
    """Jobs that wait for their share, in the order in which they asked."""
    asking: bool = False
    resting: bool = False
    """Between two requests, until a timer or the end of a job that another attempt waits ``behind``."""
    behind: tuple[str, ...] = ()
    refills: bool = True
    """Whether there may be another job after the first one."""
    hinted: bool = False
    """Whether somebody told of work while a request was under way."""
    taken: int = 0
    finished: int = 0
    failed: int = 0
    empty: int = 0
    unanswered: int = 0
    quick_failures: int = 0
    reason: PilotError | None = None
    """Why the pilot ends, if not for want of work to do after it did some."""
    last: PilotError | None = None
    """The last job's error, where it is one that the pilot's exit code shows."""
    unheard: PilotError | None = None
    """Why the final update of some job was not delivered."""
    owed: letters.Letters = field(factory=dict)
    """The last words on refused jobs."""

    def free(self, *turns: Turn) -> Resources:
        """What is left of the slot beside the disk of all claims and the rest of those in ``turns``."""
        left = self.slot
        for claim in self.claims.values():
            left = left.less(claim.needs if claim.turn in turns else Resources(cores=0, disk_b=claim.needs.disk_b))
        return left

    def left_by_begun(self) -> Resources:
        """What is left of the slot by jobs whose payloads have begun: those that still stage in make way."""
        left = self.slot
        for claim in self.claims.values():
            if claim.turn is Turn.RUNNING:
                left = left.less(claim.needs)
            elif claim.turn is Turn.ENDING:
                left = left.less(Resources(cores=0, disk_b=claim.needs.disk_b))
        return left


def claim_left(job: Job, holds_slot: bool) -> Claim:
    """What a job of a dead pilot still claims: its disk, and its share of the slot where its payload may run."""
    needs = evolve(job.needs, gpus=job.devices)
    return Claim(needs=needs, turn=Turn.RUNNING if holds_slot else Turn.ENDING)


Move = tuple[Pilot, tuple[c.Command, ...]]


def step(pilot: Pilot, event: e.Event) -> Move:
    """The next pilot and the commands that ``event`` calls for."""
    moved, commands = RULES[type(event)](pilot, event)
    moved, granted = _grant(moved)
    moved, asked = _ask(moved)
    moved, ended = _end(moved)
    return moved, (*commands, *granted, *asked, *ended)


# --- what every event may lead to -----------------------------------------------------------------------------------


def _grant(pilot: Pilot) -> Move:
    commands: list[c.Command] = []
    while pilot.line:
        claim = pilot.claims[pilot.line[0]]
        free = pilot.left_by_begun()
        if free.lacks(claim.needs):
            break
        devices = free.gpus[: claim.needs.gpu_count]
        commands.append(c.Post(event=e.SlotGranted(job=pilot.line[0], ticket=claim.ticket, devices=devices)))
        given = evolve(claim, needs=evolve(claim.needs, gpus=devices), turn=Turn.RUNNING)
        pilot = evolve(pilot, line=pilot.line[1:], claims={**pilot.claims, pilot.line[0]: given})
    return pilot, tuple(commands)


def _ask(pilot: Pilot) -> Move:
    if pilot.mode is not Mode.OPEN or pilot.asking or pilot.resting or _enough(pilot):
        return pilot, ()
    if pilot.limits.one_by_one and pilot.claims:
        return pilot, ()
    free = pilot.free(Turn.STAGING, Turn.WAITING, Turn.RUNNING)
    if _full(free):
        ahead = sum(claim.turn in (Turn.STAGING, Turn.WAITING) for claim in pilot.claims.values())
        if ahead >= pilot.limits.prefetch_jobs:
            return pilot, ()
        free = pilot.free()
    return evolve(pilot, asking=True, hinted=False), (c.Ask(free=free),)


def _full(free: Resources) -> bool:
    return any(left is not None and left <= 0 for left in (free.cores, free.memory_b, free.disk_b))


def _enough(pilot: Pilot) -> bool:
    most = pilot.limits.max_jobs if pilot.refills else 1
    return most is not None and pilot.taken >= most


def _end(pilot: Pilot) -> Move:
    if pilot.claims or pilot.owed or pilot.asking or pilot.mode is Mode.ENDED:
        return pilot, ()
    if pilot.mode in (Mode.DRAINING, Mode.STOPPING) or (pilot.mode is Mode.OPEN and _enough(pilot)):
        return evolve(pilot, mode=Mode.ENDED), (c.Exit(error=pilot.reason or pilot.unheard or pilot.last),)
    return pilot, ()


# --- the rules ------------------------------------------------------------------------------------------------------


def _checked(pilot: Pilot, event: e.Checked) -> Move:
    if pilot.mode is not Mode.CHECKING:
        return pilot, ()
    if not event.problems:
        return evolve(pilot, mode=Mode.OPEN), ()
    said = tuple(c.Say(text=f"this node takes no work: {problem}") for problem in event.problems)
    return evolve(pilot, mode=Mode.DRAINING, reason=merge(event.problems)), said


def _answered(pilot: Pilot, event: e.Answered) -> Move:
    answered = evolve(pilot, asking=False, behind=event.behind)
    if event.error is not None:
        return _unanswered(evolve(answered, unanswered=pilot.unanswered + event.counts), event)
    if event.jobs:
        return _rest(evolve(answered, empty=0, unanswered=0, mode=_after(answered, event.over)), event.again_s)
    empty = pilot.empty if event.stay else pilot.empty + 1
    if event.over or empty >= pilot.limits.empty_answers:
        return _no_more(answered), ()
    return _rest(evolve(answered, empty=empty, unanswered=0), 0.0 if pilot.hinted else event.again_s or 0.0)


def _after(pilot: Pilot, over: bool) -> Mode:
    return Mode.DRAINING if over and pilot.mode is Mode.OPEN else pilot.mode


def _no_more(pilot: Pilot) -> Pilot:
    if pilot.mode is Mode.PAUSED:
        return pilot
    none = pilot.reason if pilot.taken else pilot.reason or PilotError(code(1385), "no work was offered")
    return evolve(pilot, mode=_after(pilot, True), reason=none)


def _unanswered(pilot: Pilot, event: e.Answered) -> Move:
    said = c.Say(text=f"no answer to a request for work: {event.error}")
    if event.error is not None and event.error.facts.get("permanent"):
        return evolve(pilot, mode=_after(pilot, True), reason=pilot.reason or event.error), (said,)
    if pilot.unanswered < pilot.limits.failed_answers or pilot.mode is Mode.PAUSED:
        return _and((said,), _rest(pilot, event.again_s or 0.0))
    silence = PilotError(code(1318), f"{pilot.unanswered} requests in a row had no answer, the last: {event.error}")
    return evolve(pilot, mode=_after(pilot, True), reason=pilot.reason or silence), (said,)


def _rest(pilot: Pilot, again_s: float | None) -> Move:
    if again_s is None or pilot.mode is not Mode.OPEN:
        return pilot, ()
    return evolve(pilot, resting=True), (c.SetTimer(key="ask", after_s=again_s, event=e.AskDue()),)


def _ask_due(pilot: Pilot, _: e.AskDue) -> Move:
    return evolve(pilot, resting=False), ()


def _refill_over(pilot: Pilot, _: e.RefillOver) -> Move:
    return evolve(pilot, refills=False), ()


def _hint(pilot: Pilot, event: e.Hinted) -> Move:
    """Ask now, but for a server that did not answer the last time and has said nothing since."""
    if not event.answers and (pilot.asking or pilot.unanswered):
        return evolve(pilot, hinted=True), ()
    return evolve(pilot, unanswered=0, resting=False), ()


def _give_up(pilot: Pilot, _: e.AskGivenUp) -> Move:
    return evolve(pilot, asking=False), ()


def _take(pilot: Pilot, event: e.JobTaken) -> Move:
    claim = pilot.claims.get(event.job, Claim(needs=event.needs))
    count = pilot.taken + (not event.inherited)
    taken = evolve(pilot, taken=count, claims={**pilot.claims, event.job: claim})
    if pilot.mode is Mode.STOPPING and pilot.reason is not None:
        return taken, (c.Post(event=e.StopAsked(job=event.job, error=pilot.reason, hurry_s=10.0)),)
    return taken, ()


def _slot_asked(pilot: Pilot, event: e.SlotAsked) -> Move:
    missing = pilot.slot.lacks(event.needs)
    if missing:
        error = PilotError(code(1344), f"the slot can never hold this job: {missing}")
        return pilot, (c.Post(event=e.StopAsked(job=event.job, error=error)),)
    claim = evolve(pilot.claims[event.job], turn=Turn.WAITING, ticket=event.ticket)
    return evolve(pilot, line=(*pilot.line, event.job), claims={**pilot.claims, event.job: claim}), ()


def _slot_freed(pilot: Pilot, event: e.SlotFreed) -> Move:
    claim = pilot.claims.get(event.job)
    if claim is None:
        return pilot, ()
    line = tuple(job for job in pilot.line if job != event.job)
    return evolve(pilot, line=line, claims={**pilot.claims, event.job: evolve(claim, turn=Turn.ENDING)}), ()


def _job_over(pilot: Pilot, event: e.JobOver) -> Move:
    claims = {job: claim for job, claim in pilot.claims.items() if job != event.job}
    line = tuple(job for job in pilot.line if job != event.job)
    unheard = pilot.unheard if event.unheard is None else letters.unheard_of(event.job, event.unheard)
    resting = pilot.resting and event.job not in pilot.behind
    left = evolve(pilot, claims=claims, line=line, unheard=unheard, resting=resting)
    if event.error is None or event.error.code.number == CHECKPOINTED:
        return evolve(left, finished=left.finished + 1, quick_failures=0, last=None), ()
    return _failed(left, event.error, event.lasted_s)


def _refused(pilot: Pilot, event: e.JobRefused) -> Move:
    """A description that makes no sense is no fault of this node."""
    last = event.error if _ends(event.error) else None
    return evolve(pilot, taken=pilot.taken + 1, failed=pilot.failed + 1, last=last), ()


def _failed(pilot: Pilot, error: PilotError, lasted_s: float) -> Move:
    quick = pilot.quick_failures + 1 if lasted_s < pilot.limits.black_hole_s else 0
    failed = evolve(pilot, failed=pilot.failed + 1, quick_failures=quick, last=error if _ends(error) else None)
    return _black_hole(failed, error)


def _ends(error: PilotError) -> bool:
    """A stop is the reason of this pilot's end itself, or else ended the one before it."""
    if error.code.stage is Stage.STOP:
        return False
    return error.code.number in ENDS_PILOT or error.code.exit_code > 1


def _black_hole(pilot: Pilot, last: PilotError) -> Move:
    limits = pilot.limits
    if (
        not limits.black_hole_failures
        or pilot.quick_failures < limits.black_hole_failures
        or pilot.mode is not Mode.OPEN
    ):
        return pilot, ()
    why = f"{pilot.quick_failures} jobs in a row failed in less than {limits.black_hole_s:g} s, the last with {last}"
    error = PilotError(code(1332), why)
    return evolve(pilot, mode=Mode.DRAINING, reason=error), (c.Say(text=f"this node takes no more work: {error}"),)


def _drain(pilot: Pilot, event: e.DrainAsked) -> Move:
    if pilot.mode in (Mode.STOPPING, Mode.ENDED):
        return pilot, ()
    return evolve(pilot, mode=Mode.DRAINING), (c.DropTimer(key="ask"),)


def _pause(pilot: Pilot, _: e.PauseAsked) -> Move:
    return evolve(pilot, mode=Mode.PAUSED if pilot.mode is Mode.OPEN else pilot.mode), ()


def _resume(pilot: Pilot, _: e.ResumeAsked) -> Move:
    return evolve(pilot, mode=Mode.OPEN if pilot.mode is Mode.PAUSED else pilot.mode), ()


def _halt(pilot: Pilot, event: e.HaltAsked) -> Move:
    if pilot.mode is Mode.ENDED:
        return pilot, ()
    if pilot.mode is Mode.STOPPING:
        owed, last_tries = letters.hasten(pilot.owed, event.mono)
        hastened = tuple(c.Post(event=e.Hastened(job=job)) for job in pilot.claims)
        return evolve(pilot, owed=owed), (*hastened, *last_tries)
    owed, last_tries = letters.hasten(pilot.owed, event.mono + event.hurry_s)
    stop = tuple(c.Post(event=e.StopAsked(job=job, error=event.error, hurry_s=event.hurry_s)) for job in pilot.claims)
    give_up = c.SetTimer(key="ask", after_s=GIVE_UP_ASKING_S, event=e.AskGivenUp())
    return evolve(pilot, mode=Mode.STOPPING, reason=event.error, owed=owed), (*stop, *last_tries, give_up)


def _letter_waits(pilot: Pilot, event: e.LetterWaits) -> Move:
    owed, commands = letters.owe(pilot.owed, event)
    return evolve(pilot, owed=owed), commands


def _letter_due(pilot: Pilot, event: e.LetterDue) -> Move:
    owed, commands = letters.due(pilot.owed, event)
    return evolve(pilot, owed=owed), commands


def _letter_tried(pilot: Pilot, event: e.LetterTried) -> Move:
    owed, commands = letters.tried(pilot.owed, event)
    if event.error is None or event.path in owed:
        return evolve(pilot, owed=owed), commands
    return evolve(pilot, owed=owed, unheard=letters.unheard_of(pilot.owed[event.path].job, event.error)), commands


def _and(commands: tuple[c.Command, ...], move: Move) -> Move:
    pilot, more = move
    return pilot, (*commands, *more)


RULES: dict[type[e.Event], Callable[[Pilot, Any], Move]] = {
    e.Checked: _checked,
    e.Answered: _answered,
    e.AskDue: _ask_due,
    e.RefillOver: _refill_over,
    e.Hinted: _hint,
    e.AskGivenUp: _give_up,
    e.JobTaken: _take,
    e.SlotAsked: _slot_asked,
    e.SlotFreed: _slot_freed,
    e.JobOver: _job_over,
    e.JobRefused: _refused,
    e.LetterWaits: _letter_waits,
    e.LetterTried: _letter_tried,
    e.LetterDue: _letter_due,
    e.DrainAsked: _drain,
    e.PauseAsked: _pause,
    e.ResumeAsked: _resume,
    e.HaltAsked: _halt,
}
"""The whole of it: the rule for each event."""
