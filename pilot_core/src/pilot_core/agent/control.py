"""The way to a running pilot: a socket in its control directory, and a file there where no socket can be.

A request is one JSON line with an ``order``; the answer is one JSON line. The file is looked at by a timer.
"""

from __future__ import annotations

import json
import logging
import os
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from pilot_core.io.files import write_atomic

SOCKET, ORDER, ANSWER = "pilot.sock", "order.json", "answer.json"
LONGEST_REQUEST_B = 4096
ANSWER_S = 5.0
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
        self.listener = _listen(directory)

    def accept(self) -> tuple[()]:
        """Serve whoever is at the door; brings no events by itself."""
        assert self.listener is not None
        with suppress(BlockingIOError, TimeoutError, ConnectionError):
            guest, _ = self.listener.accept()
            with guest:
                guest.settimeout(0.2)
                line = guest.recv(LONGEST_REQUEST_B)
                guest.sendall(json.dumps(self._answer(line)).encode() + b"\n")
        return ()

    def look(self) -> None:
        """Obey the order that lies in the directory, if there is one."""
        order = self._directory / ORDER
        try:
            line = order.read_bytes()[:LONGEST_REQUEST_B]
            order.unlink()
        except FileNotFoundError:
            return
        write_atomic(self._directory / ANSWER, json.dumps(self._answer(line)))

    def _answer(self, line: bytes) -> Reply:
        try:
            request = json.loads(line)
        except ValueError:
            return {"error": "a request is one line of JSON"}
        if not isinstance(request, dict) or request.get("order") not in ORDERS:
            return {"error": f"an order is one of {', '.join(ORDERS)}"}
        return self._obey(request)

    def close(self) -> None:
        """Leave no socket behind."""
        if self.listener is not None:
            self.listener.close()
            with suppress(FileNotFoundError):
                (self._directory / SOCKET).unlink()


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
