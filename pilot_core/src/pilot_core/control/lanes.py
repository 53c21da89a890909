"""The same work on several things, a few at a time, in threads that are over when it is; and how far each has come."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import copy_context
from typing import TypeVar

from attrs import define

T = TypeVar("T")
R = TypeVar("R")


def in_lanes(work: Callable[[T], R], things: Sequence[T], lanes: int, name: str) -> list[R]:
    """What ``work`` gives for each thing, in order. ``work`` returns its failures, it does not raise them."""
    if min(lanes, len(things)) <= 1:
        return [work(thing) for thing in things]
    waiting = deque(enumerate(things))
    done: dict[int, R] = {}

    def live() -> None:
        while waiting:
            try:
                number, thing = waiting.popleft()
            except IndexError:
                return
            done[number] = work(thing)

    threads = [
        threading.Thread(target=copy_context().run, args=[live], name=f"{name}-{lane}", daemon=True)
        for lane in range(min(lanes, len(things)))
    ]
    begun = _begin(threads)
    for thread in begun:
        thread.join()
    if not begun:
        live()
    if len(done) < len(things):
        raise RuntimeError(f"{name}: {len(things) - len(done)} of {len(things)} came to no end; a thread failed")
    return [done[number] for number in range(len(things))]


def _begin(threads: Sequence[threading.Thread]) -> list[threading.Thread]:
    """As many of them as the node has to give."""
    begun = []
    with suppress(RuntimeError):
        for thread in threads:
            thread.start()
            begun.append(thread)
    return begun


@define(eq=False)
class Progress:
    """How far a file has come: told by the thread that moves it, read by any."""

    job: str
    name: str
    direction: str
    size_b: int | None
    began: float
    mono: float
    done_b: int = 0
    over: bool = False
    hear: Callable[[Progress], None] | None = None

    def tell(self, done_b: int) -> None:
        """So many bytes have gone by: once a block, so there is little here but this."""
        self.done_b = done_b
        if self.hear is not None:
            self.hear(self)


class UnderWay:
    """The files on their way, of all jobs; ``hear`` is told of each as it comes along, and when it has come."""

    def __init__(self, hear: Callable[[Progress], None] | None = None) -> None:
        self._hear = hear
        self._lock = threading.Lock()
        self._all: dict[Progress, None] = {}

    @contextmanager
    def move(self, job: str, name: str, direction: str, size_b: int | None) -> Iterator[Progress]:
        """Within the block the file is on its way."""
        progress = Progress(job, name, direction, size_b, time.time(), time.monotonic(), hear=self._hear)
        with self._lock:
            self._all[progress] = None
        try:
            yield progress
        finally:
            with self._lock:
                del self._all[progress]
            progress.over = True
            progress.tell(progress.done_b)

    def told(self) -> Mapping[str, list[Mapping[str, object]]]:
        """By job what is on its way, as JSON."""
        with self._lock:
            moving = list(self._all)
        told: dict[str, list[Mapping[str, object]]] = {}
        for each in moving:
            told.setdefault(each.job, []).append(_shown(each))
        return told


def _shown(progress: Progress) -> Mapping[str, object]:
    return {
        "name": progress.name,
        "direction": progress.direction,
        "done_b": progress.done_b,
        "size_b": progress.size_b,
        "began": progress.began,
        "running_s": time.monotonic() - progress.mono,
    }
