"""Updates of running jobs: one at a time for each job, what the server answers, and what holds when it does not."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial
from math import inf
from pathlib import Path
from threading import Event
from typing import Any

from attrs import define

from pilot_core.agent.jobs import HeldJob
from pilot_core.agent.loop import Loop
from pilot_core.agent.post import Poster
from pilot_core.agent.silence import Silence
from pilot_core.clock import Clock
from pilot_core.config.schema import ReportOptions
from pilot_core.control.job import JobControl
from pilot_core.errors import Code, PilotError
from pilot_core.io.logs import bound
from pilot_core.machine import events as e
from pilot_core.model.job import Job
from pilot_core.spec.drivers import Reply

AGAIN_S = 60.0
"""A server that is out of reach is looked for after this time, then after twice that, up to the usual time."""
DOUBLINGS = 16
"""So often at most; with that any usual time is reached."""
RENEW_AGAIN_S = 600.0
"""After a renewal that failed, the next one comes then."""
log = logging.getLogger(__name__)


@define(eq=False)
class Reporting:
    """Sends updates; lives in the loop's thread, and gives the sending to workers."""

    jobs: JobControl
    loop: Loop[Any, Any, Any]
    poster: Poster
    clock: Clock
    within: Callable[..., None]
    """Begins a piece of work within a budget."""
    busy: Callable[[object], bool]
    held: Mapping[str, HeldJob]
    budget_s: float
    soften: Callable[[HeldJob], None]
    """Asks a payload to come to an early end of its own."""
    silence: Silence

    def report(self, job: Job) -> None:
        """Send an update; if one is under way, the latest follows it and what lies between is left out."""
        held = self.held[job.id]
        key = (held.id, "report")
        if self.busy(key):
            held.to_report = job
            return
        held.updated = Event()
        send, end = partial(self._send, held, job), partial(self._answered, held)
        self.within(self.budget_s, key, f"report/{held.id}", send, end)

    def deliver(self, path: str) -> None:
        """Try to deliver the last word on a refused job."""
        send, end = partial(self.jobs.deliver, Path(path)), partial(self._delivered, path)
        self.within(self.budget_s, f"letter/{path}", f"letter/{Path(path).stem}", send, end)

    def _delivered(self, path: str, answer: PilotError | None) -> None:
        self.poster.post(e.LetterTried(path=path, error=answer))

    def renew(self) -> None:
        """Have what opens the server renewed, now and whenever the communicator wants it."""
        self.within(self.budget_s, "renew", "renewal", self.jobs.renew, self._renewed)

    def _renewed(self, answer: float | PilotError | None) -> None:
        if isinstance(answer, PilotError):
            log.warning("what opens the server was not renewed: %s", answer)
            answer = RENEW_AGAIN_S
        if answer is not None:
            self.loop.after("renew", answer, self.renew)

    def _send(self, held: HeldJob, job: Job) -> Reply:
        with bound(job=job.id):
            return self.jobs.report(job, held.workdir, debug=held.debug)

    def _answered(self, held: HeldJob, answer: Reply | PilotError) -> None:
        if held.updated is not None:
            held.updated.set()
            held.updated = None
        if isinstance(answer, PilotError):
            log.warning("job %s: an update was not delivered: %s", held.id, answer)
            self.silence.begin(answer)
            self._lost(held, answer)
        else:
            self.silence.end()
            self._obey(held, answer)
        following, held.to_report = held.to_report, None
        if following is not None and held.id in self.held:
            self.report(following)

    def _obey(self, held: HeldJob, reply: Reply) -> None:
        if held.lost_since is not None:
            log.warning("job %s: the server answers again", held.id)
            held.lost_since, held.lost_updates = None, 0
        if reply.debug is not None:
            held.debug = reply.debug
        if reply.heartbeat_s is not None and reply.heartbeat_s != held.heartbeat_s:
            held.heartbeat_s = reply.heartbeat_s
            self.poster.post(e.HeartbeatSet(job=held.id, every_s=reply.heartbeat_s))
        if reply.soft_stop is not None and held.soft_stop is None:
            held.soft_stop = reply.soft_stop
            self.soften(held)
        if reply.stop is not None:
            self.poster.post(e.StopAsked(job=held.id, error=reply.stop))

    def _lost(self, held: HeldJob, error: PilotError) -> None:
        """Go on as the site's policy says, and look for the server again before long if that may help."""
        if held.id not in self.held:
            return
        now, options = self.clock.mono(), held.settings.of(ReportOptions)
        held.lost_since = now if held.lost_since is None else held.lost_since
        held.lost_updates += 1
        left_s = held.lost_since + options.lost_s - now if options.when_lost == "stop-after" else inf
        if left_s <= 0:
            told = f"the server has not answered for {now - held.lost_since:.0f} s, and report.when_lost is stop-after"
            self.poster.post(e.StopAsked(job=held.id, error=PilotError(Code.COMMUNICATIONFAILURE, told)))
            return
        usual_s = held.heartbeat_s or options.heartbeat_s
        again_s = inf if error.facts.get("permanent") else _pause_s(held.lost_updates, usual_s)
        if min(again_s, left_s) < inf:
            self.loop.after(f"{held.id}/lost", min(again_s, left_s), partial(self._look_again, held))

    def _look_again(self, held: HeldJob) -> None:
        if held.id in self.held and held.lost_since is not None:
            self.poster.post(e.HeartbeatDue(job=held.id))


def _pause_s(tries: int, usual_s: float) -> float:
    """How long to let a server be that took none of so many updates; all pilots that miss it do not return at once."""
    from random import uniform

    return min(AGAIN_S * 2.0 ** min(tries - 1, DOUBLINGS), usual_s) * uniform(0.75, 1.25)
