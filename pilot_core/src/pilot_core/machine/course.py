"""A job under way: where it stands in its workflow, and what an event adds to it."""

from __future__ import annotations

import enum

from attrs import field, frozen

from pilot_core.errors import PilotError
from pilot_core.machine import commands as c
from pilot_core.machine import events as e
from pilot_core.machine.phases import Step
from pilot_core.model.change import evolve
from pilot_core.model.files import Receipt
from pilot_core.model.job import Job, Phase


class Stand(enum.StrEnum):
    """Where a course stands."""

    NEW = "new"
    SLOT = "slot"
    WORK = "work"
    END = "end"
    REPORT = "report"
    RETRY = "retry"
    CLEAN = "clean"
    OVER = "over"


Move = tuple["Course", tuple[c.Command, ...]]


@frozen(kw_only=True)
class Course:
    """A job under way."""

    job: Job
    steps: tuple[Step, ...] = ()
    stand: Stand = Stand.NEW
    at: int = -1
    ticket: int = 0
    until: float | None = None
    """When the work under way will be left behind."""
    holds_slot: bool = False
    hurry_until: float | None = None
    excuse: PilotError | None = None
    """A stop that came when only the fruits were to be saved: the error of whatever it keeps from being done."""
    tries: int = 0
    began: float = 0.0
    heartbeat_s: float = 1800.0
    final_budget_s: float = 3600.0
    final_until: float = 0.0
    unheard: PilotError | None = None
    """Why the last try to deliver the final update came to nothing."""
    final_ticket: int = 0
    """The first try's to deliver the final update; every later one up to the clean-up's is such a try too."""
    payload_started: bool = False
    story: tuple[str, ...] = field(default=(), eq=False, repr=False)

    @property
    def step(self) -> Step | None:
        """The step under way, if any."""
        return self.steps[self.at] if 0 <= self.at < len(self.steps) else None

    @property
    def runs_on(self) -> bool:
        """Whether the step under way holds the slot, and may go on without its pilot."""
        step = self.step if self.stand in {Stand.WORK, Stand.END} else None
        return step is not None and step.slot and step.resumes

    @property
    def key(self) -> str:
        """The name of the timer that bounds the work under way."""
        return f"{self.job.id}/work"

    @property
    def heart(self) -> str:
        """The name of the heartbeat's timer."""
        return f"{self.job.id}/heartbeat"


def left(course: Course, budget_s: float | None, mono: float, reserve_s: float) -> float | None:
    """The budget, or what a hurried course has left of it."""
    if course.hurry_until is None:
        return budget_s
    left_s = max(course.hurry_until - mono - reserve_s, 0.1)
    return left_s if budget_s is None else min(budget_s, left_s)


def hurry(course: Course, event: e.StopAsked) -> float | None:
    """Until when the rest must be done, by the sooner of two limits."""
    if event.hurry_s is None:
        return course.hurry_until
    until = event.mono + event.hurry_s
    return until if course.hurry_until is None else min(until, course.hurry_until)


def with_result(job: Job, result: e.Result) -> Job:
    """The job with what a step brought."""
    changed = with_receipts(with_errors(job, *result.errors), result.receipts)
    outcome = result.outcome or job.outcome
    return evolve(
        changed,
        command=result.command or job.command,
        outcome=outcome,
        usage=job.usage.ended(result.outcome.usage) if result.outcome else job.usage,
        inputs=job.inputs if result.inputs is None else result.inputs,
        outputs=job.outputs if result.outputs is None else result.outputs,
        notes={**job.notes, **result.notes},
    )


def with_excuse(course: Course) -> Course:
    """The course once something was not done for a stop's sake: the stop came before whatever went wrong then."""
    if course.excuse is None:
        return course
    return evolve(course, job=evolve(course.job, errors=(course.excuse, *course.job.errors)), excuse=None)


def with_errors(job: Job, *errors: PilotError) -> Job:
    """The job with more that went wrong."""
    return evolve(job, errors=(*job.errors, *errors)) if errors else job


def with_receipts(job: Job, receipts: tuple[Receipt, ...]) -> Job:
    """The job with more files that are safe, each counted once."""
    names = {receipt.lfn for receipt in receipts}
    safe = {(r.lfn, r.direction) for r in job.receipts if r.lfn in names}
    more = {(r.lfn, r.direction): r for r in reversed(receipts) if (r.lfn, r.direction) not in safe}
    return evolve(job, receipts=(*job.receipts, *reversed(more.values()))) if more else job


def stored(course: Course, event: e.FileStored) -> Move:
    """Count the file as safe."""
    return evolve(course, job=with_receipts(course.job, (event.receipt,))), ()


def leaving(course: Course, event: e.FilesLeaving) -> Move:
    """Keep what was told last of outputs that are to be stored."""
    told = {**course.job.leaving, **{each.file.lfn: each for each in event.files}}
    return evolve(course, job=evolve(course.job, leaving=told)), ()


def enter_phase(job: Job, phase: Phase, at: float) -> tuple[tuple[c.Command, ...], Job]:
    """The job in its new phase, and the word to its observers; nothing where it is there already."""
    if phase == job.phase:
        return (), job
    entered = evolve(job, phase=phase, times={**job.times, phase: at})
    return (c.Tell(job=entered, phase=phase),), entered


def begin_work(
    course: Course, stand: Stand, work: str, budget_s: float | None, mono: float, resumed: bool = False
) -> Move:
    """Order a piece of work under a new ticket, and bound it."""
    begun = evolve(course, stand=stand, ticket=course.ticket + 1, until=None)
    order = c.Begin(job=begun.job, ticket=begun.ticket, work=work, budget_s=budget_s, resumed=resumed)
    return prefixed((order,), bound(begun, budget_s, mono))


def bound(course: Course, within_s: float | None, mono: float) -> Move:
    """Bound the work under way; its limit may come nearer, and never goes further away."""
    limits = [each for each in (course.until, None if within_s is None else mono + within_s) if each is not None]
    if not limits:
        return course, (c.DropTimer(key=course.key),)
    until = min(limits)
    expired = e.WorkExpired(job=course.job.id, ticket=course.ticket)
    timer = c.SetTimer(key=course.key, after_s=max(until - mono, 0.0), event=expired)
    return evolve(course, until=until), (timer,)


def prefixed(commands: tuple[c.Command, ...], move: Move) -> Move:
    """The move with these commands before its own."""
    course, more = move
    return course, (*commands, *more)


def free_slot(course: Course) -> c.Command:
    """Give back the share of the slot, or the place in the line for it."""
    return c.Post(event=e.SlotFreed(job=course.job.id))
