"""Threads that block for the loop: each piece of work ends in exactly one answer, or is left behind and named."""

from __future__ import annotations

import logging
import threading
import traceback
from collections.abc import Callable, Hashable
from queue import SimpleQueue
from typing import TypeVar

from pilot_core.control.blame import by_plugin
from pilot_core.errors import Code, PilotError
from pilot_core.plugins.guard import PluginFailed, is_ours
from pilot_core.plugins.patience import where

T = TypeVar("T")
log = logging.getLogger(__name__)


def answer(work: Callable[[], T]) -> T | PilotError:
    """Do the work; whatever it raises becomes an error with a code. The boundary of every worker."""
    try:
        return work()
    except PilotError as error:
        return error
    except PluginFailed as failed:
        log.warning("%s", failed, exc_info=failed)
        return by_plugin(failed)
    except BaseException as failure:
        if is_ours(failure):
            raise
        log.exception("a worker failed")
        where = traceback.extract_tb(failure.__traceback__)[-1]
        detail = f"{type(failure).__name__}: {failure} ({where.filename.rpartition('/')[2]}:{where.lineno})"
        return PilotError(Code.INTERNALPILOTPROBLEM, detail)


class Hand:
    """A thread that does one piece of work after another."""

    def __init__(self) -> None:
        self.does = ""
        self._orders: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self.thread = threading.Thread(target=self._live, daemon=True)
        self.thread.start()

    def give(self, name: str, work: Callable[[], None]) -> None:
        """Let it do this, under this name."""
        self.does = self.thread.name = name
        self._orders.put(work)

    def dismiss(self) -> None:
        """Let it end when it has done what it was given."""
        self._orders.put(None)

    def _live(self) -> None:
        while (work := self._orders.get()) is not None:
            work()


class Workers:
    """A hand for each piece of work. Used by the loop's thread alone; ``home`` brings a call there."""

    def __init__(self, home: Callable[[Callable[[], None]], None]) -> None:
        self._home = home
        self._busy: dict[Hashable, Hand] = {}
        self._idle: list[Hand] = []
        self._left: list[Hand] = []

    def begin(self, key: Hashable, name: str, work: Callable[[], T], end: Callable[[T | PilotError], None]) -> None:
        """Do ``work`` in a thread of that name; ``end`` gets its one answer, unless it was left behind."""
        hand = self._busy[key] = self._idle.pop() if self._idle else Hand()

        def come_home(answered: T | PilotError) -> None:
            hand.does = ""
            self._idle.append(hand)
            if hand in self._left:
                self._left.remove(hand)
            if self._busy.get(key) is hand:
                del self._busy[key]
                end(answered)

        def live() -> None:
            answered = answer(work)
            self._home(lambda: come_home(answered))

        hand.give(name, live)

    def busy(self, key: Hashable) -> bool:
        """Whether this piece of work is under way."""
        return key in self._busy

    def stands(self, key: Hashable) -> str:
        """The place where a piece of work stands, if it is under way."""
        return where(self._busy[key].thread) if key in self._busy else ""

    def abandon(self, key: Hashable) -> str:
        """Leave a piece of work behind; says where its thread stands."""
        stood = self.stands(key)
        hand = self._busy.pop(key, None)
        if hand is not None:
            self._left.append(hand)
        return stood

    def close(self) -> None:
        """Dismiss everybody; who still works ends afterwards, and is not waited for."""
        for hand in (*self._idle, *self._busy.values(), *self._left):
            hand.dismiss()
        for hand in self._idle:
            hand.thread.join()
        self._idle.clear()

    def left_behind(self) -> tuple[str, ...]:
        """Work that outlived its budget and still goes on, and where it stands."""
        return tuple(f"{hand.does} in {where(hand.thread)}" for hand in self._left)


class Lane:
    """One thread that does small things in order, such as telling observers the news."""

    def __init__(self, name: str) -> None:
        self._queue: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def put(self, call: Callable[[], object]) -> None:
        """Have this done after everything put before."""
        self._queue.put(call)

    def close(self, limit_s: float) -> bool:
        """Let it come to its end, so long at most; whether it did."""
        self._queue.put(None)
        self._thread.join(limit_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (call := self._queue.get()) is not None:
            answer(call)
