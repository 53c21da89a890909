"""The life of one job.

Theory of operation. A *course* is a job under way: the job, its workflow's steps, and where it stands between them.
``step(course, event)`` gives the next course and the commands that the event calls for; nothing else decides.

A course is in one of seven stands:

* ``slot``: the next step needs the job's share of the slot, which was asked for;
* ``work``: a step's work is under way under a ticket; exactly one end event with that ticket will come;
* ``end``: as ``work``, but the work was cancelled: its end is awaited within the grace;
* ``report``: all steps are done, the final update is under way;
* ``retry``: it could not be delivered and waits for another try;
* ``clean``: the clean-up is under way;
* ``over``: nothing more will happen.

Every work has a ticket, and so has every wait for the slot; tickets only grow. An answer whose ticket is spent is
dropped, but what is stored is stored, and what is delivered is delivered. Failures are collected; after the first one
only steps marked ``always`` are taken, and which of several errors is reported is decided by ``errors.merge`` alone. A
stop collects its reason as an error, cancels the work under way and leaves the rest of the table to the same rule; if
it is in a hurry, each remaining step gets what is left of the time less the reserve for the final update, nothing is
begun after that, and nothing waits for the slot. The limit of a work comes nearer with every word, and never goes
further.

A final update is tried until it is delivered or its time is spent; then it rests in the outbox, and the job directory
is kept. If no place takes it, the job is let go without its seal, and another pilot tries again. After a crash the
journal is replayed through this same function, and ``Resumed`` begins the stand anew.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pilot_core.errors import PilotError, code
from pilot_core.machine import commands as c
from pilot_core.machine import events as e
from pilot_core.machine.course import (
    Course,
    Move,
    Stand,
    begin_work,
    bound,
    enter_phase,
    free_slot,
    hurry,
    leaving,
    left,
    prefixed,
    stored,
    with_errors,
    with_excuse,
    with_receipts,
    with_result,
)
from pilot_core.machine.final import (
    clean,
    cleaned,
    conclude,
    delivered,
    delivered_late,
    is_final,
    is_told,
    not_cleaned,
    not_delivered,
)
from pilot_core.machine.phases import Step
from pilot_core.model.change import evolve

CANCEL_MARGIN_S = 5.0
FINAL_RESERVE_S = 5.0


class InvalidTransition(Exception):
    """An event that cannot come now; the text tells the job's story so far."""


Rule = Callable[[Course, Any], Move]
Ticketed = e.WorkDone | e.WorkFailed | e.WorkExpired | e.RetryDue | e.SlotGranted | e.PayloadStarted


def step(course: Course, event: e.JobEvent) -> Move:
    """The next course and the commands that ``event`` calls for; what cannot come now raises and changes nothing."""
    if isinstance(event, Ticketed) and _spent(course, event):
        return _late(course, event)
    rule = RULES.get((course.stand, type(event)))
    if rule is None:
        told = " -> ".join((*course.story, type(event).__name__))
        raise InvalidTransition(f"job {course.job.id}: {type(event).__name__} cannot come in {course.stand}: {told}")
    return rule(evolve(course, story=(*course.story[-49:], type(event).__name__)), event)


def _spent(course: Course, event: Ticketed) -> bool:
    return event.ticket != course.ticket or (course.stand, type(event)) not in RULES


def _late(course: Course, event: Ticketed) -> Move:
    if not isinstance(event, e.WorkDone):
        return course, ()
    known = evolve(course, job=with_receipts(course.job, event.result.receipts))
    return delivered_late(known, event) if is_final(course, event.ticket) else (known, ())


# --- taking a job ---------------------------------------------------------------------------------------------------


def _accept(course: Course, event: e.Accepted) -> Move:
    job = evolve(event.value, times={**event.value.times, event.value.phase: event.at})
    begun = evolve(
        course,
        job=job,
        steps=event.steps,
        began=event.mono,
        heartbeat_s=event.heartbeat_s,
        final_budget_s=event.final_budget_s,
    )
    taken: tuple[c.Command, ...] = (
        c.Post(event=e.JobTaken(job=job.id, needs=job.needs)),
        c.Tell(job=job, phase=job.phase),
        c.Report(job=job),
        c.SetTimer(key=begun.heart, after_s=event.heartbeat_s, event=e.HeartbeatDue(job=job.id)),
    )
    return prefixed(taken, _advance(begun, event))


# --- from step to step ----------------------------------------------------------------------------------------------


