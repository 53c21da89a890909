"""What is known of a job, from its control directory, while it runs or long after, or from its log archive.

Nothing is written or unpacked. Whatever is read may be damaged, huge or meant badly: it is bounded, and what cannot be
read is said.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from attrs import define, field

from pilot_core.agent.jobs import JOURNAL, try_lock
from pilot_core.agent.recover import BadRecord, event_of
from pilot_core.clock import Clock
from pilot_core.control.archive import SEALED
from pilot_core.control.checks import CONTROL
from pilot_core.control.history import USAGE, asked_of, masked
from pilot_core.control.job import FINAL, RECORD
from pilot_core.control.record import Surroundings, record_of
from pilot_core.control.segments import joined, segments
from pilot_core.io.inside import Inside
from pilot_core.io.journal import JournalError, Story, read_back
from pilot_core.machine import events as e
from pilot_core.machine import job as machine
from pilot_core.machine.course import Course, Stand
from pilot_core.report import account as told
from pilot_core.report.account import Account, Span
from pilot_core.report.found import LARGEST_B, SAID, TAIL_B, Found, NothingToTell
from pilot_core.report.packed import from_archive
from pilot_core.report.units import in_bytes, lasted, moment

OWN_LOG: Final = "pilot.log"
LOCK: Final = "lock"
_STANDS: Final = {
    Stand.SLOT: "wait for the slot",
    Stand.REPORT: "final update",
    Stand.RETRY: "wait to send it again",
    Stand.CLEAN: "clean up",
}


def accounts(place: Path, clock: Clock) -> list[Account]:
    """The accounts of all jobs in a work directory, of the one in a control directory, or in a log archive."""
    if place.is_dir():
        found = [account_of(from_control(control, clock)) for control in controls(place)]
        return sorted(found, key=lambda each: each.began or 0.0)
    return [account_of(from_archive(place))]


def controls(place: Path) -> list[Path]:
    """The control directories that are meant; those of earlier runs of a job too."""
    if (place / JOURNAL).is_file():
        return [place]
    if below := [each for each in sorted(place.glob(f"PanDA_Pilot-*{CONTROL}*")) if (each / JOURNAL).is_file()]:
        return below
    raise NothingToTell(f"{place}: no job has left its journal in it, or in a PanDA_Pilot-<id>{CONTROL} below it")


def account_of(found: Found) -> Account:
    """What a report tells, made of what was found."""
    record, asked = found.record, found.asked
    spans = found.spans or told.spans_of(record.get("phases"))
    node, outcome = told.table(record.get("node")), told.table(record.get("outcome"))
    return Account(
        id=told.text(record.get("id")) or told.text(asked.get("id")) or found.named,
        source=found.source,
        name=told.text(record.get("name")) or told.text(asked.get("name")),
        attempt=told.text(record.get("attempt")),
        state=told.text(record.get("state")) or "unknown",
        open=found.open,
        node=told.text(node.get("name")),
        began=spans[0].at if spans else None,
        lasted_s=max((span.at + span.lasted_s for span in spans), default=0.0) - (spans[0].at if spans else 0.0),
        spans=spans,
        usage=told.samples_of(found.usage.splitlines()[: told.MOST_ITEMS * 2]),
        totals=told.numbers(record.get("usage")),
        files=told.files_of(record, asked, found.open),
        faults=told.faults_of(record),
        command=tuple(map(told.text, told.items(record.get("command")))),
        ended=told.ended(outcome),
        facts=_facts(found, outcome),
        notes={
            name: note for name, note in told.texts(record.get("notes")).items() if name not in ("delivered", "pid")
        },
        environment=told.texts(asked.get("environment")),
        plugins=told.texts(record.get("plugins")),
        extras=told.texts(asked.get("extras")),
        unused=told.unused_in(found.message, asked),
        message=told.text(json.dumps(found.message, indent=2, ensure_ascii=False)) if found.message else "",
        log=found.log,
        said={name: text for name, text in found.said.items() if text.strip()},
        remarks=tuple(found.remarks),
    )


def _facts(found: Found, outcome: Mapping[str, Any]) -> dict[str, str]:
    """What stands in no other part of the page, under the words that people use for it."""
    record, asked = found.record, found.asked
    needs, node = told.table(asked.get("needs")), told.table(record.get("node"))
    facts = {
        "task": record.get("task"),
        "label": asked.get("label"),
        "image": asked.get("image"),
        "came from": record.get("origin"),
        "payload ran for": _measured(outcome.get("wall_s"), lasted),
        "process": told.table(record.get("notes")).get("pid"),
        "cores": needs.get("cores"),
        "memory asked for": _measured(needs.get("memory_b"), in_bytes),
        "disk asked for": _measured(needs.get("disk_b"), in_bytes),
        "GPUs": needs.get("gpu_count"),
        "time limit": _measured(asked.get("wall_limit_s"), lasted),
        "final update": None if found.open else "delivered" if record.get("delivered") else "not delivered",
        "directory kept, as": record.get("kept"),
    }
    facts.update({f"node: {name}": fact for name, fact in node.items() if name != "name"})
    return {name: told.text(fact) for name, fact in facts.items() if fact not in (None, "", [], {})}


def _measured(value: object, words: Callable[[float], str]) -> str | None:
    known = told.number(value)
    return None if known is None else words(known)


# --- a control directory ---


def from_control(control: Path, clock: Clock) -> Found:
    """What a control directory holds, be the job running, over or cleaned up."""
    found = Found(source=str(control), named=control.name.removeprefix("PanDA_Pilot-").partition(CONTROL)[0])
    with Inside(control) as inside:
        _read_journal(found, control, clock)
        if inside.exists(RECORD):
            found.record = found.load(RECORD, _read(found, inside, RECORD)) or found.record
        found.usage = _read(found, inside, USAGE)
        found.log = found.tail(_end(found, inside, OWN_LOG))
        _read_said(found, inside, control)
    return found


def _read_journal(found: Found, control: Path, clock: Clock) -> None:
    try:
        story = read_back(control / JOURNAL)
    except (OSError, JournalError) as error:
        found.remarks.append(f"the journal cannot be read: {error}")
        return
    found.open = not story.sealed
    if found.open:
        held = (control / LOCK).exists() and not try_lock(control)
        who = "a pilot holds it" if held else "no pilot holds it: `pilot recover` ends it"
        found.remarks.append(f"The job is not over; {who}.")
    if story.damage_b and found.open:
        found.remarks.append(f"The last {story.damage_b} bytes of the journal are damaged and left out.")
    _replay(found, story, clock)
    found.message = masked(next((each["raw"] for each in story.records if "raw" in each), {}), found.redactor)


def _replay(found: Found, story: Story, clock: Clock) -> None:
    """Let the machine walk through the job's life once more, noting where it stood when."""
    walk = Walk()
    try:
        for record in story.records:
            if "event" in record:
                walk.go(event_of(record))
    except (BadRecord, machine.InvalidTransition) as error:
        found.remarks.append(f"The journal can be followed only in part: {error}")
    if walk.course is None:
        return
    job = walk.course.job
    found.redactor.learn_from(job.environment)
    found.spans = walk.spans(clock.now() if found.open else None)
    found.remarks += [found.redactor.scrub(each) for each in walk.remarks]
    around = Surroundings(at=clock.now(), node="")
    record = {**record_of(job, around, found.redactor), "state": str(job.phase)}
    found.record, found.asked = masked(record, found.redactor), masked(asked_of(job), found.redactor)


