"""A pilot driven by a workflow, whose fault is only what the workflow itself does wrong."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType

from pilot_core.errors import PilotError
from pilot_core.plugins.guard import PluginFailed


class Remembered:
    """What went wrong inside this block, whoever catches it outside."""

    error: BaseException | None = None

    def __enter__(self) -> None:
        self.error = None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.error = error


def drive(guarded: Callable[[Callable[[], None]], None], run: Callable[[], None]) -> None:
    """Have ``run`` called by a workflow under its guard; what ``run`` itself raises comes out unchanged."""
    own = Remembered()

    def remembering() -> None:
        with own:
            run()

    try:
        guarded(remembering)
    except (PluginFailed, PilotError):
        if own.error is None:
            raise
    if own.error is not None:
        raise own.error
