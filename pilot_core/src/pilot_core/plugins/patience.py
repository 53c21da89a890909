"""Waiting for somebody else's code, but not for ever: it runs in a thread of its own and can be left behind."""

from __future__ import annotations

import sys
from contextvars import copy_context
from threading import Thread
from typing import TYPE_CHECKING, Any

from pilot_core.errors import Code, PilotError
from pilot_core.plugins.guard import PluginFailed

if TYPE_CHECKING:
    from collections.abc import Callable


class Patience:
    """One guarded call that may hang."""

    def __init__(self, call: Callable[[], Any], name: str) -> None:
        self.name = name
        self._call = call
        self._answer: Any = None
        self._answered = False
        self._failed: PluginFailed | PilotError | None = None
        self._thread = Thread(target=copy_context().run, args=(self._live,), name=name, daemon=True)
        self._thread.start()

    @property
    def hangs(self) -> bool:
        """Whether it has not come back."""
        return self._thread.is_alive()

    @property
    def stands(self) -> str:
        """The place where it hangs."""
        return where(self._thread)

    def wait(self, limit_s: float) -> Any:
        """Its answer, or what it failed with; ``TimeoutError`` if neither came in time."""
        self._thread.join(limit_s)
        if self.hangs:
            raise TimeoutError(f"no answer within {limit_s:g} s")
        if self._failed is not None:
            raise self._failed
        if not self._answered:
            raise PilotError(Code.INTERNALPILOTPROBLEM, f"{self.name} ended without an answer")
        return self._answer

    def _live(self) -> None:
        try:
            self._answer = self._call()
            self._answered = True
        except (PluginFailed, PilotError) as failed:
            self._failed = failed


def where(thread: Thread) -> str:
    """The innermost place in which a thread stands."""
    frame = sys._current_frames().get(thread.ident or 0)
    if frame is None:
        return "nowhere: it has ended"
    return f"{frame.f_code.co_filename.rpartition('/')[2]}:{frame.f_lineno} {frame.f_code.co_name}"
