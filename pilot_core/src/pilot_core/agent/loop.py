"""The loop: events in, ``step``, commands out; and the timers, so that nothing polls.

It knows neither jobs nor pilots: a state, a pure ``step(state, event)``, and ``perform(command)`` are given to it.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Generic, TypeVar

from attrs import frozen

from pilot_core.clock import Clock
from pilot_core.io.box import Box

S = TypeVar("S")
E = TypeVar("E")
C = TypeVar("C")

SPARE = 64
"""Of entries that wait no more, so many are carried along."""
Step = Callable[[S, E], tuple[S, tuple[C, ...]]]


@frozen
class Call:
    """Something to be done in the loop's thread."""

    do: Callable[[], None]


class Loop(Generic[S, E, C]):
    """One thread's life: whoever calls ``run`` owns the state until it returns."""

    def __init__(self, state: S, step: Step[S, E, C], box: Box[E | Call], clock: Clock) -> None:
        self.state = state
        self.ended = False
        self._step = step
        self._box = box
        self._clock = clock
        self._heap: list[tuple[float, int, str]] = []
        self._calls: dict[str, tuple[int, Callable[[], None]]] = {}
        self._count = count()

    def run(self, perform: Callable[[C], None]) -> S:
        """Turn events into commands until somebody calls ``end``."""
        while not self.ended:
            for event in self._box.wait(self._until_next_s()):
                if isinstance(event, Call):
                    event.do()
                else:
                    self._turn(event, perform)
            self._call_due()
        return self.state

    def _turn(self, event: E, perform: Callable[[C], None]) -> None:
        self.state, commands = self._step(self.state, event)
        for command in commands:
            perform(command)

    def end(self) -> None:
        """Let the turn that is under way be the last."""
        self.ended = True

    def soon(self, call: Callable[[], None]) -> None:
        """Call in this thread, as soon as it comes round. For any thread to use."""
        self._box.post(Call(call))

    def after(self, key: str, delay_s: float, call: Callable[[], None]) -> None:
        """Call in this thread after the delay; a call that waits under the same key is replaced."""
        number = next(self._count)
        self._calls[key] = (number, call)
        heappush(self._heap, (self._clock.mono() + delay_s, number, key))
        if len(self._heap) > 2 * len(self._calls) + SPARE:
            self._heap = [entry for entry in self._heap if self._waits(entry)]
            heapify(self._heap)

    def within(self, key: str, spread_s: float, call: Callable[[], None]) -> None:
        """Call at some moment within this long, so that of many pilots not all do so at once.

        A call that waits under the same key is enough. Without a spread it is called here and now.
        """
        if not spread_s:
            call()
        elif key not in self._calls:
            from random import uniform

            self.after(key, uniform(0.0, spread_s), call)

    def drop(self, key: str) -> None:
        """Forget the call that waits under this key, if any."""
        self._calls.pop(key, None)

    def _until_next_s(self) -> float | None:
        while self._heap and not self._waits(self._heap[0]):
            heappop(self._heap)
        return max(self._heap[0][0] - self._clock.mono(), 0.0) if self._heap else None

    def _waits(self, entry: tuple[float, int, str]) -> bool:
        return self._calls.get(entry[2], (-1,))[0] == entry[1]

    def _call_due(self) -> None:
        now = self._clock.mono()
        while self._heap and self._heap[0][0] <= now:
            entry = heappop(self._heap)
            if self._waits(entry):
                self._calls.pop(entry[2])[1]()
