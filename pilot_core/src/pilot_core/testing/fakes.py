"""Fakes: a clock that a test moves, processes that end as told, a copy tool with its storage in memory."""

from __future__ import annotations

import signal as signals
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from attrs import define, field, frozen

from pilot_core.builtin.filebox import report_of
from pilot_core.errors import Code, PilotError
from pilot_core.io.checksum import Digest
from pilot_core.io.process import OrphanPolicy, Processes, ProcessSpec, Starter, Wire, WireProcesses
from pilot_core.model.described import read_job
from pilot_core.model.files import Checksum, FileSpec, Replica
from pilot_core.model.job import Job
from pilot_core.spec.drivers import Communicator, Fetches, Letter, Moved, Moving, Offer, Reply, Stores, Update

SCHEME = "kit"
NO_PID = 2**31 - 2
"""The number of a process that cannot be."""


class FakeClock:
    """Both clocks, standing still until a test lets time pass."""

    def __init__(self, at: float = 1_800_000_000.0, mono: float = 0.0) -> None:
        self._at = at
        self._mono = mono

    def now(self) -> float:
        """Seconds since the epoch."""
        return self._at

    def mono(self) -> float:
        """Seconds since the test began."""
        return self._mono

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._at += seconds
        self._mono += seconds


# --- processes ------------------------------------------------------------------------------------------------------


@frozen(kw_only=True)
class Payload:
    """What a fake payload does: it writes, calls ``does`` in its directory, and ends as told.

    ``does`` may give the exit code. ``hangs`` waits for a signal first, as a payload that is to be stopped.
    """

    exit_code: int = 0
    signal: int | None = None
    files: Mapping[str, bytes] = field(factory=dict)
    stdout: str = ""
    stderr: str = ""
    does: Callable[[Path, Mapping[str, str]], int | None] | None = None
    hangs: bool = False
    refused: str = ""
    """Why it doesn't even start."""


class FakeProcesses(Starter):
    """A starter whose payloads end as told, one after the other, the last one again and again."""

    def __init__(self, *payloads: Payload) -> None:
        self.started: list[ProcessSpec] = []
        self._payloads = list(payloads) or [Payload()]

    def open(self, job_id: str, control: Path, policy: OrphanPolicy, grace_s: float) -> Processes:
        """The processes of a new job."""
        payload = self._payloads.pop(0) if len(self._payloads) > 1 else self._payloads[0]
        return _FakeJob(payload, policy.payload, self.started)


@define(eq=False)
class _Process:
    spec: ProcessSpec
    pid: int
    stopped: threading.Event = field(factory=threading.Event)
    thread: threading.Thread | None = None

    def told(self) -> dict[str, Any]:
        return {"name": self.spec.name, "pid": self.pid, "start_ticks": None, "at": time.time()}


class _FakeJob(WireProcesses):
    def __init__(self, payload: Payload, name: str, started: list[ProcessSpec]) -> None:
        near, far = socket.socketpair()
        super().__init__(Wire(near))
        self._far = Wire(far)
        self._payload = payload
        self._name = name
        self._started = started
        self._running: dict[str, _Process] = {}

    def start(self, spec: ProcessSpec) -> None:
        self._started.append(spec)
        payload = self._payload if spec.name == self._name else Payload(hangs=True)
        if payload.refused:
            self._far.send({"event": "refused", "name": spec.name, "errno": 2, "error": payload.refused})
            return
        process = self._running[spec.name] = _Process(spec, NO_PID - len(self._started))
        self._far.send({"event": "started", **process.told()})
        process.thread = threading.Thread(target=self._live, args=(process, payload), name=f"fake {spec.name}")
        process.thread.start()

    def _live(self, process: _Process, payload: Payload) -> None:
        code: int | None = 1
        try:
            code = _do(process.spec, payload)
            if payload.hangs:
                process.stopped.wait()
        finally:
            signal = signals.SIGTERM if process.stopped.is_set() and payload.hangs else payload.signal
            how = {"status": None if signal else code, "signal": signal, "maxrss_kb": 0, "mono": 0.0}
            self._far.send({**process.told(), "event": "ended", **how, **dict.fromkeys(_CPU, 0.0)})

    def signal(self, name: str, signum: int) -> None:
        if name in self._running:
            self._running[name].stopped.set()

    def end(self, grace_s: float, names: Iterable[str] | None = None) -> None:
        chosen = list(self._running) if names is None else list(names)
        self._clear(chosen, None if names is None else chosen, [])

    def sweep(self, keep: Iterable[str] = ()) -> None:
        kept = list(keep)
        self._clear([name for name in self._running if name not in kept], None, kept)

    def _clear(self, chosen: list[str], names: list[str] | None, keep: list[str]) -> None:
        ending = [process for name, process in self._running.items() if name in chosen]
        for process in ending:
            process.stopped.set()
        threading.Thread(target=self._cleared, args=(ending, names, keep), name="fake end").start()

    def _cleared(self, ending: list[_Process], names: list[str] | None, keep: list[str]) -> None:
        for process in ending:
            if process.thread is not None:
                process.thread.join()
        self._far.send({"event": "cleared", "names": names, "keep": keep, "tree_utime": 0.0, "tree_stime": 0.0})

    def list(self) -> None:
        running = [each.told() for each in self._running.values() if each.thread and each.thread.is_alive()]
        self._far.send({"event": "processes", "running": running, "ended": []})

    def set_policy(self, policy: OrphanPolicy, grace_s: float) -> None:
        """Nobody would follow it."""

    def release(self) -> None:
        self._far.send({"event": "released"})

    def close(self) -> None:
        super().close()
        self._far.close()


