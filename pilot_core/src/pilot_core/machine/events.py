"""What can happen to a job or to the pilot.

Every event says when it was posted, by the wall clock (to tell people) and by the monotonic one (to measure).
Events of a job are on disk before the machine sees them, but for those whose class says ``journaled = False``:
they change nothing that a recovery would need.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from attrs import field, frozen

from pilot_core.errors import PilotError
from pilot_core.machine.phases import Step
from pilot_core.model.files import FileSpec, Leaving, Receipt
from pilot_core.model.job import Job
from pilot_core.model.payload import Command, Outcome, Usage
from pilot_core.model.queue import Resources


@frozen(kw_only=True)
class Event:
    """Anything that happens; ``at`` and ``mono`` are set where it is posted."""

    at: float = 0.0
    mono: float = 0.0


@frozen(kw_only=True)
class JobEvent(Event):
    """Something that happens to one job."""

    journaled: ClassVar[bool] = True
    job: str


@frozen(kw_only=True)
class Result:
    """What a step brought. Whatever is left at its default changes nothing."""

    errors: tuple[PilotError, ...] = ()
    """Failures that count, though the step came to its end."""
    receipts: tuple[Receipt, ...] = ()
    command: Command | None = None
    outcome: Outcome | None = None
    inputs: tuple[FileSpec, ...] | None = None
    outputs: tuple[FileSpec, ...] | None = None
    notes: Mapping[str, object] = field(factory=dict)


@frozen(kw_only=True)
class Accepted(JobEvent):
    """A job was read and taken; its workflow's steps come along, budgets and all."""

    value: Job
    steps: tuple[Step, ...]
    raw: Mapping[str, object] = field(factory=dict)
    communicator: str = ""
    heartbeat_s: float = 1800.0
    final_budget_s: float = 3600.0


@frozen(kw_only=True)
class SlotGranted(JobEvent):
    """The slot has room for this job's payload; these GPUs are its own."""

    ticket: int
    devices: tuple[str, ...] = ()


@frozen(kw_only=True)
class WorkDone(JobEvent):
    """A piece of work came to its end."""

    ticket: int
    result: Result = field(factory=Result)


@frozen(kw_only=True)
class WorkFailed(JobEvent):
    """A piece of work ended with an error."""

    ticket: int
    error: PilotError


@frozen(kw_only=True)
class WorkExpired(JobEvent):
    """A piece of work outlived its budget and was left behind; ``detail`` names what hung."""

    ticket: int
    detail: str = ""


@frozen(kw_only=True)
class PayloadStarted(JobEvent):
    """The payload runs under this identity."""

    ticket: int
    pid: int
    start_ticks: int = 0


@frozen(kw_only=True)
class FileStored(JobEvent):
    """Progress: a file is safe, whatever becomes of the step that moved it."""

    receipt: Receipt


@frozen(kw_only=True)
class FilesLeaving(JobEvent):
    """Progress: outputs are ready on the disk, or are sent to another place, or lie there and are to be registered."""

    files: tuple[Leaving, ...]


@frozen(kw_only=True)
class HeartbeatSet(JobEvent):
    """From now on the server wants an update this often."""

    journaled = False
    every_s: float


@frozen(kw_only=True)
class StopAsked(JobEvent):
    """End this job now, in an orderly way, for this reason; ``hurry_s`` is all the time there is, if limited."""

    error: PilotError
    grace_s: float = 10.0
    hurry_s: float | None = None


@frozen(kw_only=True)
class Hastened(JobEvent):
    """Asked to stop once more: half of the time that was left is left."""


@frozen(kw_only=True)
class RetryDue(JobEvent):
    """Time to try the final update again."""

    ticket: int


@frozen(kw_only=True)
class OfferedAgain(JobEvent):
    """The server offers another attempt at this job, so it can be reached, and has perhaps done with this one."""


@frozen(kw_only=True)
class Resumed(JobEvent):
    """A pilot took this job over from one that died, as ``error`` says."""

    error: PilotError


@frozen(kw_only=True)
class HeartbeatDue(JobEvent):
    """Time to tell the server how the job is."""

    journaled: ClassVar[bool] = False


@frozen(kw_only=True)
class JournalLost(JobEvent):
    """The job's journal can no longer be written; the job goes on in memory."""

    journaled: ClassVar[bool] = False
    detail: str


@frozen(kw_only=True)
class Sampled(JobEvent):
    """Monitors measured the payload."""

    journaled: ClassVar[bool] = False
    usage: Usage


@frozen(kw_only=True)
class Answered(Event):
    """The communicator was asked for work: how many jobs came, and when to ask again."""

    jobs: int = 0
    again_s: float | None = None
    over: bool = False
    stay: bool = False
    behind: tuple[str, ...] = ()
    """Jobs under way here whose next attempts are to be taken when they are over."""
    error: PilotError | None = None
    counts: bool = True
    """Whether one without an answer counts among those after which the pilot ends."""


@frozen(kw_only=True)
class Checked(Event):
    """The node was checked; problems keep the pilot from taking work."""

    problems: tuple[PilotError, ...] = ()


@frozen(kw_only=True)
class RefillOver(Event):
    """From now on the first job is the last one, too."""


@frozen(kw_only=True)
class AskGivenUp(Event):
    """A stopping pilot waits no longer for an answer to its last request."""


@frozen(kw_only=True)
class Hinted(Event):
    """Somebody told that there may be work; or the server that did not answer has answered something else."""

    answers: bool = False


@frozen(kw_only=True)
class AskDue(Event):
    """Time to ask for work again."""


@frozen(kw_only=True)
class SlotAsked(Event):
    """A job is ready to run its payload and wants its share of the slot."""

    job: str
    needs: Resources
    ticket: int


@frozen(kw_only=True)
class SlotFreed(Event):
    """A job's payload has ended, or will not start: its share is free."""

    job: str


@frozen(kw_only=True)
class JobTaken(Event):
    """A job was accepted and holds its disk from now on."""

    job: str
    needs: Resources
    inherited: bool = False
    """Whether another pilot had taken it before."""


@frozen(kw_only=True)
class JobRefused(Event):
    """A job was offered that could not even be begun."""

    error: PilotError


@frozen(kw_only=True)
class LetterWaits(Event):
    """The last word on a refused job is on the disk, to be delivered within so long."""

    job: str
    path: str
    budget_s: float


@frozen(kw_only=True)
class LetterTried(Event):
    """It was delivered, or why not."""

    path: str
    error: PilotError | None = None


@frozen(kw_only=True)
class LetterDue(Event):
    """Time to try it again."""

    path: str


@frozen(kw_only=True)
class JobOver(Event):
    """A job is reported and cleaned up."""

    job: str
    error: PilotError | None = None
    unheard: PilotError | None = None
    """Why its final update was not delivered, if it was not."""
    lasted_s: float = 0.0


@frozen(kw_only=True)
class DrainAsked(Event):
    """Take no new work, finish the current."""

    why: str = ""


@frozen(kw_only=True)
class PauseAsked(Event):
    """Take no new work until told otherwise."""


@frozen(kw_only=True)
class ResumeAsked(Event):
    """Take work again after a pause."""


@frozen(kw_only=True)
class HaltAsked(Event):
    """End now, in an orderly way: by a signal, a command, or because the time is up. A second one hastens."""

    error: PilotError
    hurry_s: float = 25.0
