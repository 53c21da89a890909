"""What a step's work is given and what it gives back: the contract of a workflow's own steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from attrs import frozen

from pilot_core.machine.events import Result
from pilot_core.model.files import Leaving, Receipt
from pilot_core.model.job import Job
from pilot_core.model.queue import Queue

S = TypeVar("S")


class Settings(Protocol):
    """The merged settings of a pilot or a job."""

    def of(self, section: type[S], /) -> S:
        """The values of one section."""


class Cancel(Protocol):
    """Says whether the work is to end early. What blocks asks it often; what waits waits on it."""

    def is_set(self) -> bool:
        """Whether to end now."""

    def wait(self, limit_s: float) -> bool:
        """Wait for the cancellation, at most so long; whether it came."""


@frozen(kw_only=True)
class Task:
    """One piece of work for one job, done in a worker thread.

    ``workdir`` is the job's own directory, ``control`` its control directory, which the payload never sees.
    ``stored`` is told of each file at once when it is safe, so that no crash forgets it. ``leaving`` returns when the
    disk holds what outputs are ready and where they are sent: before the first byte leaves.
    """

    job: Job
    queue: Queue
    settings: Settings
    workdir: Path
    control: Path
    cancel: Cancel
    stored: Callable[[Receipt], None]
    leaving: Callable[[Sequence[Leaving]], None] = lambda _: None
    budget_s: float | None = None
    resumed: bool = False


Work = Callable[[Task], Result]
"""A step's work: may block, asks ``task.cancel``, raises ``PilotError`` to fail, touches only the task's paths."""
