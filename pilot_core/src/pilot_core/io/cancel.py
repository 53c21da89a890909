"""A request to stop, made once, from any thread."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Cancelled(Exception):
    """The work was given up because somebody asked for it."""


class Flag(Protocol):
    """What work that goes block by block looks at between two blocks."""

    def is_set(self) -> bool: ...


class CancelFlag:
    """A flag that also wakes whoever waits for something else meanwhile."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._event = threading.Event()
        self._calls: list[Callable[[], None]] = []

    def set(self) -> None:
        with self._lock:
            self._event.set()
            while self._calls:
                self._calls.pop()()

    def is_set(self) -> bool:
        return self._event.is_set()

    def wait(self, limit_s: float) -> bool:
        return self._event.wait(limit_s)

    @contextmanager
    def calling(self, call: Callable[[], None]) -> Iterator[None]:
        """Within the block `set` makes this call, once; after the block never. The call must be short."""
        with self._lock:
            self._calls.append(call)
            if self.is_set():
                self.set()
        try:
            yield
        finally:
            with self._lock:
                if call in self._calls:
                    self._calls.remove(call)
