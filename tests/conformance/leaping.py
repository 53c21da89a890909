"""Time that leaps: a clock that stands still while anybody works, and is at the next timer once nobody does."""

from __future__ import annotations

import threading
from contextlib import contextmanager

from pilot_core.agent.run import Assembly
from pilot_core.io.box import Box
from pilot_core.testing.fakes import FakeClock

WRITTEN_S = 5.0
WORKING_S = 0.05
"""Whoever works ends with an event; this long is waited for it at a time."""


class LeapingClock(FakeClock):
    """Hours pass in no time. ``away`` lets a fake payload wait for something, and time goes on meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self._away = 0
        self._pilot = None

    @contextmanager
    def away(self):
        """Within this, whoever works counts as one who does not."""
        self._away += 1
        try:
            yield
        finally:
            self._away -= 1

    def nobody_works(self) -> bool:
        """Whether nothing but a timer can happen next."""
        pilot = self._pilot
        fakes = [each for each in threading.enumerate() if each.name.startswith("fake ")]
        return not pilot.performer.workers._busy and len(fakes) <= self._away and pilot.poster.flush(WRITTEN_S)

    def rule(self, monkeypatch) -> None:
        """Let the loops of pilots go by this clock."""
        put_together, wait = Assembly.put_together, Box.wait

        def learn(pilot, *args):
            self._pilot = pilot
            put_together(pilot, *args)

        def leap(box, timeout_s=None):
            leaps = timeout_s is not None and self.nobody_works()
            happened = wait(box, 0 if leaps else WORKING_S)
            if leaps and not happened:
                self.advance(timeout_s)
            return happened

        monkeypatch.setattr(Assembly, "put_together", learn)
        monkeypatch.setattr(Box, "wait", leap)
