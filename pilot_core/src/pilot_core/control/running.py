"""The run of a payload: from the order to start it to its true end, heard from whoever keeps its processes."""

from __future__ import annotations

import enum
import logging
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from pilot_core.clock import Clock
from pilot_core.control.around import GRACE_S, PAYLOAD, Later, Plan, Row
from pilot_core.control.grouped import places_of
from pilot_core.errors import Code, PilotError
from pilot_core.io import process as p
from pilot_core.machine import events as e
from pilot_core.model.job import RUNNING, Job
from pilot_core.model.payload import Outcome, Usage

log = logging.getLogger(__name__)


class Stage(enum.Enum):
    """How far a run has come."""

    STARTING = "starting"
    RUNNING = "running"
    LOOKING = "looking"
    CLEARING = "clearing"
    AFTER = "after"
    OVER = "over"


class Running:
    """One run under one ticket. Lives in the loop's thread; its answer is one end event.

    First what comes before the payload; then the payload, and what runs beside it. When nothing of that is left, what
    comes after it. A stop leaves out what has not begun.
    """

    def __init__(
        self,
        job: Job,
        ticket: int,
        processes: p.Processes | None,
        post: Callable[[e.JobEvent], None],
        clock: Clock,
        later: Later,
    ) -> None:
        self.job = job
        self.ticket = ticket
        self.stage = Stage.STARTING
        self.ran_s = 0.0
        """How long the payload ran for another pilot, as far as the wall clock knows."""
        self._processes = processes
        self._post = post
        self._clock = clock
        self._began = clock.now()
        self._later = later
        self._before = self._after = Row(Code.PREPROCESSFAILURE, ())
        self._sides: tuple[str, ...] = ()
        self._adopt = True
        self._stopped = False
        self._died: PilotError | None = None
        self._payload: tuple[int, int] | None = None
        self._outcome: Outcome | None = None
        self._error: PilotError | None = None

    def begin(self, plan: Plan) -> None:
        """Start the first of what is planned."""
        if self._processes is None:
            self._clear(_keeper_gone())
            return
        self._before = Row(Code.PREPROCESSFAILURE, plan.before, strict=True)
        self._after = Row(Code.POSTPROCESSFAILURE, plan.after)
        self._before.begin(self._processes, self._later, partial(self._start_payload, plan))

    def _start_payload(self, plan: Plan) -> None:
        """Start the processes beside the payload, then the payload, if all before it is well."""
        if self._before.enough:
            self._outcome = Outcome(exit_code=0, note=self._before.enough)
            self._after.stop()
        if self._processes is None or self._stopped or self._before.error or self._before.enough:
            self._clear(self._before.error)
            return
        self._sides = tuple(spec.name for spec in plan.beside)
        for spec in (*plan.beside, plan.payload):
            self._processes.start(spec)

    def resume(self, plan: Plan, control: Path, died: PilotError, adopt: bool) -> None:
        """Find out what became of a payload that another pilot started, as ``died`` tells of its end."""
        self._died, self._adopt = died, adopt
        self._after = Row(Code.POSTPROCESSFAILURE, plan.after)
        self._began = self.job.times.get(RUNNING, self._began)
        if self._processes is None:
            self._lose_keeper(control)
        else:
            self.stage = Stage.LOOKING
            self._processes.list()

    def cancel(self, grace_s: float) -> None:
        """Ask everything to end, and end it after the grace; a second call shortens the first."""
        if self._processes is not None and self.stage is not Stage.OVER:
            self._stopped = True
            self._before.stop()
            self._after.stop()
            self._processes.end(grace_s)

    def hear(self, event: p.ProcessEvent, control: Path) -> None:
        """Take news of the processes."""
        if self._before.hear(event) or self._after.hear(event):
            return
        match event:
            case p.Started(name=name) if name == PAYLOAD:
                self._started(event)
            case p.Refused(name=name) if name == PAYLOAD:
                self._clear(PilotError(Code.PAYLOADEXECUTIONFAILURE, f"the payload did not start: {event.error}"))
            case p.Refused() | p.Complaint():
                log.warning("job %s: %s", self.job.id, event.error)
            case p.Ended(name=name) if name == PAYLOAD and self.stage is not Stage.LOOKING:
                self._ended(event)
            case p.Listed():
                self._listed(event, control)
            case p.Cleared(names=None) if self.stage is Stage.CLEARING:
                self._cleared()
            case p.Gone():
                self._lose_keeper(control)

    def _lose_keeper(self, control: Path) -> None:
        """The keeper of these processes is dead: what it wrote down counts, and what still runs has no owner."""
        from pilot_core.io.own_group import kill_group
        from pilot_core.io.strays import end_strays

        self._processes = None
        command = self.job.command
        end_strays(command.env.get(p.MARK, "") if command else "", self._payload)
        kill_group(places_of(self.job))
        self._conclude(p.ended(control))

    def _started(self, event: p.Started) -> None:
        self.stage = Stage.RUNNING
        self._payload = (event.pid, event.start_ticks) if event.start_ticks else None
        self._began = event.at
        ticks = event.start_ticks or 0
        self._post(e.PayloadStarted(job=self.job.id, ticket=self.ticket, pid=event.pid, start_ticks=ticks))

    def _ended(self, event: p.Ended) -> None:
        self._outcome = _outcome(event, self._began)
        self._clear(self._error or _flood(event))

    def _clear(self, error: PilotError | None) -> None:
        """Let nothing that the payload left behind outlive it."""
        self._error = error
        self.stage = Stage.CLEARING
        if self._processes is None:
            self._finish()
        elif self._sides:
            self._processes.end(GRACE_S)
        else:
            self._processes.sweep()

    def _cleared(self) -> None:
        """Go on with what comes after the payload, or come to the end."""
        if self._processes is None or self._after.over or self._outcome is None or self._error:
            self._finish()
            return
        self.stage = Stage.AFTER
        self._after.begin(self._processes, self._later, self._done_after)

    def _done_after(self) -> None:
        failed = self._after.error if self._outcome and self._outcome.clean else None
        self._clear(self._error or failed)

    def _finish(self) -> None:
        if self.stage is Stage.OVER:
            return
        self.stage = Stage.OVER
        if self._outcome is None:
            error = self._error or PilotError(Code.PAYLOADEXECUTIONFAILURE, "the payload did not start")
            self._post(e.WorkFailed(job=self.job.id, ticket=self.ticket, error=error))
            return
        errors = () if self._error is None else (self._error,)
        none = () if self._before.enough else None
        result = e.Result(outcome=self._outcome, errors=errors, outputs=none)
        self._post(e.WorkDone(job=self.job.id, ticket=self.ticket, result=result))

    # --- after a crash ---

    def _listed(self, listed: p.Listed, control: Path) -> None:
        running = [each for each in listed.running if each.name == PAYLOAD]
        if not running:
            ends = (*p.ended(control), *listed.ended)
            self._after.know(end for end in ends if isinstance(end, p.Ended))
            self._conclude(ends)
            return
        self._sides = tuple(each.name for each in listed.running if each.name != PAYLOAD)
        self._started(running[0])
        self.ran_s = max(self._clock.now() - running[0].at, 0.0)
        if not self._adopt:
            self._error = self._died
            self.cancel(GRACE_S)

    def _conclude(self, ends: Iterable[p.Ended | p.Orphaned]) -> None:
        """Of ends that were told or written down, the payload's last counts."""
        if self.stage is Stage.AFTER:
            self._error = self._error or _keeper_gone()
        if self.stage in (Stage.OVER, Stage.CLEARING, Stage.AFTER):
            self._finish()
            return
        payload = [each for each in ends if isinstance(each, p.Ended) and each.name == PAYLOAD]
        if payload:
            self._outcome = _outcome(payload[-1], self._began)
            self._clear(self._died if payload[-1].orphaned else _flood(payload[-1]))
        else:
            self._clear(self._died or _keeper_gone())


def _keeper_gone() -> PilotError:
    return PilotError(Code.INTERNALPILOTPROBLEM, "the keeper of the job's processes is gone")


def _flood(event: p.Ended) -> PilotError | None:
    """What is to be said of one who wrote more than it may."""
    if not event.flooded:
        return None
    told = f"{Path(event.flooded).name} was longer than payload.output_b allows; it is cut there"
    return PilotError(Code.STDOUTTOOBIG, told)


def _outcome(event: p.Ended, began: float) -> Outcome:
    usage = Usage(
        cpu_user_s=event.tree_utime_s,
        cpu_system_s=event.tree_stime_s,
        rss_peak_b=event.maxrss_b,
    )
    wall_s = event.at - began if event.started_mono is None else event.mono - event.started_mono
    return Outcome(
        exit_code=event.status,
        signal=event.signal,
        wall_s=max(wall_s, 0.0),
        usage=usage,
        begun=event.begun,
    )
