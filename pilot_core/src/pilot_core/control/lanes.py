"""The same work on several things, a few at a time, in threads that are over when it is."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextvars import copy_context
from typing import TypeVar

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
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if len(done) < len(things):
        raise RuntimeError(f"{name}: {len(things) - len(done)} of {len(things)} came to no end; a thread failed")
    return [done[number] for number in range(len(things))]
