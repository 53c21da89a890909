"""The monitors "disk", "walltime", "memory" and "looping": what a payload may use, and whether it still moves.

Each is asked whenever the pilot measures, and paces by itself what is costly.
"""

from __future__ import annotations

import time
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

from attrs import frozen

from pilot_core.sdk import Code, ErrorCode, Monitor, PilotError, Reading, Settings, View, option
from pilot_core.sdk.io import Inside, free_bytes

OUTPUT_FILES: Final = ("payload.stdout", "payload.stderr")
WALK_SHARE: Final = 0.01
JUMP_S: Final = 60.0


@frozen(kw_only=True)
class DiskOptions:
    """The monitor "disk"."""

    section = "disk"

    free_b: int = option(10**9, help="With less than this free on the node, the job is stopped.", unit="b")
    limit_b: int | None = option(None, help="The directory may grow to this, whatever queue and job say.", unit="b")
    grace: float = option(1.2, help="What queue and job say of the directory's size is multiplied by this.")
    stdout_b: int = option(2 * 2**30, help="The payload's output and errors may grow to this, each.", unit="b")
    output_b: int = option(500 * 10**9, help="No output file may be as large as this.", unit="b")
    walk_s: float = option(300.0, help="The directory is summed up this often, or less if that takes long.", unit="s")


@frozen(kw_only=True)
class WallTimeOptions:
    """The monitor "walltime"."""

    section = "walltime"

    grace: float = option(1.0, help="What queue and job say of the wall time is multiplied by this.")


@frozen(kw_only=True)
class MemoryOptions:
    """The monitor "memory"."""

    section = "memory"

    grace: float = option(2.0, help="What the job, or else the queue, says of memory is multiplied by this.")
    limit_b: int | None = option(None, help="The payload may use this much, whatever queue and job say.", unit="b")


@frozen(kw_only=True)
class LoopingOptions:
    """The monitor "looping"."""

    section = "looping"

    check: bool = option(True, help="Whether a payload that does nothing is stopped.", job=True)
    limit_s: float = option(7200.0, help="It may do nothing for this long, unless the job says otherwise.", unit="s")
    cpu_share: float = option(0.01, help="Less than this share of one core counts as nothing.")
    ignore: tuple[str, ...] = option((), help="Files whose change counts as nothing: patterns, such as '*.log'.")


class Disk(Monitor):
    """Stops a job that fills the node, its directory, or one file of it, too much."""

    name = "disk"
    options = DiskOptions
    interval_s = 0.0

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._options = settings.of(DiskOptions)
        self._walk_due = 0.0
        self._size_b = 0

    def look(self, view: View) -> Reading:
        """Look at the free space and at single files each time, at the whole directory now and then."""
        if view.mono >= self._walk_due:
            self._sum_up(view)
        return Reading(measures={"disk_b": float(self._size_b)}, breach=self._breach(view))

    def _sum_up(self, view: View) -> None:
        began = time.monotonic()
        with Inside(view.workdir) as folder:
            self._size_b = sum(about.st_blocks * 512 for _, about in folder.walk())
        took_s = time.monotonic() - began
        self._walk_due = view.mono + max(self._options.walk_s, took_s / WALK_SHARE)

    def _breach(self, view: View) -> PilotError | None:
        options = self._options
        if (free_b := free_bytes(view.workdir)) < options.free_b:
            return _too_little(free_b, options.free_b)
        limit_b = options.limit_b if options.limit_b is not None else _directory_limit_b(view, options.grace)
        if limit_b is not None and self._size_b > limit_b:
            return _too_much(Code.USERDIRTOOLARGE, "the job's directory", self._size_b, limit_b)
        for name in OUTPUT_FILES:
            if (size_b := _size_of(view.workdir, name)) > options.stdout_b:
                return _too_much(Code.STDOUTTOOBIG, name, size_b, options.stdout_b)
        for file in view.job.outputs:
            if (size_b := _size_of(view.workdir, file.lfn)) >= options.output_b:
                return _too_much(Code.OUTPUTFILETOOLARGE, file.lfn, size_b, options.output_b)
        return None


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


