"""Warning payloads that asked for it, before their time is over."""

from __future__ import annotations

import logging
from functools import partial
from signal import SIGUSR1
from typing import Any

from attrs import define

from pilot_core.agent.loop import Loop
from pilot_core.agent.workers import Workers
from pilot_core.errors import PilotError
from pilot_core.model.job import RUNNING, Job

AGAIN_S = 1.0
"""A payload in which nobody listens yet is warned after this time."""
log = logging.getLogger(__name__)


@define(eq=False)
class Warner:
    """Warns running payloads; lives in the loop's thread, and has workers look for who listens."""

    loop: Loop[Any, Any, Any]
    workers: Workers

    def begin(self, job: Job, pid: int, limit_s: float | None, now: float) -> None:
        """Warn this payload before its time is over, if it asked for that; ``now`` is by the wall clock."""
        if job.checkpoint is not None and limit_s is not None:
            ran_s = max(now - job.times.get(RUNNING, now), 0.0)
            after_s = limit_s - ran_s - job.checkpoint.warning_s
            self.loop.after(f"{job.id}/warn", max(after_s, 0.0), partial(self._warn, job, pid))

    def end(self, job: str) -> None:
        """The payload has ended."""
        self.loop.drop(f"{job}/warn")

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
            log.info("job %s: the payload is warned that its time is nearly over", job)
            self.end(job)
