"""Threads that block for the loop: each piece of work ends in exactly one answer, or is left behind and named."""

from __future__ import annotations

import logging
import threading
import traceback
from collections import deque
from collections.abc import Callable, Hashable
from queue import SimpleQueue
from typing import TypeVar

from attrs import define

from pilot_core.control.blame import by_plugin
from pilot_core.errors import Code, PilotError
from pilot_core.plugins.guard import PluginFailed, is_ours
from pilot_core.plugins.hands import Hand, Hands
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


@define(eq=False)
class Doing:
    """A piece of work, and who does it, once there is somebody."""

    name: str
    live: Callable[[], None]
    hand: Hand | None = None

    @property
    def stands(self) -> str:
        """The place where it stands."""
        return where(self.hand.thread if self.hand else None)


class Workers:
    """A hand for each piece of work. Used by the loop's thread alone; ``home`` brings a call there.

    Where the node has no more threads to give, work waits for one that comes home.
    """

    def __init__(self, home: Callable[[Callable[[], None]], None], hands: Hands) -> None:
        self._home = home
        self._hands = hands
        self._busy: dict[Hashable, Doing] = {}
        self._waiting: deque[Doing] = deque()
        self._left: list[Doing] = []

    def begin(self, key: Hashable, name: str, work: Callable[[], T], end: Callable[[T | PilotError], None]) -> None:
        """Do ``work`` in a thread of that name; ``end`` gets its one answer, unless it was left behind."""

        def come_home(answered: T | PilotError) -> None:
            self._come_home(doing)
            if self._busy.get(key) is doing:
                del self._busy[key]
                end(answered)

        def live() -> None:
            answered = answer(work)
            self._home(lambda: come_home(answered))

        doing = self._busy[key] = Doing(name, live)
        self._waiting.append(doing)
        self._go_on()

    def _go_on(self) -> None:
        """Give out what waits, as long as there is somebody to do it."""
        while self._waiting:
            try:
                hand = self._waiting[0].hand = self._hands.take()
            except RuntimeError as error:
                log.warning("%s waits for a thread: %s", self._waiting[0].name, error)
                return
            doing = self._waiting.popleft()
            hand.give(doing.name, doing.live)

    def _come_home(self, doing: Doing) -> None:
        assert doing.hand is not None
        self._hands.rest(doing.hand)
        if doing in self._left:
            self._left.remove(doing)
        self._go_on()

    def busy(self, key: Hashable) -> bool:
        """Whether this piece of work is under way."""
        return key in self._busy

    def stands(self, key: Hashable) -> str:
        """The place where a piece of work stands, if it is under way."""
        return self._busy[key].stands if key in self._busy else ""

    def abandon(self, key: Hashable) -> str:
        """Leave a piece of work behind; says where its thread stands."""
        stood = self.stands(key)
        doing = self._busy.pop(key, None)
        if doing is not None and doing.hand is None:
            self._waiting.remove(doing)
        elif doing is not None:
            self._left.append(doing)
        return stood

    def close(self) -> None:
        """Dismiss everybody; who still works ends afterwards, and is not waited for."""
        for doing in (*self._busy.values(), *self._left):
            if doing.hand is not None:
                doing.hand.dismiss()
        self._hands.close()

    def left_behind(self) -> tuple[str, ...]:
        """Work that outlived its budget and still goes on, and where it stands."""
        return tuple(f"{doing.name} in {doing.stands}" for doing in self._left)


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