def _advance(course: Course, event: e.JobEvent) -> Move:
    """Take the next step that is still to be taken, or conclude."""
    course = with_excuse(course) if course.job.errors else course
    at = course.at + 1
    while at < len(course.steps) and not _to_be_taken(course, course.steps[at], event.mono):
        course, at = with_excuse(course), at + 1
    moved = evolve(course, at=at)
    if at == len(course.steps):
        return prefixed((free_slot(moved),), conclude(evolve(moved, holds_slot=False), event))
    return _enter(moved, course.steps[at], event)


def _to_be_taken(course: Course, following: Step, mono: float) -> bool:
    if course.job.errors and not following.always:
        return False
    if course.hurry_until is None:
        return True
    in_time = mono + FINAL_RESERVE_S < course.hurry_until
    return in_time and (course.holds_slot or not following.slot)


def _enter(course: Course, entered: Step, event: e.JobEvent) -> Move:
    if entered.slot and not course.holds_slot:
        waiting = evolve(course, stand=Stand.SLOT, ticket=course.ticket + 1)
        asked = e.SlotAsked(job=course.job.id, needs=course.job.needs, ticket=waiting.ticket)
        return waiting, (c.Post(event=asked),)
    freed = () if entered.slot or not course.holds_slot else (free_slot(course),)
    return prefixed(freed, _begin(evolve(course, holds_slot=entered.slot), entered, event))


def _begin(course: Course, entered: Step, event: e.JobEvent, resumed: bool = False) -> Move:
    told, job = enter_phase(course.job, entered.phase, event.at)
    budget_s = left(course, entered.budget_s, event.mono, FINAL_RESERVE_S)
    begun = begin_work(evolve(course, job=job), Stand.WORK, entered.does, budget_s, event.mono, resumed)
    return prefixed(told, begun)


def _granted(course: Course, event: e.SlotGranted) -> Move:
    held = evolve(course, job=evolve(course.job, devices=event.devices), holds_slot=True)
    return _begin(held, held.steps[held.at], event)


# --- the end of a step ----------------------------------------------------------------------------------------------


def _done(course: Course, event: e.WorkDone) -> Move:
    return _next(evolve(course, job=with_result(course.job, event.result)), event)


def _failed(course: Course, event: e.WorkFailed) -> Move:
    return _next(evolve(course, job=with_errors(course.job, event.error)), event)


def _expired(course: Course, event: e.WorkExpired) -> Move:
    late = course.steps[course.at]
    took = f"{late.name} was left behind: it outlived its budget"
    error = PilotError(code(late.expired), f"{took}; {event.detail}" if event.detail else took)
    return _left_behind(course, event, late.does, _next(evolve(course, job=with_errors(course.job, error)), event))


def _ended(course: Course, event: e.WorkDone) -> Move:
    """A cancelled step ended: what it brought counts, its complaints do not."""
    return _next(evolve(course, job=with_result(course.job, evolve(event.result, errors=()))), event)


def _ended_badly(course: Course, event: e.WorkFailed) -> Move:
    return _next(course, event)


def _would_not_end(course: Course, event: e.WorkExpired) -> Move:
    return _left_behind(course, event, course.steps[course.at].does, _next(course, event))


def _left_behind(course: Course, event: e.WorkExpired, work: str, move: Move) -> Move:
    return prefixed((c.Abandon(job=course.job.id, ticket=event.ticket, work=work),), move)


def _next(course: Course, event: e.JobEvent) -> Move:
    ended: tuple[c.Command, ...] = (c.DropTimer(key=course.key),)
    if course.payload_started:
        ended = (*ended, c.Unwatch(job=course.job.id))
    return prefixed(ended, _advance(evolve(course, payload_started=False), event))


# --- while a step lasts ---------------------------------------------------------------------------------------------


def _payload_started(course: Course, event: e.PayloadStarted) -> Move:
    notes = {"payload_at": event.at, **course.job.notes, "pid": event.pid}
    running = evolve(course, job=evolve(course.job, notes=notes), payload_started=True)
    return running, (c.Report(job=running.job), c.Watch(job=running.job))


def _sampled(course: Course, event: e.Sampled) -> Move:
    return evolve(course, job=evolve(course.job, usage=event.usage)), ()


def _journal_lost(course: Course, event: e.JournalLost) -> Move:
    notes = {**course.job.notes, "journal_lost": event.detail}
    return evolve(course, job=evolve(course.job, notes=notes)), ()