_CPU = ("utime", "stime", "tree_utime", "tree_stime")


def _do(spec: ProcessSpec, payload: Payload) -> int:
    spec.stdout.write_text(payload.stdout)
    spec.stderr.write_text(payload.stderr)
    for name, content in payload.files.items():
        (spec.cwd / name).parent.mkdir(parents=True, exist_ok=True)
        (spec.cwd / name).write_bytes(content)
    code = payload.does(spec.cwd, spec.env) if payload.does else None
    return payload.exit_code if code is None else code


# --- storage --------------------------------------------------------------------------------------------------------


class Storage:
    """Files by their URLs, and faults to order."""

    def __init__(self, files: Mapping[str, bytes] | None = None) -> None:
        self.files = {url_of(name): content for name, content in (files or {}).items()}
        self._faults: dict[str, list[PilotError | bytes]] = {}

    def __getitem__(self, name: str) -> bytes:
        return self.files[url_of(name)]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and url_of(name) in self.files

    def fail(self, name: str, error: PilotError | None = None, *, times: int = 1) -> None:
        """Let the next transfers of this file fail."""
        error = error or PilotError(Code.SERVICENOTAVAILABLE, f"{name}: a fault was ordered")
        self._faults.setdefault(url_of(name), []).extend([error] * times)

    def spoil(self, name: str, content: bytes) -> None:
        """Let the next transfer of this file bring something else."""
        self._faults.setdefault(url_of(name), []).append(content)

    def move(self, url: str, content: bytes) -> bytes:
        """What arrives when this is moved."""
        waiting = self._faults.get(url)
        fault = waiting.pop(0) if waiting else None
        if isinstance(fault, PilotError):
            raise fault
        return content if fault is None else fault


def url_of(name: str) -> str:
    """The place of a file in the kit's storage."""
    return name if "://" in name else f"{SCHEME}://{name}"


class FakeCopyTool(Fetches, Stores):
    """Moves files from and to a storage in memory: a class attribute, so make a subclass for each."""

    name = "kit"
    schemes = (SCHEME,)
    storage: ClassVar[Storage] = Storage()

    def fetch(self, replica: Replica, target: Path, file: FileSpec, moving: Moving) -> Moved:
        """Bring the file, in two pieces."""
        if replica.url not in self.storage.files:
            raise PilotError(Code.NOREPLICAS, f"{replica.url}: no such file")
        content = self.storage.move(replica.url, self.storage.files[replica.url])
        _go_on(moving, len(content) // 2)
        target.write_bytes(content)
        moving.progress(len(content))
        return Moved(size_b=len(content))

    def store(self, source: Path, replica: Replica, file: FileSpec, moving: Moving) -> Moved:
        """Store the file, if it is the one that is described."""
        try:
            content = self.storage.move(replica.url, source.read_bytes())
        except FileNotFoundError:
            raise PilotError(Code.MISSINGOUTPUTFILE, f"{source}: no such file") from None
        _go_on(moving, len(content) // 2)
        if file.size_b not in (None, len(content)) or _differs(file.checksum, content):
            raise PilotError(Code.PUTADMISMATCH, f"{replica.url}: what arrived is not the file")
        if not file.replace and self.storage.files.get(replica.url, content) != content:
            raise PilotError(Code.FILEEXISTS, f"{replica.url}: another file has this name")
        self.storage.files[replica.url] = content
        moving.progress(len(content))
        return Moved(size_b=len(content))


def _go_on(moving: Moving, so_far_b: int) -> None:
    moving.progress(so_far_b)
    if moving.cancel.is_set():
        raise PilotError(Code.STAGEINTIMEOUT, "the transfer was given up")


def _differs(checksum: Checksum | None, content: bytes) -> bool:
    if checksum is None:
        return False
    digest = Digest([checksum.kind])
    digest.update(content)
    return digest.hexdigests()[checksum.kind] != checksum.value


# --- whoever has the work -------------------------------------------------------------------------------------------


class KitCommunicator(Communicator):
    """Gives raw jobs from a list and keeps every letter: class attributes, so make a subclass for each."""

    name = "kit"
    offers: ClassVar[list[Mapping[str, object]]] = []
    letters: ClassVar[list[Letter]] = []
    requests: ClassVar[list[Mapping[str, object]]] = []
    replies: ClassVar[list[Reply | PilotError]] = []
    """Answers to the next letters; after them, all is well."""

    def acquire(self, request: Mapping[str, object]) -> Offer:
        """The next job."""
        self.requests.append(dict(request))
        return Offer(jobs=(self.offers.pop(0),), over=not self.offers) if self.offers else Offer(over=True)

    def read(self, raw: Mapping[str, object]) -> Job:
        """Read it as a described job."""
        return read_job(raw)

    def compose(self, update: Update) -> Letter:
        """A report like that of a file box."""
        job = update.job
        return Letter(
            communicator=self.name, job=job.id, attempt=job.attempt, final=update.final, body=report_of(update)
        )

    def refuse(self, raw: Mapping[str, object], error: PilotError) -> Letter | None:
        """The report of a job that could not be begun."""
        described = raw.get("described")
        job = str(described.get("id", "")) if isinstance(described, Mapping) else ""
        body = {"id": job, "state": "failed", "refused": True, "final": True, "error": error.to_wire()}
        return Letter(communicator=self.name, job=job, attempt=0, final=True, body=body)

    def send(self, letter: Letter) -> Reply:
        """Keep it, and answer as told."""
        reply = self.replies.pop(0) if self.replies else Reply()
        if isinstance(reply, PilotError):
            raise reply
        self.letters.append(letter)
        return reply
