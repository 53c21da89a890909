"""What runs for a payload; and of that, the processes before and after it, one after another, each within its limit."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from attrs import frozen

from pilot_core.config.schema import PayloadOptions
from pilot_core.control.grouped import places_of
from pilot_core.control.hidden import Hidden
from pilot_core.control.record import CONTAINED, SIDES
from pilot_core.errors import ErrorCode, PilotError
from pilot_core.io import process as p
from pilot_core.model.change import evolve
from pilot_core.model.job import Job
from pilot_core.model.payload import Command, Outcome, SideProcess, Sides
from pilot_core.model.records import unpack

PAYLOAD = "payload"
GRACE_S = 2.0
Later = Callable[[float, Callable[[], None]], None]


@frozen
class SideSpec:
    """One of them: its limit, and the exit codes by which it says that there is nothing to do."""

    spec: p.ProcessSpec
    limit_s: float
    enough: tuple[int, ...] = ()


@frozen(kw_only=True)
class Plan:
    """All that runs for a payload."""

    payload: p.ProcessSpec
    before: tuple[SideSpec, ...] = ()
    beside: tuple[p.ProcessSpec, ...] = ()
    after: tuple[SideSpec, ...] = ()


def plan_of(job: Job, workdir: Path, options: PayloadOptions, hidden: Hidden | None) -> Plan:
    """The payload that was prepared, and the processes around it; who is not trusted does not see what is hidden."""
    assert job.command is not None
    sides, groups = unpack(Sides, job.notes.get(SIDES, {})), tuple(places_of(job))

    def spec(name: str, command: Command, contained: bool, trusted: bool = False) -> p.ProcessSpec:
        around = None if contained or trusted else hidden
        covered = around.of(job, workdir, command.env) if around is not None else ()
        return evolve(spec_of(name, command, workdir, options, contained, covered), groups=groups)

    def beside(side: SideProcess) -> p.ProcessSpec:
        return spec(side.name, side.command, side.name not in sides.outside, side.trusted)

    def timed(side: SideProcess) -> SideSpec:
        return SideSpec(beside(side), side.limit_s, side.enough)

    payload = spec(PAYLOAD, job.command, CONTAINED in job.notes)
    if payload.contained:
        from pilot_core.control.contained import sign_of

        payload = evolve(payload, sign=sign_of(PAYLOAD, workdir))
    return Plan(
        payload=evolve(payload, kept=True),
        before=tuple(map(timed, sides.before)),
        beside=tuple(map(beside, sides.beside)),
        after=tuple(map(timed, sides.after)),
    )


def spec_of(
    name: str, command: Command, workdir: Path, options: PayloadOptions, contained: bool, hidden: tuple[str, ...]
) -> p.ProcessSpec:
    """A process in the job's directory, its output in files named after it."""
    return p.ProcessSpec(
        name=name,
        argv=command.argv,
        env=command.env,
        cwd=workdir,
        stdout=workdir / f"{name}.stdout",
        stderr=workdir / f"{name}.stderr",
        nofile=options.nofile,
        nproc=options.nproc,
        output_b=options.output_b,
        contained=contained,
        hidden=hidden,
    )


class Row:
    """Runs them in their order; the first failure is kept, and ends a ``strict`` row."""

    def __init__(self, code: ErrorCode, sides: Iterable[SideSpec], strict: bool = False) -> None:
        self.error: PilotError | None = None
        self.enough = ""
        """Which of them said that there is nothing to do."""
        self._code, self._strict = code, strict
        self._todo = [*sides]
        self._now: SideSpec | None = None
        self._late = False

    @property
    def over(self) -> bool:
        """Nothing of it is left to do."""
        return not (self._todo or self._now)

    def begin(self, processes: p.Processes, later: Later, done: Callable[[], None]) -> None:
        """Run those that have not run yet, then call ``done``."""
        self._processes, self._later, self._done = processes, later, done
        self._next()

    def stop(self) -> None:
        """Begin no more of them."""
        self._todo.clear()

    def know(self, ends: Iterable[p.Ended]) -> None:
        """Count those that have run for another pilot."""
        told = {end.name: end for end in ends}
        for side in [side for side in self._todo if side.spec.name in told]:
            self._todo.remove(side)
            self._judge(side, told[side.spec.name])

    def hear(self, event: p.ProcessEvent) -> bool:
        """Whether this is news of the one under way."""
        if not (self._now and isinstance(event, p.Ended | p.Refused) and event.name == self._now.spec.name):
            return False
        side, self._now = self._now, None
        if isinstance(event, p.Ended):
            self._judge(side, event)
        else:
            self._fail(f"{event.name} did not start: {event.error}")
        self._next()
        return True

    def _next(self) -> None:
        if not self._todo:
            self._done()
            return
        side = self._now = self._todo.pop(0)
        self._late = False
        self._processes.start(side.spec)
        self._later(side.limit_s, partial(self._end_late, side))

    def _end_late(self, side: SideSpec) -> None:
        if self._now is side:
            self._late = True
            self._processes.end(GRACE_S, [side.spec.name])

    def _judge(self, side: SideSpec, end: p.Ended) -> None:
        outcome = Outcome(exit_code=end.status, signal=end.signal)
        if self._late:
            self._fail(f"{end.name} was ended: it had {side.limit_s:g} s", trf=outcome.transform_code)
        elif end.flooded:
            self._fail(f"{end.name} wrote more than payload.output_b allows", trf=outcome.transform_code)
        elif end.status in side.enough:
            self.enough = f"{end.name} ended with {outcome}: there is nothing to do"
            self.stop()
        elif not outcome.clean:
            self._fail(f"{end.name} ended with {outcome}", trf=outcome.transform_code)

    def _fail(self, told: str, **facts: object) -> None:
        self.error = self.error or PilotError(self._code, told, **facts)
        if self._strict:
            self.stop()
