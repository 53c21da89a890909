"""Word that the slot is taken back before its time, as clouds and batch systems give it in a file or over HTTP."""

from __future__ import annotations

import logging

from attrs import define

from pilot_core.agent.lifetime import Lifetime
from pilot_core.agent.perform import Performer
from pilot_core.config.schema import SlotOptions
from pilot_core.errors import Code, PilotError

ASK_BUDGET_S = 20.0
SOON_S = 600.0
"""A slot that is taken back within this time is given back at once: what is still computed then is hardly worth it."""
log = logging.getLogger(__name__)


@define(eq=False)
class Reclaim:
    """Looks for the notice again and again, and stops the pilot when it is there."""

    lifetime: Lifetime
    slot: SlotOptions
    trouble: str = ""

    def begin(self, performer: Performer) -> None:
        """Look from now on, if there is a place to look at."""
        if self.slot.notice and not self.lifetime.over:
            performer.loop.after("notice", self.slot.ask_s, lambda: self._ask(performer))

    def _ask(self, performer: Performer) -> None:
        name = "the question whether the slot is taken back"
        performer.within(ASK_BUDGET_S, "notice", name, self._look, lambda answer: self._told(answer, performer))

    def _look(self) -> float | None:
        """How long it is until the slot is taken back, if it is."""
        from pilot_core.io.notice import read_notice

        return read_notice(self.slot.notice, self.slot.notice_headers, self.lifetime.clock.now())

    def _told(self, answer: float | PilotError | None, performer: Performer) -> None:
        if isinstance(answer, PilotError):
            self._complain(str(answer))
        else:
            self.trouble = ""
            if answer is not None and answer <= SOON_S:
                error = PilotError(Code.PREEMPTION, f"{self.slot.notice} says so, {answer:.0f} s before")
                stop_s = self.lifetime.options.stop_s
                self.lifetime.stop(error, min(stop_s, answer or stop_s))
        self.begin(performer)

    def _complain(self, trouble: str) -> None:
        if trouble != self.trouble:
            log.warning("whether the slot is taken back is not known: %s", trouble)
        self.trouble = trouble
