"""Processes before and after a payload, one after another, each within its own limit."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from attrs import frozen

from pilot_core.errors import ErrorCode, PilotError
from pilot_core.io import process as p
from pilot_core.model.payload import Outcome

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
