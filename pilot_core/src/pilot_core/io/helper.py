"""One blocking call in a child process, so that it can be ended whatever it does.

A copy tool written in C may wait for ever where no thread can be stopped, or crash and take its process
along. Here that process is a child: it gets one JSON line that says what to call, and answers with JSON
lines, progress first and the result or the error last, over a socket of its own. What it prints is kept for
the story of a failure only. The child ends with its caller: the socket hangs up, and it kills its own
process group.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from pilot_core.io.cancel import CancelFlag, Cancelled

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator, Mapping
    from types import TracebackType

    Report = Callable[[Any], None]

TAIL_B = 4096
KILL_S = 10.0

_BOOT = "import sys; sys.path[:] = sys.argv[2:]; from pilot_core.io.helper import serve; serve(int(sys.argv[1]))"


class ChildFailed(Exception):
    """The call came to no result; `output` is the end of what the child printed."""

    def __init__(self, target: str, why: str, output: str) -> None:
        super().__init__(f"{target} {why}")
        self.target = target
        self.output = output


class ChildRaised(ChildFailed):
    """The target raised: `type` is the exception's name and `detail` its text."""

    def __init__(self, target: str, type: str, detail: str, output: str) -> None:
        super().__init__(target, f"raised {type}: {detail}", output)
        self.type = type
        self.detail = detail


class ChildDied(ChildFailed):
    """The child ended without an answer: `status` is its exit code, or the negative number of a signal."""

    def __init__(self, target: str, status: int, output: str) -> None:
        ended = f"died of {_signal_name(-status)}" if status < 0 else f"exited with {status}"
        super().__init__(target, f"{ended} before it answered", output)
        self.status = status


def call_in_child(
    target: str,
    payload: Any,
    deadline_s: float,
    on_progress: Report | None = None,
    cancelled: CancelFlag | None = None,
    env: Mapping[str, str] | None = None,
) -> Any:
    """Call `target`, a "module:callable", as `callable(payload, report)` in a child, and return its result.

    Payload, progress and result are JSON. `report(value)` in the child is `on_progress(value)` here. The
    child and all of its process group are gone when this returns or raises: `TimeoutError` after
    `deadline_s`, `Cancelled`, the `PilotError` that the target raised, `ChildRaised` for its other
    exceptions, or `ChildDied`.
    """
    cancelled = cancelled or CancelFlag()
    ours, theirs = socket.socketpair()
    with ours:
        call = _Call(ours, _start(theirs, env), time.monotonic() + deadline_s)
        try:
            with cancelled.calling(partial(_hang_up, ours)):
                call.ask({"target": target, "payload": payload})
                answer = call.answer(on_progress)
        finally:
            status, output = call.end()
    if answer is not None:
        return _judge(target, answer, output)
    if cancelled.is_set():
        raise Cancelled(f"{target} was given up")
    if call.late:
        raise TimeoutError(f"{target} did not end within {deadline_s:g} s and was killed")
    raise ChildDied(target, status, output)


def _hang_up(channel: socket.socket) -> None:
    with suppress(OSError):
        channel.shutdown(socket.SHUT_RDWR)


def _judge(target: str, answer: Mapping[str, Any], output: str) -> Any:
    match answer:
        case {"result": result}:
            return result
        case {"pilot_error": wire}:
            from pilot_core.errors import PilotError

            raise PilotError.from_wire(wire)
    raise ChildRaised(target, answer["type"], answer["detail"], output)


def _start(channel: socket.socket, env: Mapping[str, str] | None) -> subprocess.Popen[bytes]:
    import subprocess

    with channel:
        fd = channel.fileno()
        path = [os.path.abspath(entry) for entry in sys.path]
        return subprocess.Popen(
            [sys.executable, "-I", "-u", "-X", "faulthandler", "-c", _BOOT, str(fd), *path],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=env,
            pass_fds=[fd],
            start_new_session=True,
        )


