"""Monitor Control: measuring a running payload, and letting every monitor look at its own interval."""

from __future__ import annotations

import logging
import math
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from threading import Lock

from attrs import define, evolve, field, frozen

from pilot_core.clock import Clock
from pilot_core.config.layers import Settings
from pilot_core.config.schema import Connection, MonitorOptions, PayloadOptions, SlotOptions
from pilot_core.control.grouped import most_threads
from pilot_core.control.history import History
from pilot_core.errors import Code, PilotError
from pilot_core.io.cgroup import Groups
from pilot_core.io.files import free_bytes
from pilot_core.io.proctree import Identity, Sample, Tree, tree_of
from pilot_core.model.job import Job
from pilot_core.model.payload import Usage
from pilot_core.model.queue import Queue
from pilot_core.plugins.drivers import Usable
from pilot_core.plugins.guard import PluginFailed
from pilot_core.plugins.hooks import Hooks
from pilot_core.plugins.patience import Patience
from pilot_core.spec import payload as hooks_of
from pilot_core.spec.drivers import Monitor, Reading, View

STRIKES = 3
SOONEST_S = 0.05
SOON_S = 2.0
"""The first look at a payload; each later one doubles its age, until the usual interval."""
EARLY = 0.9
"""A look this much before a monitor's time is taken, as the next one would come too late."""
COSTLY = 100.0
"""A monitor with an interval rests this many times as long as its look took: it takes 1 % of the time at most."""
GROWN = 1.1
"""When the processes hold so much more than when their proportional memory was measured, it is measured anew."""
log = logging.getLogger(__name__)


@frozen(eq=False)
class MonitorControl:
    """Makes a watch for each payload."""

    monitors: Sequence[Usable]
    hooks: Hooks
    clock: Clock
    budget_s: float
    """How long the look of a monitor is awaited before it is left behind."""
    hung: list[Patience] = field(factory=list)

    def begin(self, job: Job, queue: Queue, workdir: Path, pid: int, settings: Settings, ran_s: float = 0.0) -> Watch:
        """Watch the processes of a job, whose payload has this number, with monitors of its own, not yet made.

        ``ran_s`` is how long it has run already, for another pilot.
        """
        watched = [Watched(usable, settings) for usable in self.monitors]
        began, options = self.clock.mono() - ran_s, settings.of(MonitorOptions)
        tree, history = tree_of(pid), History.beside(workdir)
        most = most_threads(settings.of(PayloadOptions), Groups.of())
        return Watch(self, job, queue, workdir, tree, watched, began, history, options.sample_s, options.pss_s, most)

    def leave(self, call: Patience) -> str:
        """Leave a look behind; what is to be said of it."""
        self.hung[:] = [*(other for other in self.hung if other.hangs), call]
        return f"{call.name} was left behind in {call.stands}: it had {self.budget_s:g} s"

    def left_behind(self) -> tuple[str, ...]:
        """Looks that were awaited in vain and have not ended yet."""
        return tuple(f"{call.name} in {call.stands}" for call in self.hung if call.hangs)


@define(eq=False)
class Watched:
    """One monitor, made when it first looks, and when it may look again."""

    usable: Usable
    settings: Settings
    monitor: Monitor | None = None
    due: float = -math.inf
    strikes: int = 0
    call: Patience | None = None

    def is_due(self, now: float) -> bool:
        """Whether it may look; one whose last look has not come back is left alone."""
        return now >= self.due and not (self.call and self.call.hangs)

    def close(self, control: MonitorControl) -> None:
        """Let it end what it started, if it started anything; nobody waits for that."""
        monitor, self.monitor, self.due = self.monitor, None, math.inf
        if monitor is not None and type(monitor).close is not Monitor.close:
            close = partial(control.hooks.guarded, self.usable.plugin, "close", monitor.close)
            self.call = Patience(close, f"closing monitor {self.usable.name}", control.hooks.hands)

    def look(self, control: MonitorControl, view: View) -> tuple[Reading, float]:
        """What it read, and how long that took."""
        began = control.clock.mono()
        if self.monitor is None:
            self.monitor = control.hooks.guarded(self.usable.plugin, "making", _made, self.usable, self.settings)
        reading = control.hooks.guarded(self.usable.plugin, "look", _reading, self.monitor, view)
        return reading, control.clock.mono() - began


