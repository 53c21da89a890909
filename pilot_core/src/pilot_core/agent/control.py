"""The way to a running pilot: a socket in its control directory, and a file there where no socket can be.

A request is one JSON line with an ``order``; the answer is one JSON line. The file is looked at by a timer.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import socket
import stat
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from pilot_core.io.files import write_atomic

SOCKET, ORDER, ANSWER = "pilot.sock", "order.json", "answer.json"
LONGEST_REQUEST_B = 4096
ANSWER_S = 5.0
GUEST_S = 0.2
ORDERS = ("status", "drain", "pause", "resume", "stop")

Request = Mapping[str, Any]
Reply = Mapping[str, Any]
log = logging.getLogger(__name__)


class NoPilot(Exception):
    """No pilot answers in this directory."""


class ControlSocket:
    """The pilot's end. Lives in the loop's thread: a connection is served as far as its bytes have come."""

    def __init__(self, directory: Path, obey: Callable[[Request], Reply]) -> None:
        self._directory = directory
        self._obey = obey
        self._in_the_way = ""
        self.listener = _listen(directory)

    def accept(self) -> tuple[()]:
        """Serve whoever is at the door; brings no events by itself."""
        assert self.listener is not None
        try:
            guest, _ = self.listener.accept()
            with guest:
                line = _read_request(guest)
                guest.sendall(json.dumps(self._answer(line)).encode() + b"\n")
        except OSError as error:
            log.debug("a guest at the control socket was not served: %s", error)
        return ()

    def look(self) -> None:
        """Obey the order that lies in the directory, if there is one."""
        order = self._directory / ORDER
        try:
            line = _read_regular(order)
            order.unlink()
        except FileNotFoundError:
            self._in_the_way = ""
        except OSError as error:
            self._complain(f"{order} cannot be obeyed ({error.strerror}): remove it")
        else:
            self._leave(self._answer(line))

    def _complain(self, why: str) -> None:
        """Once for each thing in the way, although it is looked at again and again."""
        if why != self._in_the_way:
            self._in_the_way = why
            log.warning("%s", why)
            self._leave({"error": why})

    def _leave(self, reply: Reply) -> None:
        try:
            write_atomic(self._directory / ANSWER, json.dumps(reply))
        except OSError as error:
            log.warning("%s could not be written: %s", self._directory / ANSWER, error.strerror)

    def _answer(self, line: bytes) -> Reply:
        try:
            request = json.loads(line)
        except (ValueError, RecursionError):
            return {"error": f"a request is one line of JSON, of {LONGEST_REQUEST_B} bytes at most"}
        if not isinstance(request, dict) or request.get("order") not in ORDERS:
            return {"error": f"an order is one of {', '.join(ORDERS)}"}
        return self._obey(request)

    def close(self) -> None:
        """Leave no socket behind."""
        if self.listener is not None:
            self.listener.close()
            with suppress(FileNotFoundError):
                (self._directory / SOCKET).unlink()


def _read_request(guest: socket.socket) -> bytes:
    """What came until its newline, its end, or the end of the patience: the loop waits."""
    import time

    line, until = b"", time.monotonic() + GUEST_S
    with suppress(TimeoutError):
        while b"\n" not in line and len(line) < LONGEST_REQUEST_B:
            guest.settimeout(max(until - time.monotonic(), 0.001))
            if not (part := guest.recv(LONGEST_REQUEST_B - len(line))):
                break
            line += part
    guest.settimeout(GUEST_S)
    return line.partition(b"\n")[0]


def _read_regular(path: Path) -> bytes:
    """What a file holds; nothing that lies there in its place is waited for or followed."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "it is no regular file", str(path))
        return os.read(fd, LONGEST_REQUEST_B)
    finally:
        os.close(fd)


def _listen(directory: Path) -> socket.socket | None:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        with suppress(FileNotFoundError):
            (directory / SOCKET).unlink()
        with _Short(directory) as short:
            listener.bind(f"{short}/{SOCKET}")
        (directory / SOCKET).chmod(0o600)
        listener.listen(8)
    except OSError as error:
        log.warning("no control socket in %s (%s): orders are read from the file %s", directory, error.strerror, ORDER)
        listener.close()
        return None
    return listener


class _Short:
    """A name of a directory that fits into a socket's address, however long its path is."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def __enter__(self) -> str:
        self._fd = os.open(self._directory, os.O_PATH | os.O_DIRECTORY)
        return f"/proc/self/fd/{self._fd}"

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)


def ask(directory: Path, request: Request, wait_s: float = 30.0) -> dict[str, Any]:
    """Give an order to the pilot whose control directory this is, and bring its answer."""
    if not directory.is_dir():
        raise NoPilot(f"{directory.parent} is not the work directory of a pilot: there is no {directory.name} in it")
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(ANSWER_S)
        try:
            with _Short(directory) as short:
                client.connect(f"{short}/{SOCKET}")
            client.sendall(json.dumps(dict(request)).encode() + b"\n")
            line = b"".join(iter(lambda: client.recv(65536), b""))
        except FileNotFoundError:
            return _ask_by_file(directory, request, wait_s)
        except OSError as error:
            raise NoPilot(f"no pilot answers in {directory.parent}: {error.strerror or error}") from None
    answer: dict[str, Any] = json.loads(line)
    return answer


def _ask_by_file(directory: Path, request: Request, wait_s: float) -> dict[str, Any]:
    from pilot_core.io.files import Lock, Taken

    try:
        Lock(directory / "lock").take().release()
    except Taken:
        pass
    else:
        raise NoPilot(f"no pilot runs in {directory.parent}")
    answer = directory / ANSWER
    with suppress(FileNotFoundError):
        answer.unlink()
    write_atomic(directory / ORDER, json.dumps(dict(request)))
    return _await_file(answer, wait_s)


def _await_file(path: Path, wait_s: float) -> dict[str, Any]:
    import time

    until = time.monotonic() + wait_s
    while time.monotonic() < until:
        if path.exists():
            told: dict[str, Any] = json.loads(path.read_bytes())
            return told
        time.sleep(0.25)
    raise NoPilot(f"the pilot did not answer within {wait_s:g} s; its order still lies in {path.parent / ORDER}")
