"""Asking for work and taking it in: from a raw message to a job that is on disk and has a keeper."""

from __future__ import annotations

import enum
import errno
import logging
import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from attrs import evolve, field, frozen

from pilot_core.agent.jobs import HeldJob, control_of, hold, let_go
from pilot_core.agent.loop import Loop
from pilot_core.agent.post import Poster
from pilot_core.agent.recover import LeftJob, check_hearer, end_left
from pilot_core.agent.setup import Setup
from pilot_core.agent.workers import answer
from pilot_core.config.layers import ConfigError, Settings
from pilot_core.config.schema import Budgets, PayloadOptions, PilotOptions, ReportOptions
from pilot_core.control.job import JobControl
from pilot_core.errors import Code, PilotError
from pilot_core.io.cancel import CancelFlag
from pilot_core.io.files import Lock, Taken
from pilot_core.io.process import Starter
from pilot_core.machine import commands as c
from pilot_core.machine import events as e
from pilot_core.machine.agent import Agent
from pilot_core.machine.phases import budgeted
from pilot_core.model.job import Job
from pilot_core.model.queue import Queue
from pilot_core.redact import Redactor
from pilot_core.spec.drivers import Offer, Workflow

WRITTEN_S = 60.0
DOUBLE_S = 5.0
"""After a job that has the id of one under way, no other is asked for in this time."""
log = logging.getLogger(__name__)


class Settled(enum.Enum):
    """What became of a raw job: this pilot answers for it, somebody else does, or it comes again."""

    HERE = "here"
    BACK = "back"
    LATER = "later"


