"""A world for the machine that performs commands in no time, so that every order of events is a list in a test.

A ``World`` keeps what the machine asked for and lets a test choose what happens next: ``turn`` hands one event to the
machine, ``write`` lets the journals' writer get one further, ``finish`` ends a piece of work, ``tick`` lets time pass,
``crash`` kills the pilot. After each turn it checks, in books of its own, what must hold whatever the order was.
"""

from __future__ import annotations

import json
from collections import deque

from attrs import define, evolve, field

from pilot_core.agent.recover import event_of, record_of, replay
from pilot_core.errors import Code, PilotError
from pilot_core.machine import commands as c
from pilot_core.machine import events as e
from pilot_core.machine.agent import Agent, step, take_over
from pilot_core.machine.course import Course, Stand
from pilot_core.machine.final import CLEAN_UP, CONCLUDE, WAITS_IN
from pilot_core.machine.job import FINAL_RESERVE_S
from pilot_core.machine.phases import Step
from pilot_core.machine.pilot import Mode, Pilot
from pilot_core.model.files import Receipt
from pilot_core.model.job import FAILED, FINISHED, Job
from pilot_core.model.payload import Usage

Key = tuple[str, int]


@define(eq=False)
class World:
    """What lies outside the machine, and the machine."""

    pilot: Pilot
    agent: Agent = field(init=False)
    at: float = 1_800_000_000.0
    mono: float = 1000.0
    box: deque[e.Event] = field(factory=deque)
    """Events that the machine is about to see."""
    writing: deque[e.Event] = field(factory=deque)
    """Events that are not yet in their journals."""
    journals: dict[str, list[str]] = field(factory=dict)
    under_way: dict[Key, c.Begin] = field(factory=dict)
    timers: dict[str, tuple[float, e.Event]] = field(factory=dict)
    started: set[Key] = field(factory=set)
    """Works whose payload has started."""
    watched: set[str] = field(factory=set)
    asked: c.Ask | None = None
    told: dict[str, list[str]] = field(factory=dict)
    """Each job's phases."""
    over: dict[str, Job] = field(factory=dict)
    """Jobs that the machine let go."""
    unsealed: set[str] = field(factory=set)
    """Those of them whose last word is nowhere, so that another pilot takes them up."""
    exits: list[PilotError | None] = field(factory=list)
    said: list[str] = field(factory=list)
    story: list[object] = field(factory=list)
    """Events, and the commands they led to."""
    _seen: e.Event = field(factory=e.Event)
    _tickets: dict[str, int] = field(factory=dict)
    concludes: set[Key] = field(factory=set)
    """Works that were final updates."""
    _delivered: set[str] = field(factory=set)
    _kept: set[str] = field(factory=set)
    _receipts: dict[str, set[str]] = field(factory=dict)

    def __attrs_post_init__(self) -> None:
        self.agent = Agent(pilot=self.pilot)

    # --- what may happen ---

    def post(self, event: e.Event) -> None:
        """Let something happen: it is stamped, and written first if it is a job's."""
        stamped = evolve(event, at=self.at, mono=self.mono)
        journaled = isinstance(stamped, e.JobEvent) and stamped.journaled and stamped.job in self.journals
        journaled = journaled and getattr(stamped, "job", None) not in self.over
        (self.writing if journaled else self.box).append(stamped)

    def answer(self, *jobs: tuple[Job, tuple[Step, ...]], over: bool = False, again_s: float | None = None) -> None:
        """Answer the request for work that waits; the jobs come before the answer does."""
        self.asked = None
        for job, steps in jobs:
            self.journals[job.id] = []
            self.post(e.Accepted(job=job.id, value=job, steps=steps))
        while self.writing:
            self.write()
        self.post(e.Answered(jobs=len(jobs), over=over, again_s=again_s))

    def finish(self, key: Key, brought: e.Result | PilotError | None = None) -> None:
        """Let a piece of work end, well or badly."""
        del self.under_way[key]
        if isinstance(brought, PilotError):
            self.post(e.WorkFailed(job=key[0], ticket=key[1], error=brought))
        else:
            self.post(e.WorkDone(job=key[0], ticket=key[1], result=brought or e.Result()))

    def tick(self, after_s: float) -> None:
        """Let time pass, and timers go off that are due."""
        self.mono += after_s
        self.at += after_s
        for key in sorted(self.timers, key=lambda each: self.timers[each][0]):
            if self.timers[key][0] <= self.mono:
                self.post(self.timers.pop(key)[1])

    def write(self) -> None:
        """Let the writer get one further."""
        event = self.writing.popleft()
        if isinstance(event, e.JobOver):
            if event.job not in self.unsealed:
                del self.journals[event.job]
        elif isinstance(event, e.JobEvent):
            self.journals[event.job].append(json.dumps(record_of(event)))
        self.box.append(event)

    def turn(self) -> None:
        """Let the machine see one event, and do what it asks for."""
        self._seen = self.box.popleft()
        self.story.append(self._seen)
        self._learn(self._seen)
        self.agent, commands = step(self.agent, self._seen)
        for command in commands:
            self.story.append(command)
            getattr(self, f"_{type(command).__name__.lower()}")(command)
        self.check()

    def settle(self) -> None:
        """Let everything be seen that has happened, but for what comes after the end."""
        while (self.box or self.writing) and not self.exits:
            while self.writing:
                self.write()
            self.turn()
        if not self.exits:
            self._check_journals()

    def crash(self, mode: Mode = Mode.DRAINING) -> None:
        """Kill the pilot, and let another one take over what the journals tell."""
        self.story.append("crash")
        for mine in (self.box, self.writing, self.under_way, self.timers, self.started, self.watched, self.exits):
            mine.clear()
        self.asked = None
        self.journals = {job: lines for job, lines in self.journals.items() if lines}
        courses = [self.replayed(job) for job in self.journals]
        self._tickets = {course.job.id: course.ticket for course in courses}
        self.concludes = {key for key in self.concludes if key[1] <= self._tickets.get(key[0], 0)}
        self._receipts.clear()
        self._delivered.clear()
        self._kept.clear()
        self.unsealed.clear()
        for course in courses:
            self.over.pop(course.job.id, None)
            for line in self.journals[course.job.id]:
                self._learn(event_of(json.loads(line)))
        self.agent = take_over(evolve(self.pilot, mode=mode), courses)
        died = PilotError(Code.INTERNALPILOTPROBLEM, "the pilot died")
        for course in courses:
            self.post(e.Resumed(job=course.job.id, error=died))
        self.post(e.DrainAsked() if mode is Mode.DRAINING else e.Checked())

    def replayed(self, job: str) -> Course:
        """What a job's journal makes of it."""
        course = replay(event_of(json.loads(line)) for line in self.journals[job])
        assert course is not None
        return course

    def end(self, *, answers: bool = True, rounds: int = 1000) -> float:
        """Let everything come to its end, each work well, or none and all by timers alone; how long that took."""
        began = self.mono
        for _ in range(rounds):
            self.settle()
            if self.exits:
                return self.mono - began
            for key in [*self.under_way] if answers else ():
                self.finish(key)
            if answers and self.asked:
                self.answer(over=True)
            if not self.box and not self.writing:
                assert self.timers, self.tell("nothing will ever happen again")
                self.tick(max(min(due for due, _ in self.timers.values()) - self.mono, 0.0))
        raise AssertionError(self.tell("no end in sight"))

    def _learn(self, event: e.Event) -> None:
        if isinstance(event, e.WorkDone):
            stored = event.result.receipts
            if (event.job, event.ticket) in self.concludes:
                self._delivered.add(event.job)
            if WAITS_IN in event.result.notes:
                self._kept.add(event.job)
        else:
            stored = (event.receipt,) if isinstance(event, e.FileStored) else ()
        if isinstance(event, e.JobEvent):
            self._receipts.setdefault(event.job, set()).update(receipt.lfn for receipt in stored)

    # --- what the machine asks for ---

    def _begin(self, order: c.Begin) -> None:
        job, work = order.job.id, order.work
        assert not [key for key in self.under_way if key[0] == job], self.tell(f"two works at once: {order}")
        assert order.ticket > self._tickets.get(job, 0), self.tell("a ticket was given twice")
        assert order.budget_s is None or order.budget_s > 0, self.tell("a budget of nothing")
        self._tickets[job] = order.ticket
        self.under_way[job, order.ticket] = order
        if work not in {CONCLUDE, CLEAN_UP}:
            self._begin_step(order)
            return
        assert order.job.phase in {FINISHED, FAILED}, self.tell(f"{work} in phase {order.job.phase}")
        if work == CONCLUDE:
            assert job not in self._delivered, self.tell("reported twice")
            self.concludes.add((job, order.ticket))

    def _begin_step(self, order: c.Begin) -> None:
        course = self.agent.courses[order.job.id]
        assert course.step is not None
        assert course.step.does == order.work, self.tell(f"{order.work} is not the step")
        resumed = order.resumed and course.step.resumes
        assert course.step.always or not order.job.errors or resumed, self.tell(f"{order.work} after an error")
        if course.hurry_until is not None:
            assert self._seen.mono < course.hurry_until - FINAL_RESERVE_S, self.tell(f"{order.work} begins too late")

    def _cancel(self, order: c.Cancel) -> None:
        in_transit = [event for event in (*self.box, *self.writing) if isinstance(event, e.WorkDone | e.WorkFailed)]
        known = {*self.under_way, *((event.job, event.ticket) for event in in_transit)}
        assert (order.job, order.ticket) in known, self.tell("what is not under way was cancelled")

    def _abandon(self, order: c.Abandon) -> None:
        self.under_way.pop((order.job, order.ticket), None)

    def _report(self, order: c.Report) -> None:
        assert order.job.id not in self._delivered, self.tell("an update after the final one")

    def _watch(self, order: c.Watch) -> None:
        assert order.job.id not in self.watched, self.tell("watched twice")
        self.watched.add(order.job.id)

    def _unwatch(self, order: c.Unwatch) -> None:
        self.watched.remove(order.job)

    def _settimer(self, order: c.SetTimer) -> None:
        assert order.after_s >= 0, self.tell("a timer in the past")
        self.timers[order.key] = self.mono + order.after_s, order.event

    def _droptimer(self, order: c.DropTimer) -> None:
        self.timers.pop(order.key, None)

    def _post(self, order: c.Post) -> None:
        self.post(order.event)

    def _tell(self, order: c.Tell) -> None:
        self.told.setdefault(order.job.id, []).append(order.phase)

    def _forget(self, order: c.Forget) -> None:
        job = order.job.id
        assert job not in self.over, self.tell("over twice")
        assert not [key for key in self.under_way if key[0] == job], self.tell("over, and at work")
        assert job not in self.watched, self.tell("over, and watched")
        told = job in self._delivered or job in self._kept
        assert told or not order.seal, self.tell("sealed, though its last word is nowhere")
        if not order.seal:
            self.unsealed.add(job)
        self.over[job] = order.job
        self.writing.append(evolve(order.over, at=self.at, mono=self.mono))

    def _ask(self, order: c.Ask) -> None:
        assert self.asked is None, self.tell("asked twice")
        assert order.free.cores > 0, self.tell("asked for nothing")
        self.asked = order

    def _say(self, order: c.Say) -> None:
        self.said.append(order.text)

    def _exit(self, order: c.Exit) -> None:
        assert not self.exits, self.tell("ended twice")
        assert not self.agent.courses, self.tell("ended before its jobs")
        self.exits.append(order.error)

    # --- what must hold ---

    def check(self) -> None:
        """Fail, with the story, if anything does not hold that holds after every event."""
        self._check_slot()
        for course in self.agent.courses.values():
            assert self._goes_on(course), self.tell(f"{course.job.id} is in {course.stand} for ever")
        seen = self._seen
        if isinstance(seen, e.JobEvent) and (known := self.agent.courses.get(seen.job)) is not None:
            stored = {receipt.lfn for receipt in known.job.receipts}
            assert self._receipts.get(seen.job, set()) <= stored, self.tell(f"{seen.job} lost a receipt")

    def _check_journals(self) -> None:
        """Once everything written has been seen, a journal tells what the machine knows."""
        for job, course in self.agent.courses.items():
            if job in self.journals:
                made, live = journaled(self.replayed(job)), journaled(course)
                assert made == live, self.tell(f"the journal of {job} tells otherwise:\n{made}\n{live}")

    def _check_slot(self) -> None:
        slot = self.pilot.slot
        held = [order.job for key, order in self.under_way.items() if self._holds_slot(key)]
        assert sum(job.needs.cores for job in held) <= slot.cores, self.tell("too many cores")
        memory_b = sum(job.needs.memory_b or 0 for job in held)
        assert slot.memory_b is None or memory_b <= slot.memory_b, self.tell("too much memory")
        devices = [device for job in held for device in job.devices]
        assert len(devices) == len({*devices}), self.tell("one GPU for two")
        assert {*devices} <= {*slot.gpus}, self.tell("a GPU that is not there")
        for job in held:
            assert len(job.devices) == job.needs.gpu_count, self.tell(f"{job.id} has {job.devices}")

    def _holds_slot(self, key: Key) -> bool:
        course = self.agent.courses.get(key[0])
        return course is not None and course.step is not None and course.step.slot and course.ticket == key[1]

    def _goes_on(self, course: Course) -> bool:
        """A work has a timer, or no budget; a wait for the slot has a place in the line, or its end is on its way."""
        job, pilot = course.job.id, self.agent.pilot
        if any(isinstance(event, e.JobEvent) and event.job == job for event in (*self.box, *self.writing)):
            return True
        if course.stand is Stand.SLOT:
            return job in pilot.line
        endless = course.stand is Stand.WORK and course.step is not None and course.step.budget_s is None
        return course.key in self.timers or (endless and (job, course.ticket) in self.under_way)

    def tell(self, why: str) -> str:
        """A failure and all that led to it."""
        return "\n".join((why, *map(shown, self.story)))


def shown(told: object) -> str:
    """An event or a command in one short line: what it is, and to whom it happens."""
    words = [f"{told.mono:>12.2f} " if isinstance(told, e.Event) else " " * 16]
    words.append(told if isinstance(told, str) else type(told).__name__)
    for name in (
        "job",
        "ticket",
        "work",
        "key",
        "after_s",
        "budget_s",
        "hurry_s",
        "phase",
        "error",
        "event",
        "devices",
    ):
        value = getattr(told, name, None)
        value = getattr(value, "code", getattr(value, "id", value))
        if value not in (None, ()):
            words.append(f"{name}={type(value).__name__ if isinstance(value, e.Event) else value}")
    return " ".join(words)


def journaled(course: Course) -> Course:
    """A course without what no journal keeps."""
    notes = {name: note for name, note in course.job.notes.items() if name != "journal_lost"}
    usage = course.job.outcome.usage if course.job.outcome else Usage()
    return evolve(course, job=evolve(course.job, usage=usage, notes=notes), heartbeat_s=0.0)


def a_receipt(lfn: str, direction: str = "out") -> Receipt:
    """A receipt, where only the name matters."""
    return Receipt(lfn=lfn, direction=direction, url=f"kit://{lfn}", tool="kit", size_b=1)
