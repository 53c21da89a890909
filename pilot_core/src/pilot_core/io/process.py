"""Starting processes and hearing of their end.

A `Starter` opens the `Processes` of one job. Those take orders, which return at once, and tell what happened
as events: wait for `fileno` to be readable, then `read`. `process_keeper` has the pilot's starter,
`process_plain` one for programs that run without a keeper.
"""

from __future__ import annotations

import errno
import json
import socket
import struct
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from attrs import field, frozen
from attrs.validators import in_

from pilot_core import keeper

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    Message = dict[str, Any]

SEND_S = 5
OPEN_FILES = 65536
OWN_PROCESSES = 64
"""Of the processes and threads that its user may have, so many are left to the pilot."""
MARK = "PILOT_JOB_MARK"
"""The variable that every process of a job inherits; its value is nobody else's."""


@frozen
class OrphanPolicy:
    """What becomes of a job's processes when its pilot is gone.

    ``wait`` waits ``wait_s`` for another pilot, then ends them; ``finish`` lets ``payload`` run until it ends
    or its wall time is over; ``stop`` ends them at once. All do it in an orderly way.
    """

    orphan: Literal["wait", "finish", "stop"] = field(default="wait", validator=in_(("wait", "finish", "stop")))
    wait_s: float = 60.0
    wall_limit_s: float | None = None
    payload: str = "payload"


@frozen
class ProcessSpec:
    """A program to start under a name. Its environment and its three descriptors are these and no others."""

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: Path
    stdout: Path
    stderr: Path
    nofile: int | None = None
    nproc: int | None = None
    output_b: int | None = None
    """Each of its two files is cut there by a keeper, which ends who writes more."""
    kept: bool = False
    """Whether its two files get a second name each in the control directory, where it does not see them."""
    cores: tuple[int, ...] | None = None
    contained: bool = False
    """Whether it runs a container around the program that is meant."""
    sign: Path | None = None
    """The file that is written to when that program begins."""
    hidden: tuple[str, ...] = ()
    """What is covered for it, and for nobody else: a folder first, then folders and files."""
    groups: tuple[Mapping[str, object], ...] = ()
    """Where a keeper makes a control group of the job's own, and what is set there; it is started in that."""


@frozen
class Started:
    name: str
    pid: int
    start_ticks: int | None
    at: float


@frozen
class Refused:
    """It did not run; ``error`` names what stood in the way."""

    name: str
    errno: int
    error: str


@frozen
class Ended:
    """It is over: its status or the signal that killed it. The tree's time is of all reaped so far.

    ``orphaned`` says that the orphan policy was ending it, for want of a pilot. ``mono`` and ``started_mono`` are of
    one clock, as one process wrote both.
    """

    name: str
    pid: int
    start_ticks: int | None
    status: int | None
    signal: int | None
    utime_s: float
    stime_s: float
    maxrss_b: int
    tree_utime_s: float
    tree_stime_s: float
    at: float
    mono: float
    on_disk: bool = True
    orphaned: bool = False
    started_mono: float | None = None
    flooded: str = ""
    """The file that was too long, and is cut."""
    begun: bool = True
    """Whether the sign was given, if one was waited for."""


@frozen
class Cleared:
    """An `end` or `sweep` is done: nothing it was meant for is alive."""

    names: tuple[str, ...] | None
    keep: tuple[str, ...]
    tree_utime_s: float
    tree_stime_s: float


@frozen
class Listed:
    running: tuple[Started, ...]
    ended: tuple[Ended, ...]


@frozen
class Orphaned:
    """The last process ended with no pilot there; ``acted`` if the policy ended it."""

    policy: str
    acted: bool
    at: float


@frozen
class Released:
    pass


@frozen
class Complaint:
    """An order was not understood or not possible."""

    error: str


@frozen
class Gone:
    """The connection is lost; no more events come."""


ProcessEvent = Started | Refused | Ended | Cleared | Listed | Orphaned | Released | Complaint | Gone


