"""The end of a job: its final update, tried until it is delivered or its time is spent, and the clean-up."""

from __future__ import annotations

from zlib import crc32

from pilot_core.errors import PilotError, code
from pilot_core.machine import commands as c
from pilot_core.machine import events as e
from pilot_core.machine.course import Course, Move, Stand, begin_work, enter_phase, left, prefixed, with_result
from pilot_core.model.change import evolve
from pilot_core.model.job import FAILED, FINISHED, Job
from pilot_core.model.payload import Verdict

CONCLUDE, CLEAN_UP = "conclude", "clean_up"
CONCLUDE_BUDGET_S, CLEAN_UP_BUDGET_S, LEAST_S = 120.0, 600.0, 1.0
WAITS_IN = "waits_in"
"""The note that says where an undelivered final update waits for whoever delivers it."""
SILENT = "no answer came in time"
RETRY_FIRST_S, RETRY_LONGEST_S = 10.0, 600.0


def conclude(course: Course, event: e.JobEvent) -> Move:
    """Try to deliver the final update, for the first time or again."""
    told, job = enter_phase(course.job, FINISHED if course.job.verdict is Verdict.FINISHED else FAILED, event.at)
    begun = evolve(course, job=job)
    if not course.tries:
        begun = evolve(begun, final_until=event.mono + course.final_budget_s, final_ticket=course.ticket + 1)
    budget_s = max(min(CONCLUDE_BUDGET_S, _deadline(begun) - event.mono), LEAST_S)
    move = begin_work(begun, Stand.REPORT, CONCLUDE, budget_s, event.mono)
    return prefixed((c.DropTimer(key=course.heart), *told), move)


def _deadline(course: Course) -> float:
    return course.final_until if course.hurry_until is None else min(course.final_until, course.hurry_until)


def delivered(course: Course, event: e.WorkDone) -> Move:
    """The server has it."""
    return clean(evolve(course, job=with_result(course.job, event.result)), event, delivered=True)


def delivered_late(course: Course, event: e.WorkDone) -> Move:
    """The server has had it since an earlier try, which was left behind; so is the try under way."""
    if course.stand is Stand.CLEAN:
        return evolve(course, job=evolve(course.job, notes={**course.job.notes, "delivered": True})), ()
    left_behind = c.Abandon(job=course.job.id, ticket=course.ticket, work=CONCLUDE)
    return prefixed((left_behind,), delivered(course, event))


def is_final(course: Course, ticket: int) -> bool:
    """Whether a spent ticket was that of a try to deliver the final update."""
    return course.stand in {Stand.REPORT, Stand.RETRY, Stand.CLEAN} and course.final_ticket <= ticket < course.ticket


def not_delivered(course: Course, event: e.WorkFailed | e.WorkExpired) -> Move:
    """Try again later, or leave it to the outbox."""
    wait_s = pause_s(course.job.id, course.tries)
    if event.mono + wait_s >= _deadline(course):
        why = event.error if isinstance(event, e.WorkFailed) else PilotError(code(1318), SILENT)
        return prefixed(_told(course, event, ""), clean(evolve(course, unheard=why), event, delivered=False))
    due = e.RetryDue(job=course.job.id, ticket=course.ticket)
    later = c.SetTimer(key=course.key, after_s=wait_s, event=due)
    commands = (*_told(course, event, f"; it is tried again in {wait_s:.0f} s"), later)
    return evolve(course, stand=Stand.RETRY, tries=course.tries + 1), commands


def pause_s(job: str, tries: int) -> float:
    """Longer each time, and another for each job: after an outage they are not to come back all at once."""
    spread = crc32(f"{job}/{tries}".encode()) / 2**32
    longer_s: float = min(RETRY_FIRST_S * 2**tries, RETRY_LONGEST_S)
    return longer_s * (0.75 + spread / 2)


def _told(course: Course, event: e.WorkFailed | e.WorkExpired, more: str) -> tuple[c.Command, ...]:
    why = str(event.error) if isinstance(event, e.WorkFailed) else SILENT
    said = c.Say(text=f"job {course.job.id}: its final update was not delivered: {why}{more}")
    return (*_abandoned(course, event, CONCLUDE), said)


def clean(course: Course, event: e.JobEvent, delivered: bool) -> Move:
    """Clean up, as far as what is not delivered allows."""
    job = evolve(course.job, notes={**course.job.notes, "delivered": delivered})
    budget_s = max(left(course, CLEAN_UP_BUDGET_S, event.mono, 0.0) or 0.0, LEAST_S)
    return begin_work(evolve(course, job=job), Stand.CLEAN, CLEAN_UP, budget_s, event.mono)


def not_cleaned(course: Course, event: e.WorkFailed | e.WorkExpired) -> Move:
    """Say why; the job is over all the same."""
    why = str(event.error) if isinstance(event, e.WorkFailed) else "it outlived its budget"
    said = c.Say(text=f"job {course.job.id}: the clean-up did not end well: {why}")
    return prefixed((*_abandoned(course, event, CLEAN_UP), said), cleaned(course, event))


def cleaned(course: Course, event: e.JobEvent) -> Move:
    """The job is over. One whose last word is nowhere is let go unsealed, for a pilot that comes later."""
    brought = event.result if isinstance(event, e.WorkDone) else e.Result()
    job = with_result(course.job, evolve(brought, errors=()))
    unheard = None if job.notes.get("delivered") else course.unheard
    lasted_s = max(event.mono - course.began, 0.0)
    over = e.JobOver(job=job.id, error=job.error, unheard=unheard, lasted_s=lasted_s)
    forget = c.Forget(job=job, over=over, seal=is_told(job))
    said = f"job {job.id}: its final update is neither delivered nor kept: `pilot recover` will try again"
    told = () if forget.seal else (c.Say(text=said),)
    return evolve(course, job=job, stand=Stand.OVER), (*told, c.DropTimer(key=course.key), forget)


def is_told(job: Job) -> bool:
    """Whether the server has the last word on a job, or it waits where it will be found."""
    return bool(job.notes.get("delivered") or job.notes.get(WAITS_IN))


def _abandoned(course: Course, event: e.WorkFailed | e.WorkExpired, work: str) -> tuple[c.Command, ...]:
    if isinstance(event, e.WorkFailed):
        return ()
    return (c.Abandon(job=course.job.id, ticket=event.ticket, work=work),)
