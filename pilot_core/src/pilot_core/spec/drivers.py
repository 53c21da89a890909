"""Drivers: one base class for each choice a site makes, by what it can do.

A driver is a class found under an entry point of its group. It is made with the settings and nothing else, after
``probe()`` said that it can work here. Its own options are a section named by ``options``.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Final

from attrs import field, frozen

from pilot_core.errors import PilotError
from pilot_core.machine.phases import Step
from pilot_core.model.allotment import Allotment, Told
from pilot_core.model.job import Job
from pilot_core.model.payload import Command, Usage
from pilot_core.model.queue import Queue, Resources
from pilot_core.spec.copytools import (
    CopyTool,
    Fetches,
    FetchesMany,
    Found,
    Looks,
    Moved,
    Moving,
    Stores,
    StoresMany,
    Wanted,
)
from pilot_core.spec.driver import Driver
from pilot_core.spec.infosource import InfoSource
from pilot_core.spec.work import Task, Work

__all__ = [
    "PROXY",
    "Communicator",
    "Container",
    "CopyTool",
    "Driver",
    "EventChannel",
    "Fetches",
    "FetchesMany",
    "Found",
    "Hint",
    "InfoSource",
    "Launcher",
    "Letter",
    "LogShipper",
    "Looks",
    "Monitor",
    "Mount",
    "Moved",
    "Moving",
    "Offer",
    "Reading",
    "Reply",
    "Resource",
    "Stores",
    "StoresMany",
    "Update",
    "View",
    "Wanted",
    "Workflow",
]

PROXY: Final = "user.proxy"
"""The file with the proxy of a job's owner, among what is entrusted to the job."""
BARE: Final = "read and change whatever the pilot's user may, credentials too, and end all processes of that user"
"""What a payload can do that no container keeps to its own."""


# --- talking to who has the work ------------------------------------------------------------------------------------


@frozen(kw_only=True)
class Offer:
    """The answer to a request for work: raw jobs, when to ask again, and whether there will ever be more.

    ``stay`` says that more will come some day: an empty answer then does not count towards the pilot's end.
    """

    jobs: tuple[Mapping[str, object], ...] = ()
    again_s: float | None = None
    over: bool = False
    stay: bool = False


@frozen(kw_only=True)
class Update:
    """How a job stands: what every communicator puts into its own words. ``fields`` are plugins' changes to them."""

    job: Job
    final: bool
    at: float
    node: str = ""
    log_tail: str = ""
    debug: bool = False
    """Whether somebody follows this job, and wants to see what it says."""


@frozen(kw_only=True)
class Letter:
    """A complete request, ready to send by whoever finds it: JSON values, credentials only by reference."""

    communicator: str
    job: str
    attempt: int
    final: bool
    body: Mapping[str, object]


@frozen(kw_only=True)
class Reply:
    """What the server said to an update. ``stop`` ends the job, for that reason.

    ``soft_stop`` asks its payload to come to an early end of its own, and is the reason if that takes too long; a
    payload that cannot goes on.

    ``heartbeat_s`` is how often it wants updates from now on, ``debug`` whether somebody wants to follow the job;
    ``None`` changes nothing.
    """

    stop: PilotError | None = None
    soft_stop: PilotError | None = None
    heartbeat_s: float | None = None
    debug: bool | None = None
    notes: Mapping[str, object] = field(factory=dict)


@frozen(kw_only=True)
class Hint:
    """Told unasked: there may be work or, with ``over``, a task ended. The server is asked within ``within_s``."""

    task: str = ""
    over: bool = False
    within_s: float = 0.0


