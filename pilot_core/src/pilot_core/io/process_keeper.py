"""Processes through the keeper: they outlive this pilot, and so does the truth about how they ended."""

from __future__ import annotations

import errno
import json
import os
import socket
import struct
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import asdict

from pilot_core import keeper
from pilot_core.io.process import OrphanPolicy, Processes, ProcessSpec, Starter, Wire, WireProcesses

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterable

    Message = dict[str, Any]

ANSWER_S = 10.0


class _KeptProcesses(WireProcesses):
    """Asks the job's own child of the keeper."""

    def start(self, spec: ProcessSpec) -> None:
        paths = {"cwd": str(spec.cwd), "stdout": str(spec.stdout), "stderr": str(spec.stderr)}
        facts = {"name": spec.name, "argv": spec.argv, "env": dict(spec.env), "nofile": spec.nofile}
        facts |= {"nproc": spec.nproc, "output_b": spec.output_b, "contained": spec.contained}
        facts |= {"kept": spec.kept, "hidden": spec.hidden, "sign": None if spec.sign is None else str(spec.sign)}
        self._wire.send({"op": "start", "groups": spec.groups, **facts, **paths, "stdin": None, "cores": spec.cores})

    def signal(self, name: str, signum: int) -> None:
        self._wire.send({"op": "signal", "name": name, "signal": int(signum)})

    def end(self, grace_s: float, names: Iterable[str] | None = None) -> None:
        self._wire.send({"op": "end", "grace_s": grace_s, "names": None if names is None else [*names]})

    def sweep(self, keep: Iterable[str] = ()) -> None:
        self._wire.send({"op": "sweep", "keep": [*keep]})

    def list(self) -> None:
        self._wire.send({"op": "list"})

    def set_policy(self, policy: OrphanPolicy, grace_s: float) -> None:
        self._wire.send({"op": "policy", **_policy_order(policy, grace_s)})

    def release(self) -> None:
        self._wire.send({"op": "release"})


class KeeperStarter(Starter):
    """Owns the keeper process. `start` it before the first thread; it is started anew if it dies."""

    def __init__(self, log: Path = Path(os.devnull)) -> None:
        self._log = log
        self._lock = threading.RLock()
        self._process: subprocess.Popen[bytes] | None = None
        self._sock: socket.socket | None = None
        self._watch: Message | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Return at once; the first `open` waits until the keeper is up."""
        import subprocess

        ours, theirs = socket.socketpair()
        program = str(Path(keeper.__file__).with_name(keeper.PROGRAM))
        with theirs, self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", program, str(theirs.fileno()), str(os.getpid())],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        ours.settimeout(ANSWER_S)
        self._sock = ours

    def open(self, job_id: str, control: Path, policy: OrphanPolicy, grace_s: float) -> Processes:
        order = {"op": "job", "job": job_id, "control": str(control.absolute())}
        answer = self._ask({**order, **_policy_order(policy, grace_s)})
        if answer["event"] == "error":
            raise ValueError(f"the keeper did not take job {job_id}: {answer['error']}")
        if answer["event"] == "refused":
            raise OSError(answer["errno"], answer["error"])
        processes = attach(control)
        if processes is None:
            raise OSError(errno.ECONNREFUSED, f"the keeper's child for job {job_id} is gone", str(control))
        return processes

    def ping(self) -> None:
        """Say that the loop goes round. Waits for nothing, but starts a new keeper if this one is dead."""
        sock = self._sock
        try:
            if sock:
                sock.send(b'{"op": "ping"}\n', socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except BlockingIOError:
            pass  # it is stopped, and has enough of them
        except OSError:
            self._restart(sock)

    def watch(self, every_s: float, missed: int, signum: int, stacks: Path, record: Path) -> None:
        """Have this process ended, stacks dumped by a signal first, when ``missed`` pings fail to come."""
        paths = {"stacks": str(stacks.absolute()), "record": str(record.absolute())}
        self._watch = {"op": "watch", "every_s": every_s, "missed": missed, "signal": int(signum), **paths}
        self._tell(self._watch)

    def close(self) -> None:
        """The pilot ends well: the keeper goes, the jobs' children stay with what they have."""
        with self._lock:
            if self._sock and self._process:
                with suppress(OSError):
                    self._send(self._sock, {"op": "bye"})
                self._reap()
            self._sock = self._process = self._watch = None

    def _restart(self, broken: socket.socket | None) -> socket.socket:
        with self._lock:
            if self._sock is broken:
                self._reap()
                self.start()
                if self._watch and self._sock:
                    self._send(self._sock, self._watch)
            assert self._sock
            return self._sock

    def _reap(self) -> None:
        import subprocess

        if self._sock:
            self._sock.close()
        if self._process:
            try:
                self._process.wait(ANSWER_S / 2)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def _tell(self, order: Message) -> None:
        with self._lock:
            sock = self._sock or self._restart(None)
            try:
                self._send(sock, order)
            except OSError:
                self._send(self._restart(sock), order)

    def _ask(self, order: Message) -> Message:
        with self._lock:
            sock = self._sock or self._restart(None)
            try:
                return self._exchange(sock, order)
            except OSError:
                return self._exchange(self._restart(sock), order)

    def _exchange(self, sock: socket.socket, order: Message) -> Message:
        self._send(sock, order)
        return _read_line(sock)

    def _send(self, sock: socket.socket, order: Message) -> None:
        sock.sendall(json.dumps(order).encode() + b"\n", socket.MSG_NOSIGNAL)


def attach(control: Path) -> Processes | None:
    """The living child of a keeper for this job, if any; `OSError` (EBUSY) if another pilot has it."""
    sock = _connect(control)
    if sock is None:
        return None
    sock.settimeout(ANSWER_S)
    try:
        hello = _read_line(sock)
    except ConnectionError:
        sock.close()
        return None
    if hello["event"] == "busy":
        sock.close()
        raise OSError(errno.EBUSY, "another pilot serves this job", str(control))
    sock.settimeout(None)
    return _KeptProcesses(Wire(sock))


def _connect(control: Path) -> socket.socket | None:
    """A socket's name has 107 bytes at most, a directory's descriptor always fits."""
    directory = os.open(control, os.O_PATH | os.O_DIRECTORY)
    try:
        for address in filter(None, (f"/proc/self/fd/{directory}/{keeper.SOCKET}", _left_address(control))):
            sock = socket.socket(socket.AF_UNIX)
            with suppress(FileNotFoundError, ConnectionRefusedError):
                sock.connect(address)
                if _owner(sock) == os.geteuid():
                    return sock
            sock.close()
    finally:
        os.close(directory)
    return None


def _left_address(control: Path) -> str:
    try:
        return str(json.loads((control / keeper.ADDRESS).read_bytes())["address"])
    except (FileNotFoundError, ValueError, LookupError):
        return ""


def _owner(sock: socket.socket) -> int:
    credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", credentials)[1])


def _read_line(sock: socket.socket) -> Message:
    """One line and no byte more: the next belongs to somebody who waits for it."""
    line = b""
    while not line.endswith(b"\n"):
        ahead = sock.recv(65536, socket.MSG_PEEK)
        if not ahead:
            raise ConnectionResetError(errno.ECONNRESET, "the keeper is gone")
        line += sock.recv(ahead.find(b"\n") + 1 or len(ahead))
    message: Message = json.loads(line)
    return message


def _policy_order(policy: OrphanPolicy, grace_s: float) -> Message:
    facts = asdict(policy)
    return {"wall_limit_s": facts.pop("wall_limit_s"), "policy": facts, "grace_s": grace_s}