class Memory(Monitor):
    """Stops a payload whose processes together use too much memory."""

    name = "memory"
    options = MemoryOptions
    interval_s = 0.0

    def look(self, view: View) -> Reading:
        """Compare what the process tree holds now with the limit."""
        options = self.settings.of(MemoryOptions)
        limit_b = options.limit_b if options.limit_b is not None else _memory_limit_b(view, options.grace)
        if limit_b is None or view.usage.rss_b <= limit_b:
            return Reading()
        return Reading(breach=_too_much(Code.PAYLOADEXCEEDMAXMEM, "the payload's memory", view.usage.rss_b, limit_b))


class Looping(Monitor):
    """Stops a payload that neither computes nor touches a file of its directory for too long.

    Files are looked at only when it has not computed for the whole limit. A jump of the wall clock, as after the node
    was suspended, begins the time anew.
    """

    name = "looping"
    options = LoopingOptions
    interval_s = 0.0

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._options = settings.of(LoopingOptions)
        self._active: float | None = None
        self._cpu_s = 0.0
        self._looked = (0.0, 0.0)

    def look(self, view: View) -> Reading:
        """Note what it did, and say how long it has done nothing if that is too long."""
        limit_s = view.job.looping_limit_s or self._options.limit_s
        if not (self._options.check and limit_s):
            return Reading()
        active = self._note(view)
        if view.mono - active >= limit_s:
            active = self._active = max(active, self._touched(view))
        idle_s = view.mono - active
        if idle_s < limit_s:
            return Reading()
        told = f"it has neither computed nor touched a file for {idle_s:.0f} s, {limit_s:.0f} s are allowed"
        return Reading(breach=PilotError(Code.LOOPINGJOB, told, value_s=round(idle_s), limit_s=limit_s))

    def _note(self, view: View) -> float:
        """When the payload was last seen to compute."""
        now, cpu_s = time.time(), view.usage.cpu_user_s + view.usage.cpu_system_s
        wall, mono = self._looked
        passed_s = view.mono - mono
        if self._active is None:
            self._active = view.mono - view.running_s
        elif cpu_s - self._cpu_s > passed_s * self._options.cpu_share or abs(now - wall - passed_s) > JUMP_S:
            self._active = view.mono
        self._cpu_s, self._looked = cpu_s, (now, view.mono)
        return self._active

    def _touched(self, view: View) -> float:
        """When a file was last touched, by the monotonic clock."""
        with Inside(view.workdir) as folder:
            times = [about.st_mtime for path, about in folder.walk() if not self._is_ignored(path)]
        return view.mono - max(time.time() - max(times, default=0.0), 0.0)

    def _is_ignored(self, path: str) -> bool:
        name = path.rpartition("/")[2]
        return any(fnmatchcase(path, pattern) or fnmatchcase(name, pattern) for pattern in self._options.ignore)


def _directory_limit_b(view: View, grace: float) -> float | None:
    """The job's own limit, and the queue's by the job's share of its cores."""
    limits = [limit for limit in (view.job.needs.disk_b, _share_b(view, view.queue.disk_b)) if limit]
    return min(limits) * grace if limits else None


def _memory_limit_b(view: View, grace: float) -> float | None:
    limit_b = view.job.needs.memory_b or _share_b(view, view.queue.memory_b)
    return limit_b * grace if limit_b else None


def _share_b(view: View, limit_b: int | None) -> float | None:
    """What a queue grants a whole slot, for a job with fewer cores than that."""
    if limit_b is None:
        return None
    return limit_b * min(1.0, view.job.needs.cores / (view.queue.cores or 1))


def _size_of(workdir: Path, name: str) -> int:
    try:
        return (workdir / name).lstat().st_size
    except OSError:
        return 0


def _too_much(code: ErrorCode, what: str, value_b: float, limit_b: float) -> PilotError:
    told = f"{what}: {value_b / 1e6:.1f} MB, {limit_b / 1e6:.1f} MB are allowed"
    return PilotError(code, told, value_b=int(value_b), limit_b=int(limit_b))


def _too_little(free_b: int, limit_b: int) -> PilotError:
    told = f"{free_b / 1e6:.1f} MB are free on the node, {limit_b / 1e6:.1f} MB must be"
    return PilotError(Code.NOLOCALSPACE, told, value_b=free_b, limit_b=limit_b)
