"""The journals of dead pilots: found, replayed through the machine, and handed to a living one."""

from __future__ import annotations

import logging
import select
import signal
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from attrs import frozen

from pilot_core.agent.jobs import JOURNAL, try_lock
from pilot_core.agent.workers import answer
from pilot_core.control.checks import CONTROL
from pilot_core.errors import Code, ErrorCode, PilotError
from pilot_core.io.files import NotJson, read_json
from pilot_core.io.journal import JournalError, check_whole, read_back
from pilot_core.io.process import Cleared, Gone, Processes, Released
from pilot_core.io.process_keeper import attach
from pilot_core.machine import events as e
from pilot_core.machine import job as machine
from pilot_core.machine.course import Course
from pilot_core.model.records import pack, unpack

ENDING_S = 20.0
RECORD = "pilot.control/died.json"
FATAL: Mapping[object, ErrorCode] = {
    signal.SIGINT: Code.SIGINT,
    signal.SIGQUIT: Code.SIGQUIT,
    signal.SIGBUS: Code.SIGBUS,
    signal.SIGUSR1: Code.SIGUSR1,
    signal.SIGSEGV: Code.SIGSEGV,
    signal.SIGTERM: Code.SIGTERM,
    signal.SIGXCPU: Code.SIGXCPU,
}
"""What the signals that ended a pilot are called; every other one is ``KILLSIGNAL``."""
log = logging.getLogger(__name__)


@frozen
class LeftJob:
    """A job that a dead pilot left: where its journal lies and how far it had come."""

    control: Path
    course: Course | None
    """``None`` if its pilot died after the raw message was written, and before the job was taken."""
    raw: Mapping[str, object]
    communicator: str = ""
    """Whom its pilot had it from, if that is known."""
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
    check_whole(control / JOURNAL, story)
    if story.damage_b:
        log.warning("%s: the last %d bytes of the journal are damaged and left out", control, story.damage_b)
    raw: Mapping[str, object] = next((record["raw"] for record in story.records if "raw" in record), {})
    events = [event_of(record) for record in story.records if "event" in record]
    told = (record["communicator"] for record in story.records if "communicator" in record)
    communicator = next((str(name) for name in told if name), "")
    return LeftJob(control, replay(events), raw, communicator)


def check_hearer(left: LeftJob, communicator: str) -> None:
    """What is told of a job goes to whom it came from, and to nobody else."""
    if left.communicator not in ("", communicator):
        told = f"{left.communicator!r} is to hear of it, and this pilot speaks with {communicator!r}"
        way_out = f"`pilot recover {left.control.parent}` goes by the settings of the pilot that had it"
        raise PilotError(Code.COMMUNICATIONFAILURE, told, way_out=way_out)


def end_left(control: Path, grace_s: float) -> None:
    """End whatever a keeper still has of a job that nobody goes on with, before anybody else may begin it."""
    processes = attach(control)
    if processes is None:
        return
    with closing(processes):
        processes.end(grace_s)
        _await(processes, Cleared, grace_s + ENDING_S)
        processes.release()
        _await(processes, Released, ENDING_S)


def _await(processes: Processes, what: type[Cleared | Released], limit_s: float) -> None:
    until = time.monotonic() + limit_s
    while (left_s := until - time.monotonic()) > 0:
        select.select([processes], [], [], left_s)
        if any(isinstance(event, (what, Gone)) for event in processes.read()):
            return
    raise PilotError(Code.EXCEEDEDMAXWAITTIME, f"what runs of this job did not end within {limit_s:g} s")


def how_it_died(root: Path) -> PilotError:
    """The error that tells how the last pilot in this work directory died, as far as its keeper knows.

    A pilot that hung or ended by itself is at fault. Any other was ended from outside, and be it with its whole node.
    """
    try:
        record = read_json(root / RECORD)
    except (OSError, NotJson):
        record = {}
    if not isinstance(record, dict):
        record = {}
    signum, status, why = record.get("signal"), record.get("status"), record.get("why")
    if why == "hung" or status is not None:
        known, how = Code.INTERNALPILOTPROBLEM, "it hung" if why == "hung" else f"exit code {status}"
    else:
        known = FATAL.get(signum, Code.KILLSIGNAL)
        how = f"signal {signum}" if signum else "nobody knows how"
    return PilotError(known, f"the pilot died before the job was over ({how})")
