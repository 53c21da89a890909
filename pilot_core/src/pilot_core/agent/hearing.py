"""What somebody tells the pilot without being asked: heard in a thread of its own, taken as a hint and no more."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from pilot_core.agent.workers import answer
from pilot_core.errors import PilotError
from pilot_core.machine import events as e
from pilot_core.model.job import Job
from pilot_core.spec.drivers import Hint

if TYPE_CHECKING:
    from pilot_core.agent.perform import Performer
    from pilot_core.agent.setup import Setup

HUSH_S: Final = 5.0
log = logging.getLogger(__name__)


def listen(setup: Setup, performer: Performer) -> Callable[[], None]:
    """Let the communicator hear; what is given back ends that."""
    communicator, owner = performer.jobs.communicator, setup.communicator.plugin

    def hear(hint: Hint) -> None:
        performer.loop.soon(partial(_heed, performer, hint))

    def live() -> None:
        failed = answer(partial(setup.hooks.guarded, owner, "listen", communicator.listen, hear))
        if isinstance(failed, PilotError):
            log.warning("nothing more is heard of work: %s", failed)

    thread = threading.Thread(target=live, name="hints", daemon=True)
    thread.start()
    return partial(_hush, thread, partial(setup.hooks.guarded, owner, "hush", communicator.hush))


def _hush(thread: threading.Thread, hush: Callable[[], None]) -> None:
    failed = answer(hush)
    thread.join(HUSH_S)
    if isinstance(failed, PilotError) or thread.is_alive():
        log.warning("who listens for hints did not come to an end%s", f": {failed}" if failed else "")


def _heed(performer: Performer, hint: Hint) -> None:
    """In the loop's thread: ask for work, or tell the server how the jobs are that are meant; it decides."""
    if not hint.over:
        performer.loop.within("hint", hint.within_s, partial(performer.poster.post, e.Hinted()))
    elif _of_task(performer, hint.task):
        performer.loop.within(f"hint/{hint.task}", hint.within_s, partial(_tell_of, performer, hint.task))


def _tell_of(performer: Performer, task: str) -> None:
    for job in _of_task(performer, task):
        performer.poster.post(e.HeartbeatDue(job=job.id))


def _of_task(performer: Performer, task: str) -> list[Job]:
    return [course.job for course in performer.loop.state.courses.values() if course.job.task == task]
