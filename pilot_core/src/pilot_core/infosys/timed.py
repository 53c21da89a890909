"""Information sources that are asked within a time that all have together: one that hangs is left behind.

For the facts of the queue all are asked at once, so that none has to wait for another but for one that may be enough.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Final

from attrs import define

from pilot_core.errors import Code, PilotError
from pilot_core.plugins.guard import Guard, PluginFailed, PluginRef
from pilot_core.plugins.hands import Hands
from pilot_core.plugins.patience import Patience
from pilot_core.spec.drivers import InfoSource

LEAST_S: Final = 2.0
"""Whoever is asked when the time is over has this, as a file at hand needs no more."""
Facts = Mapping[str, object] | None


@define(eq=False)
class Allowance:
    """So long all sources together may take, from the first question until they rest."""

    limit_s: float
    until: float | None = None

    def left_s(self) -> float:
        """What is left of it, and not quite nothing; the first who asks begins it."""
        now = time.monotonic()
        if self.until is None:
            self.until = now + self.limit_s
        return max(self.until - now, LEAST_S)


class Timed(InfoSource):
    """A source that answers in time, or fails; a plugin's mistakes are its failures."""

    def __init__(self, plugin: PluginRef, source: InfoSource, guard: Guard, allowance: Allowance) -> None:
        super().__init__(source.settings)
        self.name = source.name  # type: ignore[misc]
        self._plugin, self._source, self._guard, self._allowance = plugin, source, guard, allowance
        self._asked: Patience | None = None
        self._hands = Hands()
        self._early = ""
        """The queue that it is asked for already."""

    def begin(self, name: str) -> None:
        """Ask for this queue already now, beside the other sources."""
        if self._early != name and not self._hangs:
            self._ask("queue", partial(self._source.queue, name))
            self._early = name

    def queue(self, name: str) -> Facts:
        """What the source knows of this queue."""
        if self._early != name:
            self._ask("queue", partial(self._source.queue, name))
        self._early = ""
        return self._answer()

    def storage(self, name: str) -> Facts:
        """What the source knows of this storage endpoint."""
        self._ask("storage", partial(self._source.storage, name))
        return self._answer()

    def whence(self, name: str) -> tuple[str, float | None]:
        """As the source says."""
        return self._source.whence(name)

    def enough(self) -> bool:
        """As the source says."""
        return self._source.enough()

    def rest(self) -> None:
        """Let the source rest, unless it hangs, and the thread that asked it end."""
        self._allowance.until = None
        if not self._hangs:
            self._source.rest()
        self._hands.close()

    @property
    def _hangs(self) -> bool:
        return self._asked is not None and self._asked.hangs

    def _ask(self, what: str, ask: Callable[[], Facts]) -> None:
        if self._hangs:
            raise self._late()
        call = partial(self._guard.call, self._plugin, what, ask)
        self._asked = Patience(call, f"source {self.name}", self._hands)

    def _answer(self) -> Facts:
        assert self._asked is not None
        try:
            answer: Facts = self._asked.wait(self._allowance.left_s())
        except TimeoutError:
            raise self._late() from None
        except PluginFailed as failed:
            raise PilotError(Code.PLUGINFAILED, str(failed)) from failed
        return answer

    def _late(self) -> PilotError:
        assert self._asked is not None
        told = f"source {self.name} gives no answer, and hangs in {self._asked.stands}"
        limit = f"all sources together have {self._allowance.limit_s:g} s (budgets.info_s)"
        return PilotError(Code.COMMUNICATIONFAILURE, f"{told}; {limit}")


def begin(name: str, sources: Iterable[InfoSource]) -> None:
    """Ask for this queue already now all up to the first source that may be enough."""
    for source in sources:
        if isinstance(source, Timed):
            source.begin(name)
        if source.enough():
            return
