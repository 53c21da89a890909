"""Threads that are kept: on a node that has no more to give, who started some before goes on."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue

RESTING = "resting"


class Hand:
    """A thread that does one piece of work after another."""

    def __init__(self) -> None:
        self._orders: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self.thread = threading.Thread(target=self._live, daemon=True)
        self.thread.start()

    def give(self, name: str, work: Callable[[], None]) -> None:
        """Let it do this, under this name."""
        self.thread.name = name
        self._orders.put(work)

    def dismiss(self) -> None:
        """Let it end when it has done what it was given."""
        self._orders.put(None)

    def _live(self) -> None:
        while (work := self._orders.get()) is not None:
            work()


class Hands:
    """Hands that rest until somebody takes one; for any thread to use. Who took one lets it rest again."""

    def __init__(self) -> None:
        self._resting: deque[Hand] = deque()

    def prepare(self, number: int) -> None:
        """Have so many rest here."""
        while len(self._resting) < number:
            self.rest(Hand())

    def take(self) -> Hand:
        """One that rests, else a new one; ``RuntimeError`` where the node has no more threads to give."""
        try:
            return self._resting.pop()
        except IndexError:
            return Hand()

    def rest(self, hand: Hand) -> None:
        """Take it back."""
        hand.thread.name = RESTING
        self._resting.append(hand)

    def close(self) -> None:
        """Dismiss those that rest, and see them end."""
        while self._resting:
            hand = self._resting.pop()
            hand.dismiss()
            hand.thread.join()

    def __del__(self) -> None:
        for hand in self._resting:
            hand.dismiss()
