"""The journals of dead pilots: found, replayed through the machine, and handed to a living one."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from attrs import frozen

from pilot_core.agent.jobs import CONTROL, JOURNAL, try_lock
from pilot_core.agent.workers import answer
from pilot_core.errors import Code, NoSuchCode, PilotError, code
from pilot_core.io.files import NotJson, read_json
from pilot_core.io.journal import JournalError, read_back
from pilot_core.machine import events as e
from pilot_core.machine import job as machine
from pilot_core.machine.course import Course
from pilot_core.model.records import pack, unpack

RECORD = "pilot.control/died.json"
log = logging.getLogger(__name__)


@frozen
class LeftJob:
    """A job that a dead pilot left: where its journal lies and how far it had come."""

    control: Path
    course: Course | None
    """``None`` if its pilot died after the raw message was written, and before the job was taken."""
    raw: Mapping[str, object]
    problem: PilotError | None = None
    """Why it cannot be taken up; nothing else is known of it then."""


class BadRecord(ValueError):
    """A record of a journal that this pilot cannot read."""


def record_of(event: e.JobEvent) -> dict[str, object]:
    """An event as its journal keeps it."""
    return {"event": type(event).__name__, **pack(event)}


def event_of(record: Mapping[str, Any]) -> e.JobEvent:
    """The event that a journal kept."""
    name = record["event"]
    kind = getattr(e, str(name), None)
    if not (isinstance(kind, type) and issubclass(kind, e.JobEvent)):
        raise BadRecord(f"its journal tells of an event {name!r} that this pilot does not know: use the one it is from")
    try:
        event: e.JobEvent = unpack(kind, {name: value for name, value in record.items() if name != "event"})
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise BadRecord(f"its journal tells of an event {name} in no form that this pilot reads: {error}") from error
    return event


def replay(events: Iterable[e.JobEvent]) -> Course | None:
    """The course that these events made; whatever was asked for on the way was done, or will be asked for again."""
    course: Course | None = None
    for event in events:
        if course is None:
            if not isinstance(event, e.Accepted):
                continue
            course = Course(job=event.value)
        course, _ = machine.step(course, event)
    return course


def left_jobs(root: Path) -> Iterator[LeftJob]:
    """The jobs below a work directory that have not ended and that nobody holds."""
    for control in sorted(root.glob(f"PanDA_Pilot-*{CONTROL}")):
        if (control / JOURNAL).is_file() and try_lock(control):
            left = answer(partial(_left_job, control))
            if isinstance(left, PilotError):
                yield LeftJob(control, None, {}, problem=left)
            elif left is not None:
                yield left


def _left_job(control: Path) -> LeftJob | None:
    try:
        return _read(control)
    except (OSError, JournalError, BadRecord, machine.InvalidTransition) as error:
        raise PilotError(Code.INTERNALPILOTPROBLEM, str(error)) from error


def _read(control: Path) -> LeftJob | None:
    story = read_back(control / JOURNAL)
    if story.sealed:
        return None
    if story.damage_b:
        log.warning("%s: the last %d bytes of the journal are damaged and left out", control, story.damage_b)
    raw: Mapping[str, object] = next((record["raw"] for record in story.records if "raw" in record), {})
    return LeftJob(control, replay(event_of(record) for record in story.records if "event" in record), raw)


def how_it_died(root: Path) -> PilotError:
    """The error that tells how the last pilot in this work directory died, as far as its keeper knows."""
    try:
        record = read_json(root / RECORD)
    except (OSError, NotJson):
        record = {}
    why = str(record.get("why", "nobody knows how"))
    try:
        known = code({11: 1203, 7: 1206, 15: 1201}.get(int(record.get("signal") or 0), 1319))
    except (NoSuchCode, ValueError):
        known = Code.INTERNALPILOTPROBLEM
    return PilotError(known, f"the pilot died before the job was over ({why})")
