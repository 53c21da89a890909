"""Monitor Control: measuring a running payload, and letting every monitor look at its own interval."""

from __future__ import annotations

import logging
import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock

from attrs import define, evolve, field, frozen

from pilot_core.clock import Clock
from pilot_core.config.layers import Settings
from pilot_core.config.schema import SlotOptions
from pilot_core.errors import Code, PilotError
from pilot_core.io.files import free_bytes
from pilot_core.io.proctree import Tree, parent
from pilot_core.model.job import RUNNING, Job
from pilot_core.model.payload import Usage
from pilot_core.model.queue import Queue
from pilot_core.plugins.drivers import Usable
from pilot_core.plugins.guard import PluginFailed, PluginRef
from pilot_core.plugins.hooks import Hooks
from pilot_core.spec import payload as hooks_of
from pilot_core.spec.drivers import Monitor, Reading, View

STRIKES = 3
EARLY = 0.9
"""A look this much before a monitor's time is taken, as the next one would come too late."""
COSTLY = 100.0
"""A monitor with an interval rests this many times as long as its look took: it takes 1 % of the time at most."""
log = logging.getLogger(__name__)


@frozen(eq=False)
class MonitorControl:
    """Makes a watch for each payload."""

    monitors: Sequence[Usable]
    hooks: Hooks
    queue: Queue
    clock: Clock

    def begin(self, job: Job, workdir: Path, pid: int, settings: Settings) -> Watch:
        """Watch the processes of a job, whose payload has this number, with monitors of its own."""
        made = (self._made(usable, job, settings) for usable in self.monitors)
        began = self.clock.mono() - max(self.clock.now() - job.times.get(RUNNING, self.clock.now()), 0.0)
        return Watch(self, job, workdir, tree_of(pid), [each for each in made if each], began)

    def _made(self, usable: Usable, job: Job, settings: Settings) -> Watched | None:
        try:
            monitor = self.hooks.guarded(usable.plugin, "making", usable.driver, settings)
        except (PluginFailed, PilotError) as failed:
            log.warning("job %s goes without a monitor: %s", job.id, failed)
            return None
        if isinstance(monitor, Monitor):
            return Watched(monitor, usable.plugin)
        log.warning("job %s goes without a monitor: %s is none", job.id, usable.plugin)
        return None


def tree_of(pid: int) -> Tree:
    """The payload and all that runs beside it or has left it: the descendants of the keeper that reaps for them.

    Where the payload is the pilot's own child, its own descendants.
    """
    keeper = parent(pid)
    return Tree(pid) if keeper in (None, 0, 1, os.getpid()) else Tree(keeper, with_root=False)


@define(eq=False)
class Watched:
    """One monitor and when it may look again."""

    monitor: Monitor
    plugin: PluginRef
    due: float = -math.inf
    strikes: int = 0


