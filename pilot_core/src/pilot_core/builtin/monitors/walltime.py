"""The monitor "walltime": how long a payload may run. What is left of the slot is the pilot's own to watch."""

from __future__ import annotations

from attrs import frozen

from pilot_core.sdk import Code, Monitor, PilotError, Reading, View, option


@frozen(kw_only=True)
class WallTimeOptions:
    """The monitor "walltime"."""

    section = "walltime"

    grace: float = option(1.0, help="What queue and job say of the wall time is multiplied by this.")
    limit_s: float | None = option(None, help="No payload may run longer, whatever queue and job say.", unit="s")


class WallTime(Monitor):
    """Stops a payload whose time is over."""

    name = "walltime"
    options = WallTimeOptions
    interval_s = 0.0

    def look(self, view: View) -> Reading:
        """Say when the tightest of the job's limit, the queue's and the option is reached."""
        options = self.settings.of(WallTimeOptions)
        granted = [limit * options.grace for limit in (view.job.wall_limit_s, view.queue.wall_limit_s) if limit]
        limits = [*granted, *([options.limit_s] if options.limit_s else [])]
        if not limits:
            return Reading()
        limit_s = min(limits)
        ran_s = max(view.running_s, limit_s)
        told = f"the payload has run for {ran_s:.0f} s, {limit_s:.0f} s are allowed"
        breach = PilotError(Code.REACHEDMAXTIME, told, value_s=round(ran_s), limit_s=limit_s)
        return Reading(breach=breach, breach_in_s=ran_s - view.running_s)