@frozen(eq=False)
class Intake:
    """Works in a worker thread; the loop hears of each job before it hears of the answer."""

    setup: Setup
    root: Path
    starter: Starter
    redactor: Redactor
    poster: Poster
    loop: Loop[Agent, e.Event, c.Command]
    jobs: JobControl
    workflow: Workflow
    admit: Callable[[HeldJob], None]
    left_s: Callable[[], float | None] = lambda: None
    """How long the pilot will be there."""
    waiting: dict[str, Mapping[str, object]] = field(factory=dict, init=False)
    """Raw jobs, by their ids, that are taken as soon as earlier attempts at them are over here."""

    def ask(self, order: c.Ask, given_up: CancelFlag) -> e.Answered:
        """Ask once, and take in what came; nothing of it once nobody waits for the answer any more."""
        offer = self._waited() or self.jobs.ask(evolve(order.free, time_s=self.left_s()))
        settled = [answer(partial(self._settle, raw, given_up)) for raw in offer.jobs]
        while not (self.poster.flush(WRITTEN_S) or self._is_over(given_up)):
            log.warning("the journals of new jobs are not written yet")
        jobs = sum(each not in (Settled.BACK, Settled.LATER) for each in settled)
        if Settled.LATER in settled:
            again_s = max(offer.again_s or 0.0, DOUBLE_S)
            return e.Answered(jobs=jobs, again_s=again_s, stay=True, behind=tuple(self.waiting))
        return e.Answered(jobs=jobs, again_s=offer.again_s, over=offer.over, stay=offer.stay)

    def _waited(self) -> Offer | None:
        """The jobs that have waited; while there are any, nobody is asked for more."""
        jobs = tuple(self.waiting.values())
        self.waiting.clear()
        return Offer(jobs=jobs) if jobs else None

    def _is_over(self, given_up: CancelFlag) -> bool:
        return given_up.is_set() or self.loop.ended

    def _settle(self, raw: Mapping[str, object], given_up: CancelFlag) -> Settled:
        """Take a job, refuse it or give it back."""
        read = answer(partial(self._read, raw))
        if isinstance(read, PilotError):
            return self._refuse(raw, read)
        held = answer(partial(self._hold, raw, *read, given_up))
        if isinstance(held, HeldJob):
            return self._take(raw, read[0], held)
        back = not held.facts.get("in_the_way") and self.jobs.give_back(raw)
        if held.code is Code.JOBALREADYRUNNING:
            return self._put_off(raw, read[0], held, back)
        if not back:
            return self._refuse(raw, held)
        log.error("a job cannot be taken here and is given back: %s", held)
        self.poster.post(e.JobRefused(error=held))
        return Settled.BACK

    def _put_off(self, raw: Mapping[str, object], job: Job, error: PilotError, back: bool) -> Settled:
        """Leave a job for later, with whoever gave it or here; what is under way is to say what it has to say."""
        log.warning("a job %s until another is over: %s", "is given back" if back else "waits", error)
        if not back:
            self.waiting[job.id] = raw
            self.poster.post(e.OfferedAgain(job=job.id))
        return Settled.LATER

    def _refuse(self, raw: Mapping[str, object], error: PilotError) -> Settled:
        log.error("a job is refused: %s", error)
        self._tell_end(raw, error)
        self.poster.post(e.JobRefused(error=error))
        return Settled.HERE

    def _tell_end(self, raw: Mapping[str, object], error: PilotError) -> bool:
        """Have the server hear of a job that was never begun, which may take a while; false if it never will."""
        refusal = self.jobs.refuse(raw, error, self.root)
        if refusal.waits_in is None:
            return refusal.told
        budget_s = self._final_budget_s(self.setup.settings.of(ReportOptions))
        self.poster.post(e.LetterWaits(job=refusal.job, path=str(refusal.waits_in), budget_s=budget_s))
        return True

    def _read(self, raw: Mapping[str, object]) -> tuple[Job, Queue, Settings]:
        job = self.jobs.read(raw)
        return job, *self._of_job(job)

    def _hold(
        self, raw: Mapping[str, object], job: Job, queue: Queue, settings: Settings, given_up: CancelFlag
    ) -> HeldJob:
        if self._is_over(given_up):
            late = f"job {job.id} came when nobody waited for it any more"
            raise PilotError(Code.EXCEEDEDMAXWAITTIME, late)
        self._check_double(job)
        try:
            return hold(self.root, job, raw, queue, settings, self.starter, self.redactor)
        except PilotError as error:
            error.facts["in_the_way"] = error.code is Code.MKDIR  # another directory of this very job's name
            raise
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            place = error.filename or control_of(self.root, job)
            code = Code.NOLOCALSPACE if full else Code.MKDIR
            raise PilotError(code, f"{place}: {error.strerror}") from error
        except Taken as error:
            raise PilotError(Code.MKDIR, str(error)) from error

    def _check_double(self, job: Job) -> None:
        """A job of an id that is being worked on here waits until that one is over, to the seal of its journal."""
        control = control_of(self.root, job)
        if not control.exists():
            return
        try:
            Lock(control / "lock").take().release()
        except Taken as taken:
            by = "this very pilot" if taken.pid == os.getpid() else "another pilot"
            told = f"{by} is working on another job {job.id} ({taken})"
            raise PilotError(Code.JOBALREADYRUNNING, told) from taken
        except OSError as error:
            log.debug("%s: %s", control, error)  # who makes the job's directories says what is wrong with it
        self.poster.flush(WRITTEN_S)

    def _take(self, raw: Mapping[str, object], job: Job, held: HeldJob) -> Settled:
        self.jobs.taken(raw)
        self.loop.soon(partial(self.admit, held))
        self.poster.begin(self._accepted(job, held.settings), held.journal)
        return Settled.HERE

    def refuse_left(self, left: LeftJob, died: PilotError) -> None:
        """Give back, or else report, a job whose pilot died before it began; leave nothing of it but its journal."""
        log.warning("%s: a job was left before it began: %s", left.control, died)
        check_hearer(left, self.setup.communicator.name)
        end_left(left.control, self.setup.settings.of(PayloadOptions).grace_s)
        if left.raw and not (self.jobs.give_back(left.raw) or self._tell_end(left.raw, died)):
            raise PilotError(Code.COMMUNICATIONFAILURE, "nobody could be told that this job never began")
        let_go(left.control)

    def _of_job(self, job: Job) -> tuple[Queue, Settings]:
        try:
            return self.setup.of_job(job)
        except ConfigError as error:
            raise PilotError(Code.CONVERSIONFAILURE, str(error)) from error

    def _final_budget_s(self, report: ReportOptions) -> float:
        holds = report.when_lost == "finish-and-hold"
        return self.setup.settings.of(PilotOptions).lifetime_s if holds else report.final_budget_s

    def _accepted(self, job: Job, settings: Settings) -> e.Accepted:
        report = settings.of(ReportOptions)
        return e.Accepted(
            job=job.id,
            value=job,
            steps=budgeted(self.workflow.steps, settings.of(Budgets).steps),
            communicator=self.setup.communicator.name,
            heartbeat_s=report.heartbeat_s,
            final_budget_s=self._final_budget_s(report),
        )