def _heartbeat(course: Course, _: e.HeartbeatDue | e.OfferedAgain) -> Move:
    """Tell the server how the job is; whether it still wants this attempt stands in the answer."""
    again = c.SetTimer(key=course.heart, after_s=course.heartbeat_s, event=e.HeartbeatDue(job=course.job.id))
    return course, (c.Report(job=course.job), again)


def _heartbeat_set(course: Course, event: e.HeartbeatSet) -> Move:
    due = c.SetTimer(key=course.heart, after_s=event.every_s, event=e.HeartbeatDue(job=course.job.id))
    return evolve(course, heartbeat_s=event.every_s), (due,)


def _ignored(course: Course, _: e.JobEvent) -> Move:
    return course, ()


# --- stopping -------------------------------------------------------------------------------------------------------


def _stop_waiting(course: Course, event: e.StopAsked) -> Move:
    """Give up the place in the line, and the step that waited, whatever its marks."""
    return prefixed((free_slot(course),), _advance(_with_stop(course, event), event))


def _stop_working(course: Course, event: e.StopAsked) -> Move:
    at = course.steps[course.at]
    if at.saves and event.hurry_s is not None:
        return _hurried(_excused(course, event), event)
    stopped = _with_stop(course, event)
    return _cancel(stopped, event.grace_s, event) if at.cut else _hurried(stopped, event)


def _excused(course: Course, event: e.StopAsked) -> Course:
    if course.job.errors:
        return _with_stop(course, event)
    return evolve(course, excuse=course.excuse or event.error, hurry_until=hurry(course, event))


def _cancel(course: Course, grace_s: float, event: e.JobEvent) -> Move:
    """End the work under way; cancelled once more, it gets less time, never more."""
    within_s = left(course, grace_s, event.mono, FINAL_RESERVE_S + CANCEL_MARGIN_S) or 0.0
    work = course.steps[course.at].does
    order = c.Cancel(job=course.job.id, ticket=course.ticket, work=work, grace_s=within_s)
    until = course.until if course.stand is Stand.END else None
    ending = evolve(course, stand=Stand.END, until=until)
    return prefixed((order,), bound(ending, within_s + CANCEL_MARGIN_S, event.mono))


def _stop_again(course: Course, event: e.StopAsked) -> Move:
    stopped = _with_stop(course, event)
    return (stopped, ()) if event.hurry_s is None else _cancel(stopped, event.grace_s, event)


def _stop_noted(course: Course, event: e.StopAsked) -> Move:
    """Too late to change what the job is; a hurry still bounds what is left to do."""
    return _hurried(evolve(course, hurry_until=hurry(course, event)), event)


def _with_stop(course: Course, event: e.StopAsked) -> Course:
    return evolve(course, job=with_errors(course.job, event.error), hurry_until=hurry(course, event))


def _hastened(course: Course, event: e.Hastened) -> Move:
    shorter = _halved(course, event)
    return _cancel(shorter, CANCEL_MARGIN_S, event) if course.stand is Stand.END else _hurried(shorter, event)


def _halved(course: Course, event: e.Hastened) -> Course:
    if course.hurry_until is None:
        return course
    return evolve(course, hurry_until=event.mono + max(course.hurry_until - event.mono, 0.0) / 2)


def _hurried(course: Course, event: e.JobEvent) -> Move:
    """Bound the work under way by what is left of the time; a waiting final update is tried now."""
    if course.hurry_until is None:
        return course, ()
    if course.stand is Stand.RETRY:
        return conclude(course, event)
    reserve_s = FINAL_RESERVE_S if course.stand is Stand.WORK else 0.0
    return bound(course, left(course, None, event.mono, reserve_s), event.mono)


# --- after a crash --------------------------------------------------------------------------------------------------


def _resume(course: Course, event: e.Resumed) -> Move:
    """Begin the stand anew: clocks of another process mean nothing, so every limit starts over."""
    anew = evolve(course, tries=0, began=event.mono, final_ticket=course.ticket + 1, excuse=None)
    fresh = evolve(anew, hurry_until=None, holds_slot=False, payload_started=False)
    taken: tuple[c.Command, ...] = (
        c.Post(event=e.JobTaken(job=course.job.id, needs=course.job.needs, inherited=True)),
        c.SetTimer(key=course.heart, after_s=course.heartbeat_s, event=e.HeartbeatDue(job=course.job.id)),
    )
    return prefixed(taken, _RESUMED[course.stand](fresh, event))