@define(eq=False)
class Watch:
    """The watch over one payload. ``look`` is called in a worker, ``end`` from anywhere, at any time."""

    control: MonitorControl
    job: Job
    queue: Queue
    workdir: Path
    tree: Tree
    watched: list[Watched]
    began: float
    history: History
    sample_s: float = 30.0
    pss_s: float = 60.0
    most_threads: int = sys.maxsize
    last: Usage = field(factory=Usage)
    pss_due: float = -math.inf
    pss_of_b: int = 0
    """What the processes held when their proportional memory was measured."""
    over: bool = False
    measured: dict[str, float] = field(factory=dict)
    late_s: float = 0.0
    again_s: float | None = None
    """When the monitors want to look again at the latest, as they said in the last look."""
    coming: dict[str, tuple[float, PilotError]] = field(factory=dict)
    """What monitors have announced, and when it comes unless they take it back."""
    strikes: Counter[str] = field(factory=Counter)
    sampling: Patience | None = None
    looking: Lock = field(factory=Lock)

    @property
    def pause_s(self) -> float:
        """How long until the next look: people want to see of a young payload what they see of an old one."""
        return min(self.sample_s, max(self.control.clock.mono() - self.began, SOON_S))

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
            for each in self.watched:
                each.close(self.control)
            self.looking.release()

    def _look(self) -> tuple[Usage, list[PilotError]]:
        now, sampled = self.control.clock.mono(), self._plugins_samples()
        members = self._sample(now)
        usage = evolve(self.last, more={**self.measured, **sampled})
        view = View(
            job=self.job,
            queue=self.queue,
            workdir=self.workdir,
            usage=usage,
            running_s=now - self.began,
            mono=now,
            pids=tuple(each.pid for each in sorted(members, key=lambda member: member.start_ticks)),
            control=self.history.path.parent,
            late_s=self.late_s,
        )
        breaches = [*self._too_many(usage.threads)]
        breaches += self._let_all_look([each for each in self.watched if each.is_due(now)], view)
        usage = evolve(usage, more={**self.measured, **sampled}, disk_b=int(self.measured.get("disk_b", 0)))
        self.history.add(self.control.clock.now(), usage)
        self.control.hooks.tell(hooks_of.pilot_payload_sampled, job=self.job, usage=usage)
        return usage, breaches

    def _too_many(self, threads: int) -> Iterator[PilotError]:
        if threads > self.most_threads:
            told = f"the payload has {threads} threads in all its processes, {self.most_threads} are allowed"
            yield PilotError(Code.PAYLOADEXECUTIONFAILURE, told, value=threads, limit=self.most_threads)

    def _sample(self, now: float) -> tuple[Identity, ...]:
        """Measure the processes, and say which they are."""
        sample = self.tree.sample(pss=now >= self.pss_due)
        if sample.pss_b is None and sample.rss_b > self.pss_of_b * GROWN:
            sample = self.tree.sample(pss=True)
        if sample.pss_b is not None:
            took_s = self.control.clock.mono() - now
            self.pss_of_b = sample.rss_b
            self.pss_due = now + max(self.pss_s * EARLY, took_s * COSTLY)
        self.last = used(sample, self.last)
        return sample.members

    def _plugins_samples(self) -> dict[str, float]:
        hook = hooks_of.pilot_payload_sample
        if self.sampling and self.sampling.hangs:
            return {}
        ask = partial(self.control.hooks.gather, hook, job=self.job, workdir=self.workdir)
        self.sampling = Patience(ask, f"{hook.__name__}/{self.job.id}", self.control.hooks.hands)
        try:
            answers = self.sampling.wait(self.control.budget_s)
        except TimeoutError:
            log.warning("job %s: %s", self.job.id, self.control.leave(self.sampling))
            return {}
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

    def _let_all_look(self, due: list[Watched], view: View) -> list[PilotError]:
        """Let them look, all at once, so that those who hang cost the others one budget together."""
        calls = [(each, self._begin_look(each, view)) for each in due]
        until = self.control.clock.mono() + self.control.budget_s
        readings = [self._await(each, call, until, view.mono) for each, call in calls]
        for each, reading in zip(due, readings, strict=True):
            self.measured.update(numbers(each.usable.plugin.name, reading.measures))
        wishes = [max(each.again_s, SOONEST_S) for each in readings if each.again_s is not None]
        self.again_s = min(wishes, default=None)
        return [reading.breach for reading in readings if reading.breach and not reading.breach_in_s]

    def _begin_look(self, each: Watched, view: View) -> Patience:
        name = f"monitor {each.usable.name}/{self.job.id}"
        each.call = Patience(partial(each.look, self.control, view), name, self.control.hooks.hands)
        return each.call

    def _await(self, each: Watched, call: Patience, until: float, now: float) -> Reading:
        reading: Reading
        try:
            reading, took_s = call.wait(max(until - self.control.clock.mono(), 0.0))
        except TimeoutError:
            return self._failed(each, self.control.leave(call), now)
        except (PluginFailed, PilotError) as failed:
            return self._failed(each, failed, now)
        assert each.monitor is not None
        each.strikes, each.due = 0, now + _rest_s(each.monitor, took_s)
        self._announce(each.usable.name, reading, now)
        return reading

    def _announce(self, monitor: str, reading: Reading, now: float) -> None:
        self.coming.pop(monitor, None)
        if reading.breach and reading.breach_in_s:
            self.coming[monitor] = now + reading.breach_in_s, reading.breach

    def _failed(self, each: Watched, why: object, now: float) -> Reading:
        """Note a failure; who cannot be made, or fails again and again, rests until the next job."""
        each.strikes += 1
        rests = each.strikes >= STRIKES or (each.monitor is None and not (each.call and each.call.hangs))
        each.due = math.inf if rests else now + (_rest_s(each.monitor, 0.0) if each.monitor else 0.0)
        told = " and rests until the next job" if rests else ""
        log.warning("job %s: monitor %s failed%s: %s", self.job.id, each.usable.name, told, why)
        return Reading()


