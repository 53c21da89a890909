"""Many files by a few threads: each answer as soon as it is known, and all bytes in one sum."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from threading import Lock

from attrs import define, evolve, field, frozen

from pilot_core.sdk import Cancel, Moved, Moving, PilotError, Wanted
from pilot_core.sdk.io import CancelFlag

Move = Callable[[Wanted, Moving], Moved]


def move_many(
    move: Move, wanted: Sequence[Wanted], moving: Moving, lanes: int
) -> Iterator[tuple[Wanted, Moved | PilotError]]:
    """Let ``move`` work on each file. What is not begun when the iterator is closed is given up, and so is the rest."""
    closed, tally = CancelFlag(), _Tally(moving)
    cancel = _Either(moving.cancel, closed)
    pool = ThreadPoolExecutor(lanes, thread_name_prefix="copy")
    try:
        begun = {pool.submit(_answer, move, each, tally.part(cancel)): each for each in wanted}
        for done in as_completed(begun):
            yield begun[done], done.result()
    finally:
        closed.set()
        pool.shutdown(cancel_futures=True)


def _answer(move: Move, wanted: Wanted, moving: Moving) -> Moved | PilotError:
    try:
        return move(wanted, moving)
    except PilotError as error:
        return error


@frozen
class _Either:
    """A cancellation that comes from either side."""

    asked: Cancel
    closed: CancelFlag

    def is_set(self) -> bool:
        return self.asked.is_set() or self.closed.is_set()

    def wait(self, limit_s: float) -> bool:
        return self.closed.wait(0) or self.asked.wait(limit_s)


@define
class _Tally:
    """The sum of all bytes that have moved."""

    moving: Moving
    moved_b: int = 0
    lock: Lock = field(factory=Lock)

    def part(self, cancel: Cancel) -> Moving:
        """What one file's mover may use: it tells its own bytes, and all of them are told."""
        told_b = 0

        def tell(size_b: int) -> None:
            nonlocal told_b
            with self.lock:
                self.moved_b += size_b - told_b
                told_b = size_b
                self.moving.progress(self.moved_b)

        return evolve(self.moving, cancel=cancel, progress=tell, kept_b=0)