def _resume_step(course: Course, event: e.Resumed) -> Move:
    at = course.steps[course.at]
    if not at.resumes:
        return _advance(evolve(course, job=with_errors(course.job, event.error)), event)
    begun, commands = _begin(evolve(course, holds_slot=at.slot), at, event, resumed=True)
    return (
        prefixed(commands, _cancel(begun, CANCEL_MARGIN_S, event)) if course.stand is Stand.END else (begun, commands)
    )


def _resume_waiting(course: Course, event: e.Resumed) -> Move:
    return _advance(evolve(course, job=with_errors(course.job, event.error)), event)


def _resume_cleaning(course: Course, event: e.Resumed) -> Move:
    return clean(course, event, delivered=bool(course.job.notes.get("delivered")))


def _resume_over(course: Course, event: e.Resumed) -> Move:
    """Over, and not sealed: perhaps since its last word had found no place."""
    return _resume_cleaning(course, event) if is_told(course.job) else conclude(course, event)


_RESUMED: dict[Stand, Callable[[Course, e.Resumed], Move]] = {
    Stand.SLOT: _resume_waiting,
    Stand.WORK: _resume_step,
    Stand.END: _resume_step,
    Stand.REPORT: conclude,
    Stand.RETRY: conclude,
    Stand.CLEAN: _resume_cleaning,
    Stand.OVER: _resume_over,
}
_BEFORE, _LAST = (Stand.SLOT, Stand.WORK, Stand.END), (Stand.REPORT, Stand.CLEAN, Stand.OVER)

RULES: dict[tuple[Stand, type[e.JobEvent]], Rule] = {
    (Stand.NEW, e.Accepted): _accept,
    (Stand.SLOT, e.SlotGranted): _granted,
    (Stand.SLOT, e.StopAsked): _stop_waiting,
    (Stand.WORK, e.WorkDone): _done,
    (Stand.WORK, e.WorkFailed): _failed,
    (Stand.WORK, e.WorkExpired): _expired,
    (Stand.WORK, e.PayloadStarted): _payload_started,
    (Stand.WORK, e.StopAsked): _stop_working,
    (Stand.WORK, e.Hastened): _hastened,
    (Stand.END, e.WorkDone): _ended,
    (Stand.END, e.WorkFailed): _ended_badly,
    (Stand.END, e.WorkExpired): _would_not_end,
    (Stand.END, e.PayloadStarted): _payload_started,
    (Stand.END, e.StopAsked): _stop_again,
    (Stand.END, e.Hastened): _hastened,
    (Stand.REPORT, e.WorkDone): delivered,
    (Stand.REPORT, e.WorkFailed): not_delivered,
    (Stand.REPORT, e.WorkExpired): not_delivered,
    (Stand.RETRY, e.RetryDue): conclude,
    (Stand.RETRY, e.OfferedAgain): conclude,
    (Stand.RETRY, e.WorkDone): delivered,
    (Stand.CLEAN, e.WorkDone): cleaned,
    (Stand.CLEAN, e.WorkFailed): not_cleaned,
    (Stand.CLEAN, e.WorkExpired): not_cleaned,
    **{(stand, e.FileStored): stored for stand in Stand if stand is not Stand.NEW},
    **{(stand, e.FilesLeaving): leaving for stand in Stand if stand is not Stand.NEW},
    **{(stand, e.JournalLost): _journal_lost for stand in Stand if stand is not Stand.NEW},
    **{(stand, e.Sampled): _sampled for stand in (Stand.WORK, Stand.END)},
    **{(stand, e.Sampled): _ignored for stand in Stand if stand not in (Stand.NEW, Stand.WORK, Stand.END)},
    **{(stand, each): _heartbeat for stand in _BEFORE for each in (e.HeartbeatDue, e.OfferedAgain)},
    **{(stand, e.HeartbeatSet): _heartbeat_set for stand in _BEFORE},
    **{(stand, each): _ignored for stand in (*_LAST, Stand.RETRY) for each in (e.HeartbeatSet, e.HeartbeatDue)},
    **{(stand, e.OfferedAgain): _ignored for stand in _LAST},
    **{(stand, e.StopAsked): _stop_noted for stand in (Stand.REPORT, Stand.RETRY, Stand.CLEAN)},
    **{(stand, e.Hastened): _hastened for stand in (Stand.REPORT, Stand.RETRY, Stand.CLEAN)},
    **dict.fromkeys(((Stand.SLOT, e.Hastened), (Stand.OVER, e.Hastened), (Stand.OVER, e.StopAsked)), _ignored),
    **{(stand, e.Resumed): _resume for stand in Stand if stand is not Stand.NEW},
}
"""The whole of it: which event may come in which stand, and the rule that then applies."""
