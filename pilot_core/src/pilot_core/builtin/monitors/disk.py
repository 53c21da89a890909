"""The monitor "disk": the node's free space, the job's directory, its output and each of its files.

It is asked whenever the pilot measures, and paces by itself what is costly.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from attrs import frozen

from pilot_core.builtin.monitors.limits import share_b, too_much
from pilot_core.sdk import Code, Monitor, PilotError, Reading, Settings, View, option
from pilot_core.sdk.io import Inside, free_bytes

WALK_SHARE: Final = 0.01


@frozen(kw_only=True)
class DiskOptions:
    """The monitor "disk"."""

    section = "disk"

    free_b: int = option(10**9, help="With less than this free on the node, the job is stopped.", unit="b")
    limit_b: int | None = option(None, help="The directory may grow to this, whatever queue and job say.", unit="b")
    grace: float = option(1.2, help="What queue and job say of the directory's size is multiplied by this.")
    output_b: int = option(500 * 10**9, help="No output file may be as large as this.", unit="b")
    walk_s: float = option(300.0, help="The directory is summed up this often, or less if that takes long.", unit="s")


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
        if view.workdir.is_symlink() or not view.workdir.is_dir():
            return Reading()  # the payload removed it, and the diagnosis will say so
        if view.mono >= self._walk_due:
            self._sum_up(view)
        return Reading(measures={"disk_b": float(self._size_b)}, breach=self._breach(view))

    def _sum_up(self, view: View) -> None:
        began = time.monotonic()
        with Inside(view.workdir) as folder:
            self._size_b = sum(about.st_blocks * 512 for about in _once(about for _, about in folder.walk()))
        took_s = time.monotonic() - began
        self._walk_due = view.mono + max(self._options.walk_s, took_s / WALK_SHARE)

    def _breach(self, view: View) -> PilotError | None:
        options = self._options
        if (free_b := free_bytes(view.workdir)) < options.free_b:
            return _too_little(free_b, options.free_b)
        limit_b = options.limit_b if options.limit_b is not None else _directory_limit_b(view, options.grace)
        if limit_b is not None and self._size_b > limit_b:
            return too_much(Code.USERDIRTOOLARGE, "the job's directory", self._size_b, limit_b)
        for file in view.job.outputs:
            if (size_b := _size_of(view.workdir, file.local)) >= options.output_b:
                return too_much(Code.OUTPUTFILETOOLARGE, file.lfn, size_b, options.output_b)
        return None


def _once(found: Iterable[os.stat_result]) -> Iterator[os.stat_result]:
    """Each file once, however many names it has."""
    seen: set[tuple[int, int]] = set()
    for about in found:
        if about.st_nlink > 1:
            if (about.st_dev, about.st_ino) in seen:
                continue
            seen.add((about.st_dev, about.st_ino))
        yield about


def _directory_limit_b(view: View, grace: float) -> float | None:
    """The job's own limit, and the queue's by the job's share of its cores."""
    limits = [limit for limit in (view.job.needs.disk_b, share_b(view, view.queue.disk_b)) if limit]
    return min(limits) * grace if limits else None


def _size_of(workdir: Path, name: str) -> int:
    try:
        return (workdir / name).lstat().st_size
    except OSError:
        return 0


def _too_little(free_b: int, limit_b: int) -> PilotError:
    told = f"{free_b / 1e6:.1f} MB are free on the node, {limit_b / 1e6:.1f} MB must be"
    return PilotError(Code.NOLOCALSPACE, told, value_b=free_b, limit_b=limit_b)
