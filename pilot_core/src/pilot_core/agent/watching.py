"""Letting monitors look at payloads, as long as they run, and stopping those that break a rule."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from attrs import define

from pilot_core.agent.jobs import HeldJob
from pilot_core.agent.loop import Loop
from pilot_core.agent.workers import Workers
from pilot_core.clock import Clock
from pilot_core.control.monitor import MonitorControl, Watch
from pilot_core.errors import PilotError
from pilot_core.io.logs import bound
from pilot_core.machine import events as e
from pilot_core.model.job import Job
from pilot_core.model.payload import Usage

log = logging.getLogger(__name__)


@define(eq=False)
class Watching:
    """Has monitors look at running payloads; lives in the loop's thread, and gives the looks to workers.

    What a monitor has announced stops a payload by a timer: that needs neither a thread nor another look.
    """

    loop: Loop[Any, Any, Any]
    workers: Workers
    monitors: MonitorControl
    post: Callable[[e.JobEvent], None]
    clock: Clock

    def begin(self, held: HeldJob, job: Job, pid: int, limit_s: float | None) -> None:
        """Let monitors look from now on, for the first time when its time is over at the latest."""
        held.watch = self.monitors.begin(job, held.queue, held.workdir, pid, held.settings, held.ran_s)
        self._look_later(held, limit_s)

    def end(self, held: HeldJob) -> None:
        """The payload has ended."""
        self.loop.drop(f"{held.id}/look")
        self.loop.drop(f"{held.id}/breach")
        if held.watch is not None:
            held.watch.end()
            held.watch = None

    def _look_later(self, held: HeldJob, at_latest_s: float | None = None) -> None:
        pause_s = held.watch.pause_s if held.watch else 0.0
        after_s = pause_s if at_latest_s is None else min(pause_s, at_latest_s)
        self.loop.after(f"{held.id}/look", after_s, partial(self._look, held, self.clock.mono() + after_s))

    def _look(self, held: HeldJob, due: float) -> None:
        if held.watch is not None:
            held.watch.late_s = max(self.clock.mono() - due, 0.0)
            self._look_later(held)
            if not self.workers.busy((held.id, "look")):
                look, end = partial(_look, held.watch, held.id), partial(self._looked, held)
                self.workers.begin((held.id, "look"), f"monitors/{held.id}", look, end)

    def _looked(self, held: HeldJob, answer: tuple[Usage, tuple[PilotError, ...]] | PilotError) -> None:
        if isinstance(answer, PilotError):
            log.warning("job %s: monitors did not look: %s", held.id, answer)
            return
        usage, breaches = answer
        self.post(e.Sampled(job=held.id, usage=usage))
        for breach in breaches[:1]:
            self._stop(held, breach)
        if held.watch is not None:
            self._await_breach(held, held.watch)
            if held.watch.again_s is not None:
                self._look_later(held, held.watch.again_s)

    def _await_breach(self, held: HeldJob, watch: Watch) -> None:
        """Stop it when the first of what was announced comes."""
        at, breach = min(watch.coming.values(), default=(0.0, None), key=lambda coming: coming[0])
        if breach is None:
            self.loop.drop(f"{held.id}/breach")
        else:
            after_s = max(at - self.clock.mono(), 0.0)
            self.loop.after(f"{held.id}/breach", after_s, partial(self._stop, held, breach))

    def _stop(self, held: HeldJob, breach: PilotError) -> None:
        self.post(e.StopAsked(job=held.id, error=breach))


def _look(watch: Watch, job: str) -> tuple[Usage, tuple[PilotError, ...]]:
    with bound(job=job):
        usage, breaches = watch.look()
        return usage, tuple(breaches)
