"""Warning payloads: before their time is over, and when their slot is wanted for other work."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from signal import SIGUSR1
from typing import Any

from attrs import define, field

from pilot_core.agent.jobs import HeldJob
from pilot_core.agent.loop import Loop
from pilot_core.agent.workers import Workers
from pilot_core.errors import PilotError
from pilot_core.machine import events as e
from pilot_core.model.job import RUNNING, Job
from pilot_core.plugins.hooks import Hooks
from pilot_core.spec import payload as payload_hooks

AGAIN_S = 1.0
"""A payload in which nobody listens yet is warned after this time."""
log = logging.getLogger(__name__)


@define(eq=False)
class Warner:
    """Warns running payloads; lives in the loop's thread, and has workers ask plugins and look for who listens."""

    loop: Loop[Any, Any, Any]
    workers: Workers
    hooks: Hooks
    post: Callable[[e.JobEvent], None]
    running: dict[str, tuple[Job, int]] = field(factory=dict)

    def begin(self, held: HeldJob, job: Job, pid: int, limit_s: float | None, now: float) -> None:
        """Warn this payload before its time is over, if it asked for that; ``now`` is by the wall clock."""
        self.running[job.id] = job, pid
        if held.soft_stop is not None:
            self.soften(held)
        elif job.checkpoint is not None and limit_s is not None:
            ran_s = max(now - job.times.get(RUNNING, now), 0.0)
            after_s = limit_s - ran_s - job.checkpoint.warning_s
            self.loop.after(f"{job.id}/warn", max(after_s, 0.0), partial(self._warn, job, pid))

    def end(self, job: str) -> None:
        """The payload has ended."""
        self.running.pop(job, None)
        self.loop.drop(f"{job}/warn")
        self.loop.drop(f"{job}/soft")

    # --- an early end ---

    def soften(self, held: HeldJob) -> None:
        """Have a payload come to an early end of its own; one that has not begun yet is asked then."""
        if held.id in self.running:
            job, pid = self.running[held.id]
            ask, end = partial(self._ask, job, held.workdir), partial(self._softened, held, job, pid)
            self.workers.begin((job.id, "soft"), f"soft stop/{job.id}", ask, end)

    def _ask(self, job: Job, workdir: Path) -> float | None:
        grace_s = self.hooks.first(payload_hooks.pilot_payload_soft_stop, job=job, workdir=workdir)
        return None if grace_s is None else max(float(grace_s), 0.0)

    def _softened(self, held: HeldJob, job: Job, pid: int, grace_s: float | PilotError | None) -> None:
        if isinstance(grace_s, PilotError):
            log.warning("job %s: its payload was not asked to end early: %s", job.id, grace_s)
            return
        if held.id not in self.running:
            return
        if grace_s is None and job.checkpoint is not None:
            self._warn(job, pid)
            grace_s = job.checkpoint.warning_s
        if grace_s is None:
            log.warning("job %s goes on, as its payload cannot end early: %s", job.id, held.soft_stop)
            return
        assert held.soft_stop is not None
        log.warning("job %s: its payload has %g s to end early: %s", job.id, grace_s, held.soft_stop)
        stop = e.StopAsked(job=job.id, error=held.soft_stop)
        self.loop.after(f"{job.id}/soft", grace_s, partial(self.post, stop))

    # --- the signal ---

    def _warn(self, job: Job, pid: int) -> None:
        from pilot_core.io.listening import signal_listeners

        self.loop.after(f"{job.id}/warn", AGAIN_S, partial(self._warn, job, pid))
        key = (job.id, "warn")
        if not self.workers.busy(key):
            signal = partial(signal_listeners, pid, SIGUSR1)
            self.workers.begin(key, f"warn/{job.id}", signal, partial(self._warned, job.id))

    def _warned(self, job: str, heard: int | PilotError) -> None:
        if isinstance(heard, PilotError):
            log.warning("job %s: its payload could not be warned: %s", job, heard)
        elif heard:
            log.info("job %s: the payload is warned that it is to end", job)
            self.loop.drop(f"{job}/warn")
