"""The way of every event into the loop: stamped with both clocks, and written to its job's journal first."""

from __future__ import annotations

import logging
from functools import partial
from typing import TypeVar

from pilot_core.agent.loop import Call
from pilot_core.agent.recover import record_of
from pilot_core.agent.workers import answer
from pilot_core.clock import Clock
from pilot_core.io.box import Box
from pilot_core.io.journal import Journal, JournalWriter
from pilot_core.machine import events as e
from pilot_core.model.change import evolve

LONGEST_S = 60.0
E = TypeVar("E", bound=e.Event)
log = logging.getLogger(__name__)


class Poster:
    """Called from any thread. Journaled events come in the order in which they were posted; others at once."""

    def __init__(self, box: Box[e.Event | Call], clock: Clock) -> None:
        self._box = box
        self._clock = clock
        self._journals: dict[str, Journal] = {}
        self._writer: JournalWriter[e.Event | Call] = JournalWriter(box, self._heard_of_loss)

    def keep(self, job: str, journal: Journal) -> None:
        """Write this job's events here from now on."""
        self._journals[job] = journal

    def begin(self, accepted: e.Accepted, journal: Journal) -> None:
        """Have the loop see a new job when the disk holds it, and write what comes of it here from now on."""
        self.keep(accepted.job, journal)
        stamped = self.stamp(accepted)
        self._writer.begin(journal, record_of(stamped), stamped)

    def stamp(self, event: E) -> E:
        """The event with the time of now."""
        return evolve(event, at=self._clock.now(), mono=self._clock.mono())

    def post(self, event: e.Event) -> None:
        """Have the loop see this event, once it is written if it is a job's."""
        stamped = self.stamp(event)
        if isinstance(stamped, e.JobEvent) and (journal := self._journal_of(stamped)):
            self._writer.submit(journal, record_of(stamped), stamped)
        else:
            self._box.post(stamped)

    def write(self, event: e.JobEvent) -> None:
        """The same by a thread that may wait for the disk: it returns when the event is written, or after very long."""
        stamped = self.stamp(event)
        journal = self._journal_of(stamped)
        if journal is None:
            self._box.post(stamped)
        elif not self._writer.write(journal, record_of(stamped), stamped, LONGEST_S):
            log.warning("the journal of job %s was not written within %g s", event.job, LONGEST_S)

    def _journal_of(self, event: e.JobEvent) -> Journal | None:
        return self._journals.get(event.job) if event.journaled else None

    def end(self, over: e.JobOver, seal: bool) -> None:
        """Post the end of a job when its journal is sealed, or closed for a pilot that goes on with it."""
        journal = self._journals.pop(over.job, None)
        stamped = evolve(over, at=self._clock.now(), mono=self._clock.mono())
        if journal is None:
            self._box.post(stamped)
        elif seal:
            self._writer.seal(journal, {"over": over.job}, stamped)
        else:
            self._writer.leave(journal, stamped)

    def flush(self, limit_s: float) -> bool:
        """Wait until everything posted before is written; False if that took too long."""
        return self._writer.flush(limit_s)

    def sync(self, job: str) -> None:
        """Return when the disk holds what is written of this job."""
        if journal := self._journals.get(job):
            self._writer.sync(journal)

    def close(self, limit_s: float) -> bool:
        """Write what waits; whether it was written in time."""
        return self._writer.close(limit_s)

    def _heard_of_loss(self, journal: Journal, error: OSError) -> None:
        answer(partial(self._lost, journal, error))

    def _lost(self, journal: Journal, error: OSError) -> None:
        detail = f"{journal.path}: {error.strerror or error}"
        log.error("journal lost, the job goes on in memory: %s", detail)
        for job in [job for job, kept in self._journals.copy().items() if kept is journal]:
            self.post(e.JournalLost(job=job, detail=detail))