def raise_open_files() -> int:
    """Let this process open many files, if it may; how many it could before, which its children are to have again."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return soft


def spare_processes() -> int | None:
    """How many processes and threads its user may have by the rule for a payload, so that this process has its own.

    The kernel counts all of the user's and compares them with the limit of whoever starts one more.
    """
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    return None if soft == resource.RLIM_INFINITY else max(soft - OWN_PROCESSES, soft // 2)


class Processes(ABC):
    """The processes of one job."""

    @abstractmethod
    def start(self, spec: ProcessSpec) -> None:
        """Then `Started` or `Refused`, and once `Ended`."""

    @abstractmethod
    def signal(self, name: str, signum: int) -> None:
        """Signal the group of a running process; nothing if it has ended."""

    @abstractmethod
    def end(self, grace_s: float, names: Iterable[str] | None = None) -> None:
        """SIGTERM to everything, or to these with all below them; kill after the grace; then `Cleared`."""

    @abstractmethod
    def sweep(self, keep: Iterable[str] = ()) -> None:
        """Kill at once what is left, but not these; then `Cleared`."""

    @abstractmethod
    def list(self) -> None:
        """Then `Listed`."""

    @abstractmethod
    def set_policy(self, policy: OrphanPolicy, grace_s: float) -> None:
        """Change what becomes of them without a pilot."""

    @abstractmethod
    def release(self) -> None:
        """Nothing runs and nothing will: then `Released`, or a `Complaint` if something does run."""

    @abstractmethod
    def fileno(self) -> int: ...

    @abstractmethod
    def read(self) -> tuple[ProcessEvent, ...]:
        """What has happened since; never waits. `Gone` is the last."""

    @abstractmethod
    def close(self) -> None:
        """Let go of them. What still runs is an orphan then."""


class Starter(ABC):
    @abstractmethod
    def open(self, job_id: str, control: Path, policy: OrphanPolicy, grace_s: float) -> Processes:
        """The processes of a new job; `OSError` if its control directory is not usable or taken."""


class Wire:
    """JSON lines over a socket whose writes give up after a while and whose reads never wait."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", SEND_S, 0))
        self.sock = sock
        self._in = b""
        self._lock = threading.Lock()

    def send(self, message: Message) -> None:
        """Nothing is said of a failure here: the connection is dead then, and reading tells."""
        with self._lock:
            try:
                self.sock.sendall(json.dumps(message).encode() + b"\n", socket.MSG_NOSIGNAL)
            except OSError:
                with suppress(OSError):
                    self.sock.shutdown(socket.SHUT_RDWR)

    def read(self) -> Iterator[Message]:
        """Whole messages that have arrived; `ConnectionError` at the end."""
        with suppress(BlockingIOError):
            while chunk := self.sock.recv(65536, socket.MSG_DONTWAIT):
                *lines, self._in = (self._in + chunk).split(b"\n")
                yield from map(json.loads, lines)
            raise ConnectionResetError(errno.ECONNRESET, "the other end is gone")

    def close(self) -> None:
        self.sock.close()


class WireProcesses(Processes):
    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def fileno(self) -> int:
        return self._wire.sock.fileno()

    def read(self) -> tuple[ProcessEvent, ...]:
        events: list[ProcessEvent] = []
        try:
            for message in self._wire.read():
                events.append(event_of(message))  # noqa: PERF401 -- what came before the end counts
        except ConnectionError:
            events.append(Gone())
        return tuple(events)

    def close(self) -> None:
        self._wire.close()


def ended(control: Path) -> tuple[Ended | Orphaned, ...]:
    """What a job's child wrote down. The last line may be torn, if the node died."""
    try:
        whole = (control / keeper.PROCESSES).read_bytes().rpartition(b"\n")[0]
    except FileNotFoundError:
        return ()
    events = (event_of(json.loads(line)) for line in whole.splitlines())
    return tuple(event for event in events if isinstance(event, Ended | Orphaned))


def event_of(message: Message) -> ProcessEvent:
    match message["event"]:
        case "started":
            return _started(message)
        case "refused":
            return Refused(message["name"], message["errno"], message["error"])
        case "ended":
            return _ended(message)
        case "cleared":
            names = message["names"]
            cpu = {"tree_utime_s": message["tree_utime"], "tree_stime_s": message["tree_stime"]}
            return Cleared(None if names is None else tuple(names), tuple(message["keep"]), **cpu)
        case "processes":
            return Listed(tuple(map(_started, message["running"])), tuple(map(_ended, message["ended"])))
        case "orphan_policy":
            return Orphaned(message["policy"], message["acted"], message["at"])
        case "released":
            return Released()
        case _:
            return Complaint(str(message.get("error", message)))


def _started(message: Message) -> Started:
    at = message.get("at") or message["started_at"]
    return Started(message["name"], message["pid"], message["start_ticks"], at)


def _ended(message: Message) -> Ended:
    seconds = {f"{key}_s": message[key] for key in ("utime", "stime", "tree_utime", "tree_stime")}
    same = {key: message[key] for key in ("name", "pid", "start_ticks", "status", "signal", "at", "mono")}
    told = {key: message[key] for key in ("on_disk", "orphaned", "started_mono", "flooded", "begun") if key in message}
    return Ended(**same, **seconds, **told, maxrss_b=message["maxrss_kb"] * 1024)
