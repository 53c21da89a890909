"""The monitor "cores": how many cores a payload keeps busy, beside how many are its own."""

from __future__ import annotations

import logging

from attrs import frozen

from pilot_core.sdk import Monitor, Reading, Settings, View, option

log = logging.getLogger(__name__)


@frozen(kw_only=True)
class CoreOptions:
    """The monitor "cores"."""

    section = "cores"

    factor: float = option(1.5, help="More than this times its own cores is too many.", least=1.0)
    warn_s: float = option(300.0, help="Too many for this long are warned of, once.", unit="s")


class Cores(Monitor):
    """Measures the cores in use since its last look, and warns of a payload that takes others' cores."""

    name = "cores"
    options = CoreOptions
    interval_s = 0.0

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._options = settings.of(CoreOptions)
        self._before: tuple[float, float] | None = None
        self._over_s = 0.0
        self._warned = False

    def look(self, view: View) -> Reading:
        """Compare the CPU time since the last look with the time that passed."""
        began = (view.mono - view.running_s, 0.0)
        mono, cpu_s = self._before or began
        if view.mono <= mono:
            return Reading()
        self._before = view.mono, view.usage.cpu_s
        passed_s, cores = view.mono - mono, view.job.needs.cores
        used = max(view.usage.cpu_s - cpu_s, 0.0) / passed_s
        self._over_s = self._over_s + passed_s if used > cores * self._options.factor else 0.0
        if self._over_s >= self._options.warn_s and not self._warned:
            self._warned = True
            told = "job %s keeps %.1f cores busy, and has had too many for %.0f s: %d are its own"
            log.warning(told, view.job.id, used, self._over_s, cores)
        measures = {"cores_used": used, "threads_per_core": view.usage.threads / cores}
        return Reading(measures=measures)