@define(eq=False)
class Walk:
    """A job's life, step by step."""

    course: Course | None = None
    stops: list[tuple[str, str, float]] = field(factory=list)
    """Where the job came to: the name, the phase and when."""
    at: float = 0.0
    remarks: list[str] = field(factory=list)

    def go(self, event: e.JobEvent) -> None:
        """Take one event."""
        if self.course is None:
            if not isinstance(event, e.Accepted):
                return
            self.course = Course(job=event.value)
        self.course, _ = machine.step(self.course, event)
        if isinstance(event, e.Resumed):
            self.remarks.append(f"Another pilot took the job over: {event.error}")
        self.at = max(self.at, event.at)
        here = _place(self.course)
        if here and (not self.stops or here != self.stops[-1][:2]):
            self.stops.append((*here, self.at))

    def spans(self, now: float | None) -> tuple[Span, ...]:
        """Each stretch to the beginning of the next; the last one is open until ``now``, if that is given."""
        until = self.at if now is None else max(now, self.at)
        ends = [*(at for _, _, at in self.stops[1:]), until]
        last = len(self.stops) - 1
        return tuple(
            Span(name=name, phase=phase, at=at, lasted_s=end - at, open=now is not None and number == last)
            for number, ((name, phase, at), end) in enumerate(zip(self.stops, ends, strict=True))
        )


def _place(course: Course) -> tuple[str, str] | None:
    if course.stand is Stand.OVER:
        return None
    step = course.step.name if course.step else str(course.job.phase)
    return _STANDS.get(course.stand, step), str(course.job.phase)


def _read_said(found: Found, inside: Inside, control: Path) -> None:
    """What the payload said: from its directory while that is there, else from the last update."""
    workdir = control.with_name(control.name.removesuffix(CONTROL))
    sealed = segments(control / SEALED)
    if workdir != control and workdir.is_dir() and not workdir.is_symlink():
        with Inside(workdir) as there:
            found.said = {name: found.tail(_end(found, there, name)) for name in SAID if there.exists(name)}
    elif inside.exists(FINAL):
        body = told.table(found.load(FINAL, _read(found, inside, FINAL)).get("body"))
        found.said = {"the end of what it said": told.text(body.get("log_tail"))}
    for name, stretch in sealed.items():
        found.remarks += [f"{name} is sealed up to {stretch[-1].end} B, at {moment(stretch[-1].at)}."] * found.open
        if not found.said.get(name):
            found.said[f"{name}, as it was sealed"] = found.tail(joined(stretch[-2:])[-TAIL_B:])


def _read(found: Found, inside: Inside, name: str) -> bytes:
    return _opened(found, inside, name, 0, LARGEST_B + 1)


def _end(found: Found, inside: Inside, name: str) -> bytes:
    return _opened(found, inside, name, -TAIL_B, TAIL_B)


def _opened(found: Found, inside: Inside, name: str, start_b: int, size_b: int) -> bytes:
    try:
        with inside.open_read(name) as file:
            file.seek(max(file.seek(0, 2) + start_b, 0) if start_b else 0)
            return file.read(size_b)
    except FileNotFoundError:
        return b""
    except OSError as error:
        found.remarks.append(f"{name} cannot be read: {error}")
        return b""
