"""Whether the pilot's credentials are hidden from payloads that run on the node as the pilot's user."""

from __future__ import annotations

from typing import Final

from pilot_core.config.layers import ConfigError, Problem, Settings
from pilot_core.config.schema import PayloadOptions
from pilot_core.control.hidden import HIDE
from pilot_core.io.hiding import why_not

AUTO: Final = "auto"
DIRECT: Final = "direct"
"""The launcher whose payloads the keeper starts itself."""


def is_wanted(isolation: str) -> bool:
    """Whether this choice of ``payload.isolation`` means hiding, and no runtime."""
    return isolation in (AUTO, HIDE)


def unhidden(settings: Settings) -> str:
    """Why they are not hidden, with the way out; nothing if they are."""
    launcher = settings.of(PayloadOptions).launcher
    if launcher != DIRECT:
        return f"payload.launcher {launcher!r} has payloads started out of the pilot's reach"
    return why_not()


def refuse_unhidden(settings: Settings) -> None:
    """Refuse to start where hiding is asked for by name and cannot be had."""
    if settings.of(PayloadOptions).isolation == HIDE and (why := unhidden(settings)):
        raise ConfigError(Problem(settings.sources["payload.isolation"].where, "payload.isolation", f"hide: {why}"))