class Communicator(Driver):
    """Gets jobs and reports them. Calls come from worker threads, several at once.

    Any method but ``read`` and ``compose`` may block within its budget and raises ``PilotError`` when it could not be
    done. ``acquire`` is never repeated by itself, as a lost answer may have reserved a job; ``send`` may be, and must
    do no harm then.
    """

    @abstractmethod
    def acquire(self, request: Mapping[str, object]) -> Offer:
        """Ask for work. ``request`` are this communicator's fields as ``request_fields`` gave them, patched."""

    def request_fields(self, queue: Queue, free: Resources) -> Mapping[str, object]:
        """The fields of a request for work that fits ``free``."""
        return {"queue": queue.name, "cores": free.cores}

    @abstractmethod
    def read(self, raw: Mapping[str, object]) -> Job:
        """Read a raw job; raises ``BadMessage`` with every problem and its path. Pure."""

    def show(self, job: Job, workdir: Path) -> str:
        """What somebody who follows this job asked to see of its directory; before each update but the last."""
        return ""

    @abstractmethod
    def compose(self, update: Update) -> Letter:
        """Put an update into the server's words. Pure."""

    @abstractmethod
    def send(self, letter: Letter) -> Reply:
        """Deliver a letter; returns only when it has arrived."""

    def refuse(self, raw: Mapping[str, object], error: PilotError) -> Letter | None:
        """The letter that reports a job that could not be read, if so much of it is known."""
        return None

    def secrets(self, raw: Mapping[str, object]) -> Iterable[str]:
        """The secrets that a raw job carries: they are masked from now on in all that is logged and told. Pure."""
        return ()

    def entrust(self, raw: Mapping[str, object], job: Job, queue: Queue) -> Mapping[str, str]:
        """What the job's owner lends to its payload: texts by the names of files, for nobody else to read.

        They lie in the job's directory while its payload runs. The one named ``PROXY`` is shown to storage in place of
        the pilot's own, and the payload finds it by ``X509_USER_PROXY``. Asked before anything is moved; a failure is
        logged, and the job goes on without.
        """
        return {}

    def renew(self, queue: Queue) -> float | None:
        """Renew the credentials; after how long to do so again, or ``None`` for never. First asked when a pilot begins.

        A failure is logged, and it is asked again after a while.
        """
        return None

    def taken(self, raw: Mapping[str, object]) -> None:
        """The job is in a journal: from now on this pilot, or one that recovers, answers for it."""

    def started(self, queue: Queue, workdir: Path) -> Mapping[str, object]:
        """The pilot is about to ask for work. Returns facts of the node for records, as JSON values.

        Called once, beside everything else; nothing waits for it, and a failure is logged.
        """
        return {}

    def listen(self, hear: Callable[[Hint], None]) -> None:
        """Hear what is told without being asked for, until ``hush``; at each hint the server is asked what is so.

        Runs in a thread of its own as long as the pilot does, and returns at once where nobody tells anything. An
        answer of no jobs may then say ``stay``, and come again late. A failure is logged, and nothing more is heard.
        """

    def hush(self) -> None:
        """Have ``listen`` return. Called once, from another thread."""

    def ended(self) -> None:
        """The last job is over. Called once; the pilot waits for it a short while only."""

    def give_back(self, raw: Mapping[str, object]) -> bool:
        """Let somebody else have a job that was never begun; whether that was possible. Otherwise it is refused."""
        return False


# --- running --------------------------------------------------------------------------------------------------------


@frozen(kw_only=True)
class Mount:
    """A directory that a container shows, at the same path where none other is given."""

    source: str
    target: str = ""
    writable: bool = False


class Container(Driver):
    """Runs a command in an image, by building another command. Pure.

    Besides, the job's directory, ``mounts`` and what the section ``container`` says are shown. No variable gets inside.
    """

    lacks: ClassVar[str] = ""
    """What a payload in such a container can do all the same to pilot and node, for people; nothing if it can't."""
    brings_tmp: ClassVar[bool] = True
    """Whether its payloads have a ``/tmp`` of their own; where not, one on the disk of the job's directory is shown."""

    @abstractmethod
    def wrap(self, command: Command, image: str, workdir: Path, mounts: Sequence[Mount]) -> Command:
        """The command that runs ``command`` inside ``image``, or isolated without one, in the job's directory."""

    def inside(self, workdir: Path) -> Path:
        """Where the payload sees the job's directory."""
        return workdir

    def around(self, task: Task, name: str) -> Container:
        """The container for the process ``name`` of one job: this one, unless a runtime has to know more of the job."""
        return self


