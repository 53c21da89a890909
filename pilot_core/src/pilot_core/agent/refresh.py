"""What the queue is, asked again from time to time: jobs that come then go by it, and a closed one drains the pilot.

A job keeps the queue that it began with, and the pilot the drivers and the options of its own.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import Any, Final

from attrs import define, field

from pilot_core.agent.loop import Loop
from pilot_core.agent.perform import Performer
from pilot_core.agent.post import Poster
from pilot_core.agent.setup import Known, Setup
from pilot_core.clock import Clock
from pilot_core.config.schema import Budgets, PilotOptions
from pilot_core.errors import Code, PilotError
from pilot_core.infosys.facts import age
from pilot_core.machine import events as e

CLOSED: Final = frozenset({Code.PANDAQUEUENOTACTIVE, Code.PANDAQUEUENOTONLINE})
log = logging.getLogger(__name__)


@define(eq=False)
class Refresh:
    """Asks again, and lets the next jobs go by the answer."""

    setup: Setup
    loop: Loop[Any, Any, Any]
    clock: Clock
    poster: Poster
    told_mono: float = field(init=False)
    """When the sources told what is known."""

    def begin(self, performer: Performer) -> None:
        """Ask from now on, unless the site wants what is known at the start to hold."""
        self.told_mono = self.clock.mono()
        self._ask_later(performer)

    def _ask_later(self, performer: Performer) -> None:
        if every_s := self.setup.settings.of(PilotOptions).queue_again_s:
            self.loop.after("queue", every_s, partial(self._ask, performer))

    def _ask(self, performer: Performer) -> None:
        name, told = "the question what the queue is", partial(self._told, performer)
        budget_s = 2 * self.setup.settings.of(Budgets).info_s  # the sources keep to the half of it by themselves
        performer.within(budget_s, "queue", name, self.setup.ask_again, told)

    def _told(self, performer: Performer, answer: Known | PilotError) -> None:
        if isinstance(answer, PilotError) and answer.code in CLOSED:
            log.warning("no more work is taken: %s", answer.detail)
            self.poster.post(e.DrainAsked(why=answer.detail))
            return
        if isinstance(answer, PilotError):
            old = age(self.clock.mono() - self.told_mono)
            log.warning("queue %s: what is known of it stays, and is %s: %s", self.setup.queue.name, old, answer)
        else:
            self.setup.known, self.told_mono = answer, self.clock.mono()
        self._ask_later(performer)