def used(sample: Sample, before: Usage) -> Usage:
    """What a sample tells, with the peaks so far."""
    pss_b = before.pss_b if sample.pss_b is None else sample.pss_b
    return Usage(
        cpu_user_s=sample.utime_s,
        cpu_system_s=sample.stime_s,
        rss_b=sample.rss_b,
        rss_peak_b=max(before.rss_peak_b, sample.rss_b),
        pss_b=pss_b,
        pss_peak_b=max(before.pss_peak_b, pss_b),
        swap_peak_b=max(before.swap_peak_b, sample.swap_b or 0),
        vmem_peak_b=max(before.vmem_peak_b, sample.vmem_b),
        read_b=sample.read_b,
        written_b=sample.write_b,
        rchar_b=sample.rchar_b,
        wchar_b=sample.wchar_b,
        processes=len(sample.members),
        threads=sample.threads,
    )


def _made(usable: Usable, settings: Settings) -> Monitor:
    monitor = usable.driver(settings)
    if not isinstance(monitor, Monitor):
        raise TypeError(f"{usable.name} is no monitor")
    return monitor


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
    return (*_disk_problems(workdir, settings), *_credential_problems(settings))


def _disk_problems(workdir: Path, settings: Settings) -> tuple[PilotError, ...]:
    wanted_b, free_b = settings.of(SlotOptions).free_disk_b, free_bytes(workdir)
    if free_b >= wanted_b:
        return ()
    told = f"{free_b / 1e9:.1f} GB are free where {workdir} lies, at least {wanted_b / 1e9:.1f} GB are wanted"
    return (PilotError(Code.NOLOCALSPACE, told),)


def _credential_problems(settings: Settings) -> tuple[PilotError, ...]:
    """What is wrong with what opens the server, where there is one."""
    if not settings.of(Connection).url:
        return ()
    from pilot_core.io.credentials import credential_problems

    return credential_problems(settings)
