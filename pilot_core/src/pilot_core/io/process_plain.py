"""Processes of a program that has no keeper: a thread waits for each, and a group ends with its leader."""

from __future__ import annotations

import errno
import os
import resource
import signal
import socket
import subprocess
import threading
import time
from contextlib import ExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from pilot_core.io.process import OrphanPolicy, Processes, ProcessSpec, Starter, Wire, WireProcesses
from pilot_core.keeper.hiding import hide
from pilot_core.keeper.output import Sign
from pilot_core.keeper.process import open_output

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    Message = dict[str, Any]


class PlainStarter(Starter):
    """Needs no control directory and no policy: if this program dies, its processes are on their own.

    What a process left in its group is killed when it ends, and not waited for; what left the group is not seen.
    """

    def open(self, job_id: str, control: Path, policy: OrphanPolicy, grace_s: float) -> Processes:
        return _PlainProcesses(*socket.socketpair())


class _PlainProcesses(WireProcesses):
    def __init__(self, near: socket.socket, far: socket.socket) -> None:
        super().__init__(Wire(near))
        self._far = Wire(far)
        self._changed = threading.Condition()
        self._running: dict[str, Message] = {}
        self._ended: list[Message] = []
        self._cpu = {"tree_utime": 0.0, "tree_stime": 0.0}

    def start(self, spec: ProcessSpec) -> None:
        with self._changed:
            try:
                if spec.name in self._running:
                    raise FileExistsError(errno.EEXIST, "runs already", spec.name)
                sign = Sign(str(spec.sign)) if spec.sign else None
                process = _spawn(spec)
            except (OSError, ValueError) as error:
                self._far.send({"event": "refused", "name": spec.name, **_complaint(spec, error)})
                return
            facts = {"name": spec.name, "pid": process.pid, "start_ticks": None}
            facts |= {"at": time.time(), "started_mono": time.monotonic()}
            self._running[spec.name] = facts
            self._far.send({"event": "started", **facts})
        threading.Thread(target=self._wait, args=(process, facts, sign), name=f"wait {spec.name}", daemon=True).start()

    def _wait(self, process: subprocess.Popen[bytes], facts: Message, sign: Sign | None) -> None:
        """Until its status is taken, a process's number is its own, and so is its group's."""
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        with self._changed:
            _signal_group(process.pid, signal.SIGKILL)
            _, code, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(code)
            self._bury({**facts, **({"begun": sign.close()} if sign else {})}, process.returncode, usage)
            self._changed.notify_all()

    def _bury(self, facts: Message, code: int, usage: resource.struct_rusage) -> None:
        self._cpu["tree_utime"] += usage.ru_utime
        self._cpu["tree_stime"] += usage.ru_stime
        how = {"status": code if code >= 0 else None, "signal": -code if code < 0 else None}
        cost = {"utime": usage.ru_utime, "stime": usage.ru_stime, "maxrss_kb": usage.ru_maxrss, **self._cpu}
        times = {"at": time.time(), "mono": time.monotonic()}
        end = {**facts, "event": "ended", **how, **cost, **times, "on_disk": False}
        del self._running[facts["name"]]
        self._ended.append(end)
        self._far.send(end)

    def signal(self, name: str, signum: int) -> None:
        with self._changed:
            if facts := self._running.get(name):
                _signal_group(facts["pid"], signum)

    def end(self, grace_s: float, names: Iterable[str] | None = None) -> None:
        self._end(grace_s, None if names is None else [*names], [])

    def sweep(self, keep: Iterable[str] = ()) -> None:
        self._end(0.0, None, [*keep])

    def _end(self, grace_s: float, names: list[str] | None, keep: list[str]) -> None:
        with self._changed:
            chosen = self._running.keys() if names is None else self._running.keys() & names
            doomed = [self._running[name] for name in chosen - set(keep)]
        threading.Thread(target=self._end_these, args=(doomed, grace_s, names, keep), daemon=True).start()

    def _end_these(self, doomed: list[Message], grace_s: float, names: list[str] | None, keep: list[str]) -> None:
        with self._changed:
            for signum, limit_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, None)):
                for facts in self._alive(doomed) if limit_s != 0.0 else ():
                    _signal_group(facts["pid"], signum)
                self._changed.wait_for(lambda: not self._alive(doomed), limit_s)
            self._far.send({"event": "cleared", "names": names, "keep": keep, **self._cpu})

    def _alive(self, doomed: list[Message]) -> list[Message]:
        return [facts for facts in doomed if self._running.get(facts["name"]) is facts]

    def list(self) -> None:
        with self._changed:
            self._far.send({"event": "processes", "running": [*self._running.values()], "ended": self._ended})

    def set_policy(self, policy: OrphanPolicy, grace_s: float) -> None:
        """Nobody would follow it."""

    def release(self) -> None:
        with self._changed:
            if self._running:
                error = f"{', '.join(self._running)} still running: end or sweep first"
                self._far.send({"event": "error", "error": error})
            else:
                self._far.send({"event": "released"})

    def close(self) -> None:
        super().close()
        self._far.close()


def _spawn(spec: ProcessSpec) -> subprocess.Popen[bytes]:
    with ExitStack() as files:
        stdout, stderr = (
            files.enter_context(open(open_output(str(path)), "ab")) for path in (spec.stdout, spec.stderr)
        )
        process = subprocess.Popen(
            spec.argv,
            env=dict(spec.env),
            cwd=spec.cwd,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
            preexec_fn=partial(hide, spec.hidden[0], spec.hidden[1:]) if spec.hidden else None,  # noqa: PLW1509 -- no lock
        )
    with suppress(ProcessLookupError):
        for which, most in ((resource.RLIMIT_NOFILE, spec.nofile), (resource.RLIMIT_NPROC, spec.nproc)):
            if most is not None:
                hard = resource.prlimit(process.pid, which)[1]
                soft = most if hard == resource.RLIM_INFINITY else min(most, hard)
                resource.prlimit(process.pid, which, (soft, hard))
        if spec.cores is not None:
            os.sched_setaffinity(process.pid, spec.cores)
    return process


def _complaint(spec: ProcessSpec, error: OSError | ValueError) -> Message:
    if isinstance(error, OSError):
        return {"errno": error.errno, "error": f"{error.filename or spec.argv[0]}: {error.strerror}"}
    return {"errno": errno.EINVAL, "error": f"{spec.argv[0]}: {error}"}


def _signal_group(pid: int, signum: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signum)
