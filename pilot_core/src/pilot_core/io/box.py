"""The event box: threads drop events into it, the loop waits on it and on nothing else.

One selector watches a bell (an eventfd that posting threads ring), the wake-up descriptor of signals,
and whatever descriptors are lent: sockets, pidfds. So nothing polls.
"""

from __future__ import annotations

import os
import selectors
import signal
import threading
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import FrameType

E = TypeVar("E")


class HasFileno(Protocol):
    def fileno(self) -> int: ...


class Box(Generic[E]):
    """Events of type ``E``, from any thread to one.

    ``post`` may be called anywhere; everything else belongs to the thread that waits, and
    ``watch_signals`` to the main thread. With ``last`` the process ends when it is closed: signals that were watched
    can't change any more how.
    """

    def __init__(self, last: bool = False) -> None:
        self._last = last
        self._events: deque[E] = deque()
        self._selector = selectors.DefaultSelector()
        self._bell = _Bell()
        self.lend(self._bell, self._bell.quiet)
        self._signals: _Signals[E] | None = None

    def post(self, event: E) -> None:
        """Add an event. Never blocks; once the box is closed, nobody will hear it."""
        self._events.append(event)
        self._bell.ring()

    def wait(self, timeout_s: float | None = None) -> list[E]:
        """Wait until something happens or time is up (``None``: for ever).

        Each source's events come in its own order. An empty list says that time is up, or that what
        stirred had nothing to tell yet.
        """
        happened: list[E] = []
        for key, _ in self._selector.select(0 if self._events else timeout_s):
            if self._selector.get_map().get(key.fd) is key:  # an earlier one may have taken it back
                happened.extend(key.data())
        happened.extend(self._events.popleft() for _ in range(len(self._events)))
        return happened

    def lend(self, fileobj: int | HasFileno, on_ready: Callable[[], Iterable[E]]) -> None:
        """Watch a descriptor; whenever it is readable the waiting thread calls ``on_ready`` for its events.

        ``on_ready`` must read what made it ready, or take the descriptor back, and must not block.
        """
        self._selector.register(fileobj, selectors.EVENT_READ, on_ready)

    def take_back(self, fileobj: int | HasFileno) -> None:
        """Stop watching a lent descriptor. Do it before closing; ``KeyError`` if it was not lent."""
        self._selector.unregister(fileobj)

    def watch_signals(self, signums: Iterable[int], as_event: Callable[[int], E]) -> None:
        """Turn these signals into events from now until the box is closed."""
        if self._signals is None:
            self._signals = _Signals(as_event, signal.SIG_IGN if self._last else None)
            self.lend(self._signals, self._signals.read)
        self._signals.watch(signums)

    def close(self) -> None:
        """Give signals and descriptors back. Lent descriptors stay open: they are their owners'."""
        if self._signals is not None:
            self._signals.close()
        self._selector.close()
        self._bell.close()


class _Bell:
    """A descriptor that is readable from the first ring until it is quieted."""

    def __init__(self) -> None:
        self._read_fd, self._write_fd = _bell_fds()
        self._rung = False
        self._lock = threading.Lock()

    def fileno(self) -> int:
        return self._read_fd

    def ring(self) -> None:
        if self._rung:
            return
        with self._lock:  # for one write, which cannot block; so close() never pulls the descriptor away
            if not self._rung:
                self._rung = True
                os.write(self._write_fd, b"\1\0\0\0\0\0\0\0")

    def quiet(self) -> Iterable[Any]:
        with self._lock:
            os.read(self._read_fd, 8)
            self._rung = False
        return ()

    def close(self) -> None:
        with self._lock:
            self._rung = True
        for fd in {self._read_fd, self._write_fd}:
            os.close(fd)


class _Signals(Generic[E]):
    """Signals written by the interpreter, in C, as bytes into a pipe."""

    def __init__(self, as_event: Callable[[int], E], afterwards: signal.Handlers | None) -> None:
        self._as_event, self._afterwards = as_event, afterwards
        self._before: dict[int, Any] = {}
        self._read_fd, self._write_fd = _pipe()
        self._fd_before = signal.set_wakeup_fd(self._write_fd, warn_on_full_buffer=False)

    def fileno(self) -> int:
        return self._read_fd

    def watch(self, signums: Iterable[int]) -> None:
        for signum in signums:
            before = signal.signal(signum, _heard)
            self._before.setdefault(signum, before)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signum])  # whoever started us may have had it blocked

    def read(self) -> Iterable[E]:
        with suppress(BlockingIOError):
            numbers = os.read(self._read_fd, 4096)
            return [self._as_event(number) for number in numbers if number in self._before]
        return ()

    def close(self) -> None:
        for signum, before in self._before.items():
            signal.signal(signum, self._afterwards or before or signal.SIG_DFL)
        signal.set_wakeup_fd(self._fd_before)
        os.close(self._read_fd)
        os.close(self._write_fd)


def _heard(signum: int, frame: FrameType | None) -> None:
    """Do nothing: a handler has to be there for the interpreter to write the number."""


def _bell_fds() -> tuple[int, int]:
    if hasattr(os, "eventfd"):
        fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        return fd, fd
    return _pipe()


def _pipe() -> tuple[int, int]:
    ends = os.pipe()
    for fd in ends:
        os.set_blocking(fd, False)
    return ends
