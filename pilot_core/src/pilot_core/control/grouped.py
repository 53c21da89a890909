"""The control group of a payload's own, and who is to blame for what the kernel killed for want of memory."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from signal import SIGKILL
from typing import Any, Final, cast

from pilot_core.config.schema import PayloadOptions
from pilot_core.control.said import STDERR, Said
from pilot_core.errors import Code, PilotError
from pilot_core.io.cgroup import Groups, kills_in
from pilot_core.io.own_group import Bounds, Place, places
from pilot_core.model.job import Job
from pilot_core.model.payload import Outcome
from pilot_core.spec.work import Task

GROUP: Final = "control_group"
MEMORY_KILLS: Final = "memory_kills"
SHARED: Final = 0.75
"""Of the threads that a control group grants to pilot and payloads, a payload may have this share."""
KILLED: Final = re.compile(r"\bKilled\b|\bSIGKILL\b|\bsignal 9\b")
"""How a program says that one of its children died of this signal."""
log = logging.getLogger(__name__)


def group_notes(task: Task, mark: str, groups: Groups) -> dict[str, object]:
    """Where the payload's own group is to be, by what marks it, and how often the kernel has killed in the pilot's."""
    options = task.settings.of(PayloadOptions)
    threads = most_threads(options, groups)
    bounds = Bounds(memory_b=_memory_b(task, options), threads=threads, cores=task.job.needs.cores)
    found = places(f"pilot-{mark[:16]}", options.control_group, bounds, groups)
    if not found:
        log.info("job %s: its payload has no control group of its own", task.job.id)
    return {GROUP: found, MEMORY_KILLS: memory_kills(groups)}


def most_threads(options: PayloadOptions, groups: Groups) -> int:
    """What a payload may have, and in any case less than what would leave none to the pilot."""
    granted = groups.thread_limit()
    return options.threads if granted is None else min(options.threads, int(granted * SHARED))


def _memory_b(task: Task, options: PayloadOptions) -> int | None:
    """What the kernel holds it to; more than what a monitor does, which counts no files."""
    job, queue = task.job, task.queue
    share_b = (queue.memory_b or 0) * min(1.0, job.needs.cores / (queue.cores or 1))
    return int((job.needs.memory_b or share_b) * options.group_memory) or None


def places_of(job: Job) -> list[Place]:
    """Where its group is, if it has one."""
    return cast("list[Place]", job.notes.get(GROUP, []))


def memory_kills(groups: Groups) -> dict[str, object]:
    """How often the kernel has killed for want of memory in the pilot's own group, to be compared afterwards."""
    kills = groups.oom_kills()
    return {} if kills is None or groups.memory is None else {"group": str(groups.memory.path), "kills": kills}


def memory_problem(job: Job, outcome: Outcome, said: Said, groups: Groups) -> Iterator[PilotError]:
    """Tell of kills for want of memory: those in its own group are the payload's.

    Those in the pilot's may be anybody's, and count only if one of this payload's died so and not by the pilot's hand.
    """
    own = [kills for place in places_of(job) if (kills := kills_in(Path(str(place["path"])))) is not None]
    if own:
        kills = max(own)
    elif not job.errors and (outcome.transform_code == 128 + SIGKILL or _tells_of_a_kill(said)):
        kills = _since(job.notes.get(MEMORY_KILLS), memory_kills(groups))
    else:
        return
    if kills > 0:
        yield PilotError(Code.PAYLOADOUTOFMEMORY, f"the kernel killed {kills} of its processes", kills=kills)


def _since(before: Any, now: Mapping[str, object]) -> int:
    """Counts of another group say nothing."""
    if not isinstance(before, Mapping) or not now or before.get("group") != now["group"]:
        return 0
    return int(str(now["kills"])) - int(str(before.get("kills", now["kills"])))


def _tells_of_a_kill(said: Said) -> bool:
    return any(KILLED.search(line.text) for line in said.lines(STDERR))