class _Call:
    """The caller's end of one conversation."""

    def __init__(self, channel: socket.socket, child: subprocess.Popen[bytes], deadline: float) -> None:
        assert child.stdout is not None
        self.late = False
        self._channel = channel
        self._child = child
        self._printed = child.stdout
        self._deadline = deadline
        self._tail = b""
        os.set_blocking(self._printed.fileno(), False)

    def ask(self, request: Mapping[str, Any]) -> None:
        """Send the request; why a child does not take it is found out by listening."""
        with suppress(ConnectionError, TimeoutError):
            self._channel.settimeout(max(self._deadline - time.monotonic(), 0.001))
            self._channel.sendall(_line(request))

    def answer(self, on_progress: Report | None) -> Mapping[str, Any] | None:
        """The last word, or nothing if the child hung up or the deadline came first."""
        for line in self._lines():
            message: dict[str, Any] = json.loads(line)
            if "progress" not in message:
                return message
            if on_progress is not None:
                on_progress(message["progress"])
        return None

    def end(self) -> tuple[int, str]:
        """Kill what is left of the group, reap the child, and give its status and the end of what it printed.

        Until it is reaped its number is its own, dead or not. One that the kernel cannot end is left behind.
        """
        import subprocess

        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._child.pid, signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):
            self._child.wait(KILL_S)
        while self._hear_output():
            pass
        self._printed.close()
        status = self._child.returncode
        return -signal.SIGKILL if status is None else status, self._tail.decode(errors="replace")

    def _lines(self) -> Iterator[bytes]:
        import selectors

        unread = b""
        with selectors.DefaultSelector() as ready:
            ready.register(self._channel, selectors.EVENT_READ)
            ready.register(self._printed, selectors.EVENT_READ)
            while (left_s := self._deadline - time.monotonic()) > 0:
                for key, _ in ready.select(left_s):
                    if key.fileobj is self._channel:
                        data = self._receive()
                        if not data:
                            return
                        *lines, unread = (unread + data).split(b"\n")
                        yield from lines
                    elif not self._hear_output():
                        ready.unregister(self._printed)
        self.late = True

    def _receive(self) -> bytes:
        try:
            return self._channel.recv(1 << 18)
        except ConnectionError:
            return b""

    def _hear_output(self) -> bool:
        """Read what is there and keep its end; false when there is no more now, or will never be."""
        try:
            data = os.read(self._printed.fileno(), 1 << 16)
        except BlockingIOError:
            return False
        self._tail = (self._tail + data)[-TAIL_B:]
        return bool(data)


def serve(fd: int) -> None:
    """The child's whole life: read the request, call, answer, leave without any library's exit handlers."""
    import threading

    os.set_inheritable(fd, False)
    with open(fd, "rb", closefd=False) as channel:
        request = json.loads(channel.readline())
    threading.Thread(target=_end_with_the_caller, args=[fd], daemon=True).start()
    sys.excepthook = partial(_tell_exception, fd)
    call, lock = _find(request["target"]), threading.Lock()

    def report(value: Any) -> None:
        with lock:
            _write(fd, {"progress": value})

    result = call(request["payload"], report)
    with lock:
        _write(fd, {"result": result})
        os._exit(0)


def _end_with_the_caller(fd: int) -> None:
    """Wait for the hang-up; the caller says nothing after its request."""
    os.read(fd, 1)
    os.killpg(0, signal.SIGKILL)


def _find(target: str) -> Callable[[Any, Report], Any]:
    from importlib import import_module
    from operator import attrgetter

    module, _, name = target.partition(":")
    found: Callable[[Any, Report], Any] = attrgetter(name)(import_module(module))
    return found


def _tell_exception(fd: int, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """The child's last words; the traceback goes where its output goes."""
    from pilot_core.errors import PilotError

    sys.__excepthook__(kind, error, trace)
    if isinstance(error, PilotError):
        _write(fd, {"pilot_error": error.to_wire()})
    else:
        _write(fd, {"type": kind.__name__, "detail": str(error)})


def _write(fd: int, message: Mapping[str, Any]) -> None:
    data = memoryview(_line(message))
    while data:
        data = data[os.write(fd, data) :]


def _line(message: Mapping[str, Any]) -> bytes:
    return json.dumps(message).encode() + b"\n"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
