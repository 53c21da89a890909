"""Monitor Control: measuring a running payload, and letting every monitor look at its own interval."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from threading import Lock

from attrs import define, evolve, field, frozen

from pilot_core.clock import Clock
from pilot_core.config.layers import Settings
from pilot_core.config.schema import SlotOptions
from pilot_core.errors import Code, PilotError
from pilot_core.io.files import free_bytes
from pilot_core.io.proctree import Tree
from pilot_core.model.job import Job
from pilot_core.model.payload import Usage
from pilot_core.model.queue import Queue
from pilot_core.plugins.drivers import Usable
from pilot_core.plugins.guard import PluginFailed, PluginRef
from pilot_core.plugins.hooks import Hooks
from pilot_core.spec import payload as hooks_of
from pilot_core.spec.drivers import Monitor, View

STRIKES = 3
log = logging.getLogger(__name__)


@frozen(eq=False)
class MonitorControl:
    """Makes a watch for each payload."""

    monitors: Sequence[Usable]
    hooks: Hooks
    queue: Queue
    clock: Clock

    def begin(self, job: Job, workdir: Path, pid: int, settings: Settings) -> Watch:
        """Watch the process tree below ``pid`` with monitors of its own."""
        watched = []
        for usable in self.monitors:
            try:
                monitor = self.hooks.guarded(usable.plugin, "making", usable.driver, settings)
            except (PluginFailed, PilotError) as failed:
                log.warning("job %s goes without a monitor: %s", job.id, failed)
                continue
            if isinstance(monitor, Monitor):
                watched.append(Watched(monitor, usable.plugin))
        return Watch(self, job, workdir, Tree(pid), watched, self.clock.mono())


@define(eq=False)
class Watched:
    """One monitor and when it looked last."""

    monitor: Monitor
    plugin: PluginRef
    looked: float | None = None
    strikes: int = 0


@define(eq=False)
class Watch:
    """The watch over one payload. ``look`` is called in a worker, never twice at a time."""

    control: MonitorControl
    job: Job
    workdir: Path
    tree: Tree
    watched: list[Watched]
    began: float
    peak_b: int = 0
    over: bool = False
    measured: dict[str, float] = field(factory=dict)
    looking: Lock = field(factory=Lock)

    def look(self) -> tuple[Usage, list[PilotError]]:
        """Measure, let those monitors look whose time has come, and bring what they found."""
        with self.looking:
            seen = self._look()
            if self.over:
                self.tree.close()
            return seen

    def _look(self) -> tuple[Usage, list[PilotError]]:
        now = self.control.clock.mono()
        usage = evolve(self._sample(), more={**self.measured, **self._plugins_samples()})
        view = View(
            job=self.job,
            queue=self.control.queue,
            workdir=self.workdir,
            usage=usage,
            running_s=now - self.began,
            mono=now,
        )
        breaches = [breach for each in self.watched if (breach := self._let_look(each, view))]
        usage = evolve(usage, more={**usage.more, **self.measured}, disk_b=int(self.measured.get("disk_b", 0)))
        self.control.hooks.tell(hooks_of.pilot_payload_sampled, job=self.job, usage=usage)
        return usage, breaches

    def end(self) -> None:
        """The payload has ended; a look that is under way comes to its end first."""
        self.over = True
        if self.looking.acquire(blocking=False):
            self.tree.close()
            self.looking.release()

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
        try:
            answers = self.control.hooks.gather(hooks_of.pilot_payload_sample, job=self.job, workdir=self.workdir)
        except (PluginFailed, PilotError) as failed:
            log.warning("job %s: measurements are left out: %s", self.job.id, failed)
            return {}
        return {name: float(value) for answer in answers for name, value in answer.value.items()}

    def _let_look(self, each: Watched, view: View) -> PilotError | None:
        due = each.looked is None or view.mono - each.looked >= each.monitor.interval_s * 0.9
        if each.strikes >= STRIKES or not due:
            return None
        each.looked = view.mono
        try:
            reading = self.control.hooks.guarded(each.plugin, "look", each.monitor.look, view)
        except (PluginFailed, PilotError) as failed:
            each.strikes += 1
            rests = " and rests until the next job" if each.strikes == STRIKES else ""
            log.warning("job %s: monitor %s failed%s: %s", self.job.id, each.monitor.name, rests, failed)
            return None
        each.strikes = 0
        self.measured.update(reading.measures)
        return reading.breach


def node_problems(workdir: Path, settings: Settings) -> tuple[PilotError, ...]:
    """What keeps this node from taking work, as far as the pilot itself can tell."""
    wanted_b, free_b = settings.of(SlotOptions).free_disk_b, free_bytes(workdir)
    if free_b > wanted_b:
        return ()
    told = f"{free_b / 1e9:.1f} GB are free where {workdir} lies, more than {wanted_b / 1e9:.1f} GB are wanted"
    return (PilotError(Code.NOLOCALSPACE, told),)
