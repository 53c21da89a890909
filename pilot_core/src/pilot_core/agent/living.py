"""Files by which others see that a pilot lives: batch systems' wrappers, and whoever started it."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any, Final

from attrs import define

from pilot_core.agent.loop import Loop
from pilot_core.clock import Clock
from pilot_core.io.files import write_atomic

BEAT_S: Final = 60.0
SUSPENDED_S: Final = 600.0
"""Whoever does not come round for so long did not run at all."""
log = logging.getLogger(__name__)


@define(eq=False)
class Living:
    """Writes the life file again and again, and touches the log, as long as the loop turns."""

    path: Path
    logged: Path
    loop: Loop[Any, Any, Any]
    clock: Clock
    last: float = 0.0
    longest_s: float = 0.0
    suspended: float = 0.0

    def begin(self) -> None:
        """Now, and from now on."""
        self._measure(self.clock.now())
        try:
            write_atomic(self.path, json.dumps(self._said()), mode=0o644)
            if self.logged.exists():
                os.utime(self.logged)
        except OSError as error:
            log.warning("that the pilot lives could not be shown: %s: %s", self.path, error.strerror)
        self.loop.after("life", BEAT_S, self.begin)

    def _measure(self, now: float) -> None:
        gap_s = now - self.last if self.last else 0.0
        self.longest_s, self.last = max(self.longest_s, gap_s), now
        if gap_s > SUSPENDED_S:
            self.suspended = now

    def _said(self) -> dict[str, int]:
        since_s = self.last - self.suspended if self.suspended else 0
        return {
            "last_pilot_update": int(self.last),
            "max_diff_time": int(self.longest_s),
            "time_since_detection": int(since_s),
        }
