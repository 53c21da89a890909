"""The monitor "health": what the pilot itself takes, and whether its loop keeps up."""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path
from typing import Final

from attrs import frozen

from pilot_core.sdk import Monitor, Reading, Settings, View, option

log = logging.getLogger(__name__)


@frozen(kw_only=True)
class HealthOptions:
    """The monitor "health"."""

    section = "health"

    memory_b: int = option(200 * 10**6, help="A pilot that holds more is warned of.", unit="b")
    threads: int = option(100, help="A pilot with more threads is warned of.")
    late_s: float = option(10.0, help="A look that begins later than it was due by this is warned of.", unit="s")


UNITS: Final = {"pilot_rss_b": "B of memory", "pilot_threads": "threads", "pilot_late_s": "s behind its own timers"}


class Health(Monitor):
    """Measures the pilot's memory, threads, CPU time and how late its loop is; too much is warned of once."""

    name = "health"
    options = HealthOptions
    interval_s = 60.0

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        options = settings.of(HealthOptions)
        limits = (options.memory_b, options.threads, options.late_s)
        self._limits = dict(zip(UNITS, limits, strict=True))
        self._told: set[str] = set()

    def look(self, view: View) -> Reading:
        """Look at this very process."""
        times = os.times()
        measures = {
            "pilot_rss_b": float(_held_b()),
            "pilot_threads": float(threading.active_count()),
            "pilot_late_s": view.late_s,
            "pilot_cpu_s": times.user + times.system,
        }
        for name, limit in self._limits.items():
            if measures[name] > limit and name not in self._told:
                self._told.add(name)
                log.warning("the pilot itself: %.0f %s, more than %.0f", measures[name], UNITS[name], limit)
        return Reading(measures=measures)


def _held_b() -> int:
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        import psutil

        return int(psutil.Process().memory_info().rss)