class Launcher(Driver):
    """Starts a command on the job's nodes, by building another command. Pure."""

    @abstractmethod
    def launch(self, command: Command, job: Job) -> Command:
        """The command that starts ``command`` with the cores and devices of the job."""


class Resource(Driver):
    """What the slot or allocation is, and how long it lasts."""

    order: ClassVar[int] = 50
    """Of all that can work here, ``auto`` takes the least: the innermost, where one system's job runs in another's."""

    @classmethod
    def job(cls) -> Told[str] | None:
        """The batch system's own number of the job that the pilot is, as it costs nothing to know, and who tells it."""
        return None

    @abstractmethod
    def slot(self, workdir: Path) -> Resources:
        """Cores, memory, disk and GPUs that the pilot may use."""

    def time_left_s(self) -> float | None:
        """Until the slot is taken away; ``None`` where nobody tells. Asked again from time to time, in a worker."""
        return None

    def allotted(self, workdir: Path) -> Allotment:
        """All that is known of slot and allocation, each value with who tells it, for people and programs."""
        return Allotment()


@frozen(kw_only=True)
class View:
    """What a monitor may look at: the job, its directory, its processes, and what was measured in this look."""

    job: Job
    queue: Queue
    workdir: Path
    usage: Usage
    running_s: float
    mono: float
    pids: tuple[int, ...] = ()
    """The living processes, the oldest first."""
    control: Path | None = None
    """The job's control directory, which the payload does not see: for a monitor's own files."""
    late_s: float = 0.0
    """How much later than it was due this look began, as the pilot's loop was busy."""


@frozen(kw_only=True)
class Reading:
    """What a monitor found: numbers under its own names, and the error that is to stop the job, if any.

    An error that comes with time is told by ``breach_in_s``: the job is stopped then without another look, but for one
    that comes before and does not tell it. ``again_s`` asks for another look, if that is sooner than the next would be.
    """

    measures: Mapping[str, float] = field(factory=dict)
    breach: PilotError | None = None
    breach_in_s: float = 0.0
    again_s: float | None = None


class Monitor(Driver):
    """Looks at a running payload from time to time. One instance for each job; called in a worker thread."""

    interval_s: ClassVar[float] = 60.0

    @abstractmethod
    def look(self, view: View) -> Reading:
        """Look once. A failure is logged; after three in a row the monitor rests until the next job."""

    def close(self) -> None:
        """End what it started: the payload has ended. Called once, in a thread of its own, if it ever looked."""


class LogShipper(Driver):
    """Sends the pilot's log records somewhere while it runs."""

    @abstractmethod
    def ship(self, records: Sequence[Mapping[str, object]]) -> None:
        """Send these records, all or none: what raises has them sent again, after a pause that grows."""

    def close(self) -> None:
        """The last records have been shipped."""


class EventChannel(Driver):
    """Exchanges messages with a payload while it runs."""

    @abstractmethod
    def open(self, workdir: Path) -> Mapping[str, str]:
        """Begin to listen; the environment variables by which the payload finds the channel."""

    @abstractmethod
    def receive(self, limit_s: float) -> str | None:
        """The next message, or ``None`` if none came in time."""

    @abstractmethod
    def send(self, message: str) -> None:
        """Answer whoever sent the last message."""

    @abstractmethod
    def close(self) -> None:
        """Stop listening and leave nothing behind."""


class Workflow(Driver):
    """The steps that a job goes through: a table, and works of its own where the core has none by that name."""

    steps: ClassVar[tuple[Step, ...]]

    def works(self) -> Mapping[str, Work]:
        """Works by the names that the steps use, beside the core's."""
        return {}

    def drive(self, pilot: Callable[[], None]) -> None:
        """Run the pilot: its loop over this table. A workflow with a loop of its own runs that instead."""
        pilot()
