"""What the machine may ask for. Each ``Begin`` is answered by exactly one end event with its ticket."""

from __future__ import annotations

from attrs import frozen

from pilot_core.errors import PilotError
from pilot_core.machine.events import Event, JobOver
from pilot_core.model.job import Job, Phase
from pilot_core.model.queue import Resources


@frozen(kw_only=True)
class Command:
    """Anything the machine asks for."""


@frozen(kw_only=True)
class Begin(Command):
    """Do this work for this job, within the budget."""

    job: Job
    ticket: int
    work: str
    budget_s: float | None = None
    resumed: bool = False


@frozen(kw_only=True)
class Cancel(Command):
    """End this work early; its end event is still awaited, for the grace and a margin."""

    job: str
    ticket: int
    work: str
    grace_s: float


@frozen(kw_only=True)
class Abandon(Command):
    """This work has outlived its budget: leave it behind, and say what hung."""

    job: str
    ticket: int
    work: str


@frozen(kw_only=True)
class Report(Command):
    """Tell the server how the job stands; what it answers may come back as events."""

    job: Job


@frozen(kw_only=True)
class Watch(Command):
    """Let monitors watch the payload from now on, and beat its heart."""

    job: Job


@frozen(kw_only=True)
class Unwatch(Command):
    """The payload has ended: no more monitors."""

    job: str


@frozen(kw_only=True)
class SetTimer(Command):
    """Post the event after the delay; a timer of the same key is replaced."""

    key: str
    after_s: float
    event: Event


@frozen(kw_only=True)
class DropTimer(Command):
    """Forget a timer."""

    key: str


@frozen(kw_only=True)
class Post(Command):
    """Put an event into the box."""

    event: Event


@frozen(kw_only=True)
class Tell(Command):
    """Let observers know that the job entered a phase."""

    job: Job
    phase: Phase


@frozen(kw_only=True)
class Forget(Command):
    """The job is over: let go of its lock and keeper, close its journal, and post ``over`` when that is done."""

    job: Job
    over: JobOver
    seal: bool
    """Whether the journal is sealed first: nobody will take the job up again."""


@frozen(kw_only=True)
class Deliver(Command):
    """Try to deliver a letter that waits."""

    path: str


@frozen(kw_only=True)
class Ask(Command):
    """Ask the communicator for work that fits this much."""

    free: Resources


@frozen(kw_only=True)
class Check(Command):
    """Check the node before the first job."""


@frozen(kw_only=True)
class Say(Command):
    """Tell the operator a sentence."""

    text: str


@frozen(kw_only=True)
class Exit(Command):
    """The pilot is done."""

    error: PilotError | None = None
