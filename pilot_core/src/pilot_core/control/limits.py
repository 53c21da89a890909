"""Limits of what is under way, and the lookout that ends what no longer moves or is about to fill the disk."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from attrs import define

from pilot_core.control.lanes import Progress
from pilot_core.errors import Code, PilotError
from pilot_core.io.cancel import CancelFlag
from pilot_core.io.files import free_bytes
from pilot_core.spec.work import Cancel

LOOK_S = 1.0


class Limit(CancelFlag):
    """A cancellation that also comes by itself when time is up, or for a reason of somebody's who watches."""

    def __init__(self, asked: Cancel, limit_s: float | None) -> None:
        super().__init__()
        self.asked = asked
        self.limit_s = limit_s
        self.why: PilotError | None = None
        self._until = None if limit_s is None else time.monotonic() + limit_s

    def is_set(self) -> bool:
        """Whether to end now, for any reason."""
        return super().is_set() or self.asked.is_set() or self.is_over()

    def is_over(self) -> bool:
        """Whether time is up."""
        return self._until is not None and time.monotonic() >= self._until

    def left_s(self) -> float | None:
        """How long is left."""
        return None if self._until is None else max(self._until - time.monotonic(), 0.0)

    def wait(self, limit_s: float) -> bool:
        """Wait for the end, at most so long; whether it came."""
        left_s = self.left_s()
        limit_s = limit_s if left_s is None else min(limit_s, left_s)
        if isinstance(self.asked, CancelFlag):
            with self.asked.calling(self.set):
                super().wait(limit_s)
        else:
            self.asked.wait(limit_s)
        return self.is_set()

    def end(self, why: PilotError) -> None:
        """Have it come now, for this reason."""
        self.why = self.why or why
        self.set()

    @contextmanager
    def calling(self, call: Callable[[], None]) -> Iterator[None]:
        """Within the block the end makes this call, unless it is only time that is up."""
        with ExitStack() as heard:
            heard.enter_context(super().calling(call))
            if isinstance(self.asked, CancelFlag):
                heard.enter_context(self.asked.calling(self.set))
            yield


@define(eq=False)
class Call:
    """A call of a tool under way: what it moves, where that arrives, and how it can be ended.

    With less than ``reserve_b`` free in the ``folder`` where files arrive it is ended: it would fill the disk.
    """

    limit: Limit
    progress: Progress
    arrives: Sequence[Path]
    """Paths that grow while it goes on; none where files leave."""
    folder: Path
    reserve_b: int
    stall_s: float
    silent_s: float
    """How long it may take if it never tells of a byte."""
    stalled: PilotError
    late: PilotError
    moved_b: int = 0
    moved_at: float = 0.0

    def look(self) -> None:
        """End it where it would fill the disk, or nothing has moved for too long."""
        if self.arrives and (full := self._full()) is not None:
            self.limit.end(full)
        self._look_for_bytes()

    def _look_for_bytes(self) -> None:
        """What waits for the far end when all is sent has its time."""
        now, moved_b = time.monotonic(), max(self.progress.done_b, sum(map(_size, self.arrives)))
        if moved_b != self.moved_b:
            self.moved_b, self.moved_at = moved_b, now
        size_b = self.progress.size_b
        waits = size_b is not None and moved_b >= size_b
        if (self.arrives or moved_b) and not waits and now - max(self.moved_at, self.progress.mono) >= self.stall_s:
            self.limit.end(self.stalled)
        elif not moved_b and now - self.progress.mono >= self.silent_s:
            self.limit.end(self.late)

    def _full(self) -> PilotError | None:
        with suppress(OSError):
            free_b = free_bytes(self.folder)
            if free_b < self.reserve_b:
                return PilotError(Code.NOLOCALSPACE, f"{free_b} B are left in {self.folder}")
        return None


def _size(path: Path) -> int:
    with suppress(OSError):
        return path.lstat().st_size
    return 0


class Lookout:
    """Looks at what is under way, once a second, in a thread that goes when it finds nothing any more."""

    def __init__(self) -> None:
        self._calls: dict[Call, None] = {}
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    @contextmanager
    def over(self, call: Call) -> Iterator[None]:
        """Within the block the call is looked at."""
        with self._lock:
            self._calls[call] = None
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="lookout", daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            with self._lock:
                del self._calls[call]

    def close(self) -> None:
        """Look no more; who looks at a disk that hangs is not waited for."""
        self._over.set()
        if (thread := self._thread) is not None:
            thread.join(LOOK_S)

    def _run(self) -> None:
        while not self._over.wait(self._pause_s()) and (calls := self._under_way()):
            for call in calls:
                call.look()

    def _pause_s(self) -> float:
        with self._lock:
            return min((LOOK_S, *(call.stall_s / 4 for call in self._calls)))

    def _under_way(self) -> list[Call]:
        with self._lock:
            if not self._calls:
                self._thread = None
            return list(self._calls)