@define(eq=False)
class Watch:
    """The watch over one payload. ``look`` is called in a worker, ``end`` from anywhere, at any time."""

    control: MonitorControl
    job: Job
    workdir: Path
    tree: Tree
    watched: list[Watched]
    began: float
    peak_b: int = 0
    over: bool = False
    measured: dict[str, float] = field(factory=dict)
    strikes: Counter[str] = field(factory=Counter)
    looking: Lock = field(factory=Lock)

    def look(self) -> tuple[Usage, list[PilotError]]:
        """Measure, let those monitors look whose time has come, and bring what they found."""
        with self.looking:
            usage, breaches = (Usage(), []) if self.over else self._look()
        if self.over:
            self.end()
        return usage, breaches

    def end(self) -> None:
        """The payload has ended. A look that is under way comes to its end and closes up itself."""
        self.over = True
        if self.looking.acquire(blocking=False):
            self.tree.close()
            self.looking.release()

    def _look(self) -> tuple[Usage, list[PilotError]]:
        now, sampled = self.control.clock.mono(), self._plugins_samples()
        usage = evolve(self._sample(), more={**self.measured, **sampled})
        view = View(
            job=self.job,
            queue=self.control.queue,
            workdir=self.workdir,
            usage=usage,
            running_s=now - self.began,
            mono=now,
        )
        due = [each for each in self.watched if now >= each.due]
        breaches = [breach for each in due if (breach := self._let_look(each, view))]
        usage = evolve(usage, more={**self.measured, **sampled}, disk_b=int(self.measured.get("disk_b", 0)))
        self.control.hooks.tell(hooks_of.pilot_payload_sampled, job=self.job, usage=usage)
        return usage, breaches

    def _sample(self) -> Usage:
        sample = self.tree.sample()
        self.peak_b = max(self.peak_b, sample.rss_b)
        return Usage(
            cpu_user_s=sample.utime_s,
            cpu_system_s=sample.stime_s,
            rss_b=sample.rss_b,
            rss_peak_b=self.peak_b,
            read_b=sample.read_b,
            written_b=sample.write_b,
            processes=len(sample.members),
        )

    def _plugins_samples(self) -> dict[str, float]:
        hook = hooks_of.pilot_payload_sample
        try:
            answers = self.control.hooks.gather(hook, job=self.job, workdir=self.workdir)
        except PluginFailed as failed:
            self._strike(failed.plugin, hook.__name__, failed)
            return {}
        except PilotError as said:
            self._strike(str(said.facts.get("plugin", "")), hook.__name__, said)
            return {}
        self.strikes.clear()
        return {name: number for each in answers for name, number in numbers(each.plugin, each.value).items()}

    def _strike(self, plugin: str, hook: str, failed: Exception) -> None:
        self.strikes[plugin] += 1
        log.warning("job %s: measurements are left out: %s", self.job.id, failed)
        if self.strikes[plugin] >= STRIKES:
            self.control.hooks.bench(plugin, hook)
            log.warning("plugin %s is benched for %s until the next job", plugin, hook)

    def _let_look(self, each: Watched, view: View) -> PilotError | None:
        began = self.control.clock.mono()
        try:
            reading = self.control.hooks.guarded(each.plugin, "look", _reading, each.monitor, view)
        except (PluginFailed, PilotError) as failed:
            reading = self._failed(each, failed)
        else:
            each.strikes = 0
        took_s = self.control.clock.mono() - began
        each.due = math.inf if each.strikes >= STRIKES else view.mono + _rest_s(each.monitor, took_s)
        self.measured.update(numbers(each.plugin.name, reading.measures))
        return reading.breach

    def _failed(self, each: Watched, failed: Exception) -> Reading:
        each.strikes += 1
        rests = " and rests until the next job" if each.strikes == STRIKES else ""
        log.warning("job %s: monitor %s failed%s: %s", self.job.id, each.monitor.name, rests, failed)
        return Reading()


def _rest_s(monitor: Monitor, took_s: float) -> float:
    """Until the next look; a monitor without an interval is asked every time, and paces itself."""
    return max(monitor.interval_s * EARLY, took_s * COSTLY) if monitor.interval_s else 0.0


def _reading(monitor: Monitor, view: View) -> Reading:
    reading: object = monitor.look(view)
    if not isinstance(reading, Reading):
        raise TypeError(f"a look brings a Reading, not {reading!r}")
    return reading


def numbers(plugin: str, measures: Mapping[str, object]) -> dict[str, float]:
    """What of a plugin's measures are numbers that a report can hold."""
    good: dict[str, float] = {}
    for name, value in measures.items():
        if isinstance(value, (int, float)) and math.isfinite(value):
            good[str(name)] = float(value)
        else:
            log.warning("plugin %s measured %s as %r, which is no finite number", plugin, name, value)
    return good


def node_problems(workdir: Path, settings: Settings) -> tuple[PilotError, ...]:
    """What keeps this node from taking work, as far as the pilot itself can tell."""
    wanted_b, free_b = settings.of(SlotOptions).free_disk_b, free_bytes(workdir)
    if free_b >= wanted_b:
        return ()
    told = f"{free_b / 1e9:.1f} GB are free where {workdir} lies, at least {wanted_b / 1e9:.1f} GB are wanted"
    return (PilotError(Code.NOLOCALSPACE, told),)
