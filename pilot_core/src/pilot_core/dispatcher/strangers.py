"""Peers that were turned away, as an operator is told of them: who and why, and never so often that it fills a disk."""

from __future__ import annotations

import logging
import threading
from typing import Final

from pilot_core.clock import Clock

SPAN_S: Final = 600.0
MOST: Final = 20
LONGEST: Final = 200

log = logging.getLogger(__name__)


class Strangers:
    """Tells each peer and reason once in a span of time, so many of them at most; of the rest how many there were."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._began = clock.mono()
        self._told: set[tuple[str, str]] = set()
        self._more = 0

    def refuse(self, peer: str, why: str) -> None:
        """Hear that a peer was turned away."""
        self.settle()
        with self._lock:
            is_new = (peer, why) not in self._told and len(self._told) < MOST
            if is_new:
                self._told.add((peer, why))
            else:
                self._more += 1
        if is_new:
            log.warning("%s was turned away: %s", peer, why[:LONGEST])

    def settle(self) -> None:
        """Begin anew if the span is over, and say of how many nothing was said."""
        now = self._clock.mono()
        with self._lock:
            if now - self._began < SPAN_S:
                return
            more, self._more, self._began = self._more, 0, now
            self._told.clear()
        if more:
            log.warning("%d more requests were turned away in the last %g min", more, SPAN_S / 60)
