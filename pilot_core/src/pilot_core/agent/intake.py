"""Asking for work and taking it in: from a raw message to a job that is on disk and has a keeper."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from attrs import frozen

from pilot_core.agent.jobs import HeldJob, hold, let_go
from pilot_core.agent.loop import Loop
from pilot_core.agent.post import Poster
from pilot_core.agent.recover import LeftJob
from pilot_core.agent.setup import Setup
from pilot_core.config.layers import ConfigError, Settings
from pilot_core.config.schema import Budgets, ReportOptions
from pilot_core.control.job import JobControl
from pilot_core.errors import Code, PilotError
from pilot_core.io.process import Starter
from pilot_core.machine import commands as c
from pilot_core.machine import events as e
from pilot_core.machine.agent import Agent
from pilot_core.machine.phases import budgeted
from pilot_core.model.job import Job
from pilot_core.redact import Redactor
from pilot_core.spec.drivers import Workflow

WRITTEN_S = 60.0
log = logging.getLogger(__name__)


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

    def ask(self, order: c.Ask) -> e.Answered:
        """Ask once, and take in what came."""
        offer = self.jobs.ask(order.free)
        for raw in offer.jobs:
            self._take(raw)
        self.poster.flush(WRITTEN_S)
        return e.Answered(jobs=len(offer.jobs), again_s=offer.again_s, over=offer.over, stay=offer.stay)

    def _take(self, raw: Mapping[str, object]) -> None:
        try:
            job = self.jobs.read(raw)
            settings = self._settings(job)
            held = hold(self.root, job, raw, settings, self.starter, self.redactor)
        except PilotError as error:
            log.error("a job is refused: %s", error)
            self.jobs.refuse(raw, error)
            self.poster.post(e.JobRefused(error=error))
            return
        self.jobs.taken(raw)
        self.loop.soon(partial(self.admit, held))
        self.poster.keep(held.id, held.journal)
        self.poster.post(self._accepted(job, settings))

    def refuse_left(self, left: LeftJob, died: PilotError) -> None:
        """Give back, or else report, a job whose pilot died before it began; leave nothing of it but its journal."""
        log.warning("%s: a job was left before it began: %s", left.control, died)
        if left.raw and not self.jobs.give_back(left.raw):
            self.jobs.refuse(left.raw, died)
        let_go(left.control)

    def _settings(self, job: Job) -> Settings:
        try:
            return self.setup.settings_of(job)
        except ConfigError as error:
            raise PilotError(Code.CONVERSIONFAILURE, str(error)) from error

    def _accepted(self, job: Job, settings: Settings) -> e.Accepted:
        report = settings.of(ReportOptions)
        return e.Accepted(
            job=job.id,
            value=job,
            steps=budgeted(self.workflow.steps, settings.of(Budgets).steps),
            communicator=self.setup.communicator.name,
            heartbeat_s=report.heartbeat_s,
            final_budget_s=report.final_budget_s,
        )
