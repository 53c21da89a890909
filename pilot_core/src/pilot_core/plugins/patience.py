"""Waiting for somebody else's code, but not for ever: it runs in another thread and can be left behind."""

from __future__ import annotations

import sys
from contextvars import copy_context
from functools import partial
from threading import Event
from typing import TYPE_CHECKING, Any

from pilot_core.errors import Code, PilotError
from pilot_core.plugins.guard import PluginFailed

if TYPE_CHECKING:
    from collections.abc import Callable
    from threading import Thread

    from pilot_core.plugins.hands import Hand, Hands


class Patience:
    """One guarded call that may hang."""

    def __init__(self, call: Callable[[], Any], name: str, hands: Hands) -> None:
        self.name = name
        self._call = call
        self._answer: Any = None
        self._answered = False
        self._failed: PluginFailed | PilotError | None = None
        self._over = Event()
        self._hands = hands
        self._hand: Hand | None = None
        try:
            self._hand = hands.take()
        except RuntimeError as error:
            self._failed = PilotError(Code.RESOURCEUNAVAILABLE, f"{name} has no thread to run in: {error}")
            self._over.set()
        else:
            self._hand.give(name, partial(copy_context().run, self._live, self._hand))

    @property
    def hangs(self) -> bool:
        """Whether it has not come back."""
        return not self._over.is_set()

    @property
    def stands(self) -> str:
        """The place where it hangs."""
        return where(self._hand.thread if self._hand else None)

    def wait(self, limit_s: float) -> Any:
        """Its answer, or what it failed with; ``TimeoutError`` if neither came in time."""
        if not self._over.wait(limit_s):
            raise TimeoutError(f"no answer within {limit_s:g} s")
        if self._failed is not None:
            raise self._failed
        if not self._answered:
            if self._hand is not None:
                self._hand.thread.join(limit_s)
            raise PilotError(Code.INTERNALPILOTPROBLEM, f"{self.name} ended without an answer")
        return self._answer

    def _live(self, hand: Hand) -> None:
        try:
            self._answer = self._call()
            self._answered = True
        except (PluginFailed, PilotError) as failed:
            self._failed = failed
        finally:
            if self._answered or self._failed:  # else the hand goes with the call
                self._hands.rest(hand)
            self._over.set()


def where(thread: Thread | None) -> str:
    """The innermost place in which a thread stands."""
    if thread is None:
        return "nowhere: no thread was to be had"
    frame = sys._current_frames().get(thread.ident or 0)
    if frame is None:
        return "nowhere: it has ended"
    return f"{frame.f_code.co_filename.rpartition('/')[2]}:{frame.f_lineno} {frame.f_code.co_name}"
