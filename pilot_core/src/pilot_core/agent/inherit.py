"""What a dead pilot left, taken up job by job: one that cannot be taken up stays as it is, and holds up no other."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from attrs import field, frozen

from pilot_core.agent.jobs import HeldJob, take_over
from pilot_core.agent.recover import LeftJob, check_hearer, left_jobs
from pilot_core.agent.workers import answer
from pilot_core.config.layers import ConfigError, Settings
from pilot_core.config.schema import PilotOptions
from pilot_core.control.outbox import Delivery
from pilot_core.errors import Code, PilotError
from pilot_core.io.files import Taken
from pilot_core.io.journal import JournalError
from pilot_core.machine.course import Course
from pilot_core.model.job import Job
from pilot_core.model.queue import Queue
from pilot_core.redact import Redactor

log = logging.getLogger(__name__)


@frozen(eq=False)
class Inheritance:
    """Jobs to go on with, jobs that never began, and the control directories of those that remain."""

    going_on: list[tuple[Course, HeldJob]] = field(factory=list)
    unbegun: list[LeftJob] = field(factory=list)
    remain: list[Path] = field(factory=list)
    refused: dict[Path, str] = field(factory=dict)
    """Where last reports waited that nobody takes any more, and why."""

    def hear(self, deliveries: Iterable[Delivery] | PilotError) -> None:
        """Say what became of the last reports that waited."""
        if isinstance(deliveries, PilotError):
            log.warning("what waits of past jobs was not settled: %s", deliveries)
            return
        for each in (delivery for delivery in deliveries if delivery.error is None):
            if each.newer is None:
                log.warning("job %s: its last report, which waited in %s, is delivered", each.job, each.path)
                continue
            told = f"job {each.job}: its last report came too late: attempt {each.newer} is in its place"
            self.refused[each.path] = f"{told}; nothing is to be done"
            log.warning("%s", self.refused[each.path])

    def leave(self, control: Path, why: PilotError) -> None:
        """Say that this job waits for somebody who mends what is wrong with it."""
        self.remain.append(control)
        mend = f"mend that and run `pilot recover {control.parent}`, or remove {control} to give the job up"
        log.error("%s is left as it is: %s; %s", control, why, why.facts.get("way_out", mend))

    def close(self) -> None:
        """Let go of all that was taken up."""
        for _, held in self.going_on:
            held.close()


def inherit(root: Path, of_job: Callable[[Job], tuple[Queue, Settings]], redactor: Redactor) -> Inheritance:
    """Take up what lies below a work directory."""
    inheritance = Inheritance()
    for left in left_jobs(root):
        if left.problem is not None:
            inheritance.leave(left.control, left.problem)
        elif left.course is None:
            inheritance.unbegun.append(left)
        else:
            held = answer(partial(_take_up, root, left, left.course.job, of_job, redactor))
            if isinstance(held, PilotError):
                inheritance.leave(left.control, held)
            else:
                inheritance.going_on.append((left.course, held))
    return inheritance


def _take_up(
    root: Path, left: LeftJob, job: Job, of_job: Callable[[Job], tuple[Queue, Settings]], redactor: Redactor
) -> HeldJob:
    try:
        queue, settings = of_job(job)
        check_hearer(left, settings.of(PilotOptions).communicator)
        return take_over(root, job, left.control, queue, settings, redactor)
    except (OSError, JournalError, Taken, ConfigError) as error:
        raise PilotError(Code.INTERNALPILOTPROBLEM, str(error)) from error
