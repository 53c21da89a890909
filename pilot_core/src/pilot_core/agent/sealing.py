"""Sealing what payloads say, as long as they run."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

from attrs import define, field

from pilot_core.agent.jobs import HeldJob
from pilot_core.agent.loop import Loop
from pilot_core.agent.workers import Workers
from pilot_core.config.schema import PayloadOptions
from pilot_core.control.archive import SEALED
from pilot_core.control.segments import Sealer
from pilot_core.errors import PilotError

log = logging.getLogger(__name__)


@define(eq=False)
class Sealing:
    """Has the outputs of running payloads sealed; lives in the loop's thread, and gives the sealing to workers."""

    loop: Loop[Any, Any, Any]
    workers: Workers
    sealers: dict[str, Sealer] = field(factory=dict)

    def begin(self, held: HeldJob) -> None:
        """Seal what this job's payload says, from now on."""
        self.loop.after(f"{held.id}/seal", held.settings.of(PayloadOptions).seal_s, partial(self._seal, held))

    def end(self, job: str) -> None:
        """The payload has ended."""
        self.loop.drop(f"{job}/seal")
        self.sealers.pop(job, None)

    def _seal(self, held: HeldJob) -> None:
        self.begin(held)
        key = (held.id, "seal")
        if not self.workers.busy(key):
            self.workers.begin(key, f"seal/{held.id}", self._sealer(held).seal, partial(_sealed, held.id))

    def _sealer(self, held: HeldJob) -> Sealer:
        if held.id not in self.sealers:
            most_b = held.settings.of(PayloadOptions).sealed_b
            self.sealers[held.id] = Sealer(held.workdir, held.control / SEALED, most_b)
        return self.sealers[held.id]


def _sealed(job: str, answer: PilotError | None) -> None:
    if answer is not None:
        log.warning("job %s: what its payload says was not sealed: %s", job, answer)
