"""The monitor "looping": whether a payload still gets on, by all that can be seen of it from outside.

A payload that waits for what will never come and one that waits for what comes tomorrow look the same. Who is patient
for a reason says so: by its job's limit, or by a progress file.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from fnmatch import fnmatchcase
from typing import Final

from attrs import frozen

from pilot_core.builtin.monitors.signals import Signal
from pilot_core.sdk import Code, Monitor, PilotError, Reading, Settings, View, option
from pilot_core.sdk.io import Inside

JUMP_S: Final = 60.0
STACKS: Final = "looping_stacks.txt"
MOST_ASKED: Final = 64
"""Of so many processes, the youngest, it is asked how often they ran."""
LOOKS: Final = 8
"""So often in the time of the limit."""


@frozen(kw_only=True)
class LoopingOptions:
    """The monitor "looping"."""

    section = "looping"

    check: bool = option(True, help="Whether a payload that does nothing is stopped.", job=True)
    limit_s: float = option(7200.0, help="It may do nothing for this long, unless the job says otherwise.", unit="s")
    cpu_share: float = option(0.01, help="Less than this share of one core counts as nothing.")
    moved_b: int = option(10_000, help="Reading and writing less than this a second counts as nothing.", unit="b")
    switches: float = option(10.0, help="Being woken up less often than this a second counts as nothing.")
    gpu_share: float = option(0.01, help="Less than this share of one GPU counts as nothing.")
    ignore: tuple[str, ...] = option((), help="Files whose change counts as nothing: patterns, such as '*.log'.")
    progress: str = option(
        "", help="A file that the payload touches when it gets on; where it is, nothing else counts.", job=True
    )
    spin_s: float | None = option(
        None, help="Computing without reading, writing or touching a file may last this long.", unit="s"
    )
    stacks_s: float = option(20.0, help="Before the stop, stacks are taken for so long at most.", unit="s")


class Looping(Monitor):
    """Stops a payload that neither computes, moves bytes, is woken up, uses a GPU nor touches a file for too long.

    What costs something is looked at only when all else has stood still. A jump of the wall clock, as after the node
    was suspended, begins the time anew.
    """

    name = "looping"
    options = LoopingOptions
    interval_s = 0.0

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._options = settings.of(LoopingOptions)
        self._signals: dict[str, Signal] = {}
        self._ran: dict[int, int] = {}
        self._switches = 0.0
        self._looked = (0.0, 0.0)
        self._kept = False

    def look(self, view: View) -> Reading:
        """Note what it did, and say how long it has done nothing if that is too long."""
        limit_s = view.job.looping_limit_s or self._options.limit_s
        if not (self._options.check and limit_s):
            return Reading()
        self._note(view, limit_s)
        error = self._judge(view, limit_s, tuple(self._signals))
        if error is None and self._options.spin_s is not None:
            error = self._judge(view, self._options.spin_s, ("moved", "woken", "gpu", "file"))
        if error is not None and not self._kept:
            self._kept = True
            self._keep_stacks(view)
        return Reading(breach=error)

    def _judge(self, view: View, limit_s: float, which: tuple[str, ...]) -> PilotError | None:
        """Whether none of these signals was seen for too long; files are looked at last."""
        if self._options.progress and (told := self._progressed(view)) is not None:
            idle_s = view.mono - told
        else:
            idle_s = self._idle_s(view, which)
            if idle_s >= limit_s:
                file = self._signals["file"]
                file.since = max(file.since, self._touched(view))
                idle_s = self._idle_s(view, which)
        if idle_s < limit_s:
            return None
        told_s = {f"{name}_s": round(view.mono - signal.since) for name, signal in self._signals.items()}
        words = self._in_words(view, idle_s, limit_s)
        return PilotError(Code.LOOPINGJOB, words, value_s=round(idle_s), limit_s=limit_s, **told_s)

    def _idle_s(self, view: View, which: tuple[str, ...]) -> float:
        return view.mono - max(self._signals[name].since for name in which)

    # --- what was seen ---

    def _note(self, view: View, limit_s: float) -> None:
        now, usage, signals = view.mono, view.usage, self._signals
        if not signals:
            signals.update(self._begin(view))
        wall, mono = self._looked
        if mono and abs(time.time() - wall - (now - mono)) > JUMP_S:
            for each in signals.values():
                each.begin_anew(now)
        self._looked = time.time(), now
        signals["computed"].note(now, usage.cpu_s)
        signals["moved"].note(now, usage.rchar_b + usage.wchar_b)
        if usage.more.get("gpu_busy", 0.0) > self._options.gpu_share:
            signals["gpu"].begin_anew(now)
        others = ("moved", "gpu") if self._options.spin_s else ("computed", "moved", "gpu")
        if self._idle_s(view, others) > 0 and now - signals["woken"].looked >= limit_s / LOOKS:
            signals["woken"].note(now, self._woken(view))

    def _begin(self, view: View) -> Iterator[tuple[str, Signal]]:
        """All signals, as if they had been seen when the payload began."""
        options, began = self._options, view.mono - view.running_s
        least = {
            "computed": (options.cpu_share, "s of CPU time"),
            "moved": (float(options.moved_b), "B read and written"),
            "woken": (options.switches, "context switches"),
            "gpu": (options.gpu_share, "s of a GPU"),
            "file": (0.0, "files touched"),
        }
        for name, (rate, unit) in least.items():
            yield name, Signal(least=rate, unit=unit, since=began, looked=began)

    def _woken(self, view: View) -> float:
        """How often processes that were there before have been woken up, since they were first asked."""
        from pilot_core.sdk.processes import standing_of

        ran = {each.pid: each.switches for pid in view.pids[-MOST_ASKED:] if (each := standing_of(pid))}
        self._switches += sum(max(count - self._ran[pid], 0) for pid, count in ran.items() if pid in self._ran)
        self._ran = ran
        return self._switches

    def _touched(self, view: View) -> float:
        """When a file was last touched, by the monotonic clock."""
        with Inside(view.workdir) as folder:
            idle_s = [_untouched_s(about) for path, about in folder.walk() if not self._is_ignored(path)]
        return view.mono - min(idle_s, default=math.inf)

    def _is_ignored(self, path: str) -> bool:
        name = path.rpartition("/")[2]
        return any(
            fnmatchcase(path, pattern) or fnmatchcase(name, pattern) for pattern in (STACKS, *self._options.ignore)
        )

    def _progressed(self, view: View) -> float | None:
        """When the progress file was last touched, if there is one."""
        with suppress(OSError), Inside(view.workdir) as folder:
            return view.mono - _untouched_s(folder.stat(self._options.progress))
        return None

    # --- what is said of it ---

    def _in_words(self, view: View, idle_s: float, limit_s: float) -> str:
        from pilot_core.sdk.processes import in_words, standing_of

        computed, moved, woken = (str(self._signals[name]) for name in ("computed", "moved", "woken"))
        file_s = view.mono - self._signals["file"].since
        told = f"it has not got on for {idle_s:.0f} s, {limit_s:.0f} s are allowed"
        if self._options.progress and self._progressed(view) is not None:
            told += f", by its progress file {self._options.progress}"
        stand = in_words(each for pid in view.pids[-MOST_ASKED:] if (each := standing_of(pid)))
        seen = f"{computed}, {moved}, {woken} since the last of each that counted, no file touched for {file_s:.0f} s"
        return f"{told}: {seen}{f'; {stand}' if stand else ''}"

    def _keep_stacks(self, view: View) -> None:
        """Leave the stacks of the processes, the youngest first, where they come into the log."""
        from pilot_core.sdk.processes import write_stacks

        youngest = view.pids[: -MOST_ASKED - 1 : -1]
        if not youngest:
            return
        with suppress(OSError), Inside(view.workdir) as folder, folder.open_write(STACKS) as file:
            for each in write_stacks(youngest, self._options.stacks_s, os.environ):
                file.write(each.encode(errors="replace"))


def _untouched_s(about: os.stat_result) -> float:
    """How long nobody has touched a file; where its time lies in the future, since somebody set it so."""
    now = time.time()
    return max(now - (about.st_mtime if about.st_mtime <= now else about.st_ctime), 0.0)
