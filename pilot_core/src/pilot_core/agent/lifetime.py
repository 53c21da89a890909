"""How long the pilot will be there: its own limit, the queue's, and the slot's, which is asked again."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

from attrs import define, field

from pilot_core.agent.loop import Loop
from pilot_core.agent.perform import Performer
from pilot_core.agent.post import Poster
from pilot_core.agent.setup import Setup
from pilot_core.clock import Clock
from pilot_core.config.schema import PilotOptions
from pilot_core.errors import Code, PilotError
from pilot_core.machine import events as e
from pilot_core.spec.drivers import Resource

ASK_S = 60.0
log = logging.getLogger(__name__)


@define(eq=False)
class Lifetime:
    """Stops the pilot early enough that all of a stop fits into what is left of the slot's life."""

    setup: Setup
    resource: Resource
    clock: Clock
    poster: Poster
    loop: Loop[Any, Any, Any]
    began_mono: float = field(init=False)
    until_mono: float = field(init=False)
    over: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self.began_mono = self.until_mono = self.clock.mono()

    @property
    def options(self) -> PilotOptions:
        """The pilot's own section."""
        return self.setup.settings.of(PilotOptions)

    def left_s(self) -> float:
        """Until the pilot stops."""
        return max(self.until_mono - self.clock.mono(), 0.0)

    def stop(self, error: PilotError, hurry_s: float) -> None:
        """Stop the pilot, once: a second time would shorten it."""
        if not self.over:
            self.over = True
            self.poster.post(e.HaltAsked(error=error, hurry_s=hurry_s))

    def begin(self, performer: Performer) -> None:
        """Before the first request for work, which tells it; and from then on, as an allocation may change."""
        self._learn(self._ask(), performer)
        if self.options.refill_s is not None:
            self.loop.after("refill", self.options.refill_s, partial(self.poster.post, e.RefillOver()))

    def _ask(self) -> float | None:
        return self.setup.hooks.guarded(self.setup.resource.plugin, "time_left_s", self.resource.time_left_s)

    def _ask_again(self, performer: Performer) -> None:
        name = "the question how long the slot lasts"
        performer.within(ASK_S, "time left", name, self._ask, partial(self._learn_again, performer=performer))

    def _learn_again(self, slot_s: float | PilotError | None, performer: Performer) -> None:
        """What nobody tells any more is as it was."""
        if isinstance(slot_s, PilotError):
            log.warning("how long the slot lasts is not known: %s", slot_s)
        if isinstance(slot_s, float | int):
            self._learn(slot_s, performer)
        else:
            self._ask_later(performer)

    def _learn(self, slot_s: float | None, performer: Performer) -> None:
        past_s = self.clock.mono() - self.began_mono
        lasts = [limit - past_s for limit in (self.options.lifetime_s, self.setup.queue.wall_limit_s) if limit]
        left_s = max(0.0, min(lasts if slot_s is None else [*lasts, slot_s]))
        stop_s = min(self.options.stop_s, left_s / 2)
        error = PilotError(Code.REACHEDMAXTIME, f"the pilot's {left_s:g} s are over")
        self.until_mono = self.clock.mono() + left_s - stop_s
        self.loop.after("lifetime", left_s - stop_s, partial(self.stop, error, stop_s))
        self._ask_later(performer)

    def _ask_later(self, performer: Performer) -> None:
        self.loop.after("time left", self.options.time_left_again_s, partial(self._ask_again, performer))
