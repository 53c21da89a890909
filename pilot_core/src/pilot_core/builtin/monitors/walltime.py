"""The monitor "walltime": how long a payload may run. What is left of the slot is the pilot's own to watch."""

from __future__ import annotations

from attrs import frozen

from pilot_core.sdk import Code, Monitor, PilotError, Reading, View, option


@frozen(kw_only=True)
class WallTimeOptions:
    """The monitor "walltime"."""

    section = "walltime"

    grace: float = option(1.0, help="What queue and job say of the wall time is multiplied by this.")


class WallTime(Monitor):
    """Stops a payload whose time is over."""

    name = "walltime"
    options = WallTimeOptions
    interval_s = 0.0

    def look(self, view: View) -> Reading:
        """Compare the payload's time with the tighter of the job's limit and the queue's."""
        limits = [limit for limit in (view.job.wall_limit_s, view.queue.wall_limit_s) if limit]
        if not limits:
            return Reading()
        limit_s = min(limits) * self.settings.of(WallTimeOptions).grace
        if view.running_s < limit_s:
            return Reading(again_s=limit_s - view.running_s)
        told = f"the payload has run for {view.running_s:.0f} s, {limit_s:.0f} s are allowed"
        return Reading(breach=PilotError(Code.REACHEDMAXTIME, told, value_s=round(view.running_s), limit_s=limit_s))
