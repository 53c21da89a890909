"""A command with its descendants, looked at from its start to its end."""

from __future__ import annotations

import os
import resource
import signal
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import inf
from queue import Empty, SimpleQueue
from typing import Any, Final

from attrs import frozen

from pilot_core.api.analytics import Line, growth
from pilot_core.io.proctree import Identity, Sample, Tree
from pilot_core.keeper.process import send_signal

INTERVAL_S: Final = 1.0
GRACE_S: Final = 10.0
COUNTED_LATE_KB: Final = 4096
"""The kernel counts a process's memory in bunches: what is forked may be told as a little larger than we are."""
MADE_DEAF: Final = (signal.SIGPIPE, signal.SIGXFSZ)
"""What our interpreter ignores, and the command does not."""


@frozen(kw_only=True)
class Point:
    """The command's processes at one time after its start; of several that share memory each counts all of it."""

    at_s: float
    rss_b: int
    pss_b: int | None
    """With shared memory counted once; ``None`` where it was not looked at."""
    cpu_s: float
    processes: int
    threads: int
    read_b: int
    write_b: int


@frozen(kw_only=True)
class Watched:
    """How a command ended, and what it used. One of ``exit_code`` and ``signal`` is a number."""

    exit_code: int | None
    signal: int | None
    wall_s: float
    user_s: float
    system_s: float
    peak_b: int
    points: tuple[Point, ...]
    over_limit_b: int | None = None
    """What it used when it was ended for more memory than it may use."""

    @property
    def growth(self) -> Line | None:
        """The line through its memory over time."""
        return growth([point.at_s for point in self.points], [float(point.rss_b) for point in self.points])


class Watch:
    """One command. ``start()``, then ``wait()`` in one thread; any other may ``signal()`` or ``stop()`` it.

    ``pss`` looks at shared memory each time, which is dearer; ``seen`` is given every point as it is measured. The
    command starts with the signals in ``mask`` blocked.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        interval_s: float = INTERVAL_S,
        memory_limit_b: int | None = None,
        grace_s: float = GRACE_S,
        pss: bool = False,
        env: Mapping[str, str] | None = None,
        mask: Iterable[int] = (),
        seen: Callable[[Point], None] = lambda _: None,
    ) -> None:
        self._command, self._env, self._mask = list(command), env, mask
        self._interval_s, self._limit_b, self._grace_s = interval_s, memory_limit_b, grace_s
        self._pss, self._seen = pss, seen
        self._news: SimpleQueue[str] = SimpleQueue()
        self._points: list[Point] = []
        self._members: tuple[Identity, ...] = ()
        self._over_b: int | None = None
        self._kill_at = inf
        self._buried = threading.Lock()
        self._is_buried = False

    def start(self) -> int:
        """Start it with our own input and outputs; its process number. Raises ``OSError`` where that fails."""
        self._own_peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        environ = os.environ if self._env is None else self._env
        program = self._command[0]
        self.pid = os.posix_spawnp(program, self._command, environ, setsigmask=self._mask, setsigdef=MADE_DEAF)
        self._began = self._next = time.monotonic()
        self._tree = Tree(self.pid)
        threading.Thread(target=self._await_end, name=f"wait {program}", daemon=True).start()
        return self.pid

    def signal(self, signum: int) -> None:
        """Pass a signal on; after the end it is lost, and nobody else gets it."""
        with self._buried:
            if not self._is_buried:
                os.kill(self.pid, signum)

    def stop(self) -> None:
        """Have it and its descendants asked to end, and killed after the grace."""
        self._news.put("stop")

    def wait(self) -> Watched:
        """Look until it ends."""
        with self._tree:
            while (news := self._next_news()) != "ended":
                if news == "stop":
                    self._ask_to_end()
                elif time.monotonic() >= self._kill_at:
                    self._kill()
                else:
                    self._measure()
        return self._bury()

    def _await_end(self) -> None:
        """Until its status is taken, its number is its own."""
        os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        self._news.put("ended")

    def _next_news(self) -> str:
        due = min(self._next, self._kill_at) - time.monotonic()
        try:
            return self._news.get(timeout=max(due, 0.0))
        except Empty:
            return ""

    def _measure(self) -> None:
        now = time.monotonic()
        sample = self._tree.sample(self._pss)
        self._next = max(now, self._next + self._interval_s)
        self._members = sample.members
        if not sample.members:
            return
        point = _point(now - self._began, sample)
        self._points.append(point)
        self._seen(point)
        if self._limit_b is not None and point.rss_b > self._limit_b and self._kill_at == inf:
            self._check_limit(self._limit_b)

    def _check_limit(self, limit_b: int) -> None:
        """Memory that is shared counts once before somebody is ended for it."""
        used_b = self._tree.sample(pss=True).pss_b or 0
        if used_b > limit_b:
            self._over_b = used_b
            self._ask_to_end()

    def _ask_to_end(self) -> None:
        if self._kill_at == inf:
            self._kill_at = time.monotonic() + self._grace_s
            self._members = self._tree.sample().members
            _send(self._members, signal.SIGTERM)
            _send(self._members, signal.SIGCONT)

    def _kill(self) -> None:
        """All that is there; what is stopped first does not fork, and is found when nothing new turns up."""
        stopped: set[Identity] = set()
        while fresh := {*self._tree.sample().members} - stopped:
            _send(fresh, signal.SIGSTOP)
            stopped |= fresh
        _send(stopped, signal.SIGKILL)
        self._kill_at = time.monotonic() + self._interval_s

    def _bury(self) -> Watched:
        with self._buried:
            _, status, usage = os.wait4(self.pid, 0)
            self._is_buried = True
        if self._kill_at < inf:
            _send(self._members, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(status)
        seen_b = max((point.rss_b for point in self._points), default=0)
        told_b = usage.ru_maxrss * 1024 if usage.ru_maxrss > self._own_peak_kb + COUNTED_LATE_KB else 0
        return Watched(
            exit_code=code if code >= 0 else None,
            signal=-code if code < 0 else None,
            wall_s=time.monotonic() - self._began,
            user_s=usage.ru_utime,
            system_s=usage.ru_stime,
            peak_b=max(seen_b, told_b),
            points=tuple(self._points),
            over_limit_b=self._over_b,
        )


def watch(command: Sequence[str], **how: Any) -> Watched:
    """Run a command and look at it until it ends; what else can be said is what ``Watch`` takes."""
    watching = Watch(command, **how)
    watching.start()
    return watching.wait()


async def awatch(command: Sequence[str], **how: Any) -> Watched:
    """The same; when it is cancelled, the command is ended first."""
    import asyncio

    watching = Watch(command, **how)
    watching.start()
    waiting = asyncio.ensure_future(asyncio.to_thread(watching.wait))
    try:
        return await asyncio.shield(waiting)
    except asyncio.CancelledError:
        watching.stop()
        await waiting
        raise


def _send(processes: Iterable[Identity], signum: int) -> None:
    for each in processes:
        send_signal((each.pid, each.start_ticks), signum)


def _point(at_s: float, sample: Sample) -> Point:
    return Point(
        at_s=at_s,
        rss_b=sample.rss_b,
        pss_b=sample.pss_b,
        cpu_s=sample.utime_s + sample.stime_s,
        processes=len(sample.members),
        threads=sample.threads,
        read_b=sample.read_b,
        write_b=sample.write_b,
    )
