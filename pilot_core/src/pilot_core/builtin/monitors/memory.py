"""The monitor "memory": what a payload's processes hold together, shared pages counted once."""

from __future__ import annotations

from attrs import frozen

from pilot_core.builtin.monitors.limits import share_b, too_much
from pilot_core.sdk import Code, Monitor, Reading, Settings, Usage, View, option
from pilot_core.sdk.io import Groups

AVERAGED = {"avg_rss": "rss_b", "avg_pss": "pss_b"}
"""Averages under the server's names, in kilobytes."""


@frozen(kw_only=True)
class MemoryOptions:
    """The monitor "memory"."""

    section = "memory"

    grace: float = option(2.0, help="What the job, or else the queue, says of memory is multiplied by this.")
    limit_b: int | None = option(None, help="The payload may use this much, whatever queue and job say.", unit="b")


class Memory(Monitor):
    """Stops a payload whose processes together use too much memory; of a control group of its own it tells the peak."""

    name = "memory"
    options = MemoryOptions
    interval_s = 0.0

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._looks = 0
        self._sums_b = dict.fromkeys(AVERAGED, 0)
        self._groups: Groups | None = None

    def look(self, view: View) -> Reading:
        """Compare what the process tree holds now with the limit."""
        options = self.settings.of(MemoryOptions)
        limit_b = options.limit_b if options.limit_b is not None else _limit_b(view, options.grace)
        measures = {**self._averages(view.usage), **self._told_by_group(view)}
        if limit_b is None or (used_b := used(view.usage)) <= limit_b:
            return Reading(measures=measures)
        breach = too_much(Code.PAYLOADEXCEEDMAXMEM, "the payload's memory", used_b, limit_b)
        return Reading(measures=measures, breach=breach)

    def _averages(self, usage: Usage) -> dict[str, float]:
        self._looks += 1
        for name, what in AVERAGED.items():
            self._sums_b[name] += getattr(usage, what)
        return {name: sum_b / self._looks / 1024 for name, sum_b in self._sums_b.items() if sum_b}

    def _told_by_group(self, view: View) -> dict[str, float]:
        """Of the payload's control group, if it has one of its own."""
        if self._groups is None:
            mine = Groups.of()
            theirs = Groups.of(view.pids[0]) if view.pids else mine
            self._groups = Groups(None, None) if theirs.memory == mine.memory else theirs
        told = {"group_peak_b": self._groups.memory_peak_b(), "group_oom_kills": self._groups.oom_kills()}
        return {name: float(number) for name, number in told.items() if number is not None}


def used(usage: Usage) -> int:
    """What the processes hold: shared pages once, where that was measured."""
    return min(usage.rss_b, usage.pss_b or usage.rss_b)


def _limit_b(view: View, grace: float) -> float | None:
    limit_b = view.job.needs.memory_b or share_b(view, view.queue.memory_b)
    return limit_b * grace if limit_b else None
