"""Letting the server know of the pilot itself: that it begins, on which node, and that it ends."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pilot_core.errors import PilotError

if TYPE_CHECKING:
    from pilot_core.agent.perform import Performer
    from pilot_core.agent.setup import Setup
    from pilot_core.control.job import JobControl

BEGIN_S: Final = 300.0
log = logging.getLogger(__name__)


def greet(setup: Setup, root: Path, jobs: JobControl, performer: Performer) -> None:
    """Tell it of the beginning, beside everything else; what is known of the node then goes into records."""
    guarded, owner = setup.hooks.guarded, setup.communicator.plugin
    began = partial(guarded, owner, "started", jobs.communicator.started, setup.queue, root)

    def known(told: Mapping[str, object] | PilotError) -> None:
        if isinstance(told, PilotError):
            log.warning("the server was not told of this pilot: %s", told)
        else:
            jobs.node_facts.update(told)

    performer.within(BEGIN_S, "started", "telling the server of this pilot", began, known)


def take_leave(setup: Setup, jobs: JobControl, performer: Performer) -> None:
    """Tell it of the end, among the last news."""
    performer.news.put(partial(setup.hooks.guarded, setup.communicator.plugin, "ended", jobs.communicator.ended))
