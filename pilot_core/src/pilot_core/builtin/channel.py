"""The event channel "socket": messages of one line each, over a Unix socket in the job's directory."""

from __future__ import annotations

import os
import selectors
import socket
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from pilot_core.sdk import Code, EventChannel, PilotError, Settings

VARIABLE: Final = "PILOT_EVENT_CHANNEL"
LONGEST_B: Final = 1 << 20
LONGEST_PATH_B: Final = 100
ANSWER_S: Final = 10.0


class SocketChannel(EventChannel):
    """Takes lines from any number of connections, and answers on the one that the last line came from."""

    name = "socket"

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._selector = selectors.DefaultSelector()
        self._parts: dict[socket.socket, bytes] = {}
        self._lines: list[tuple[socket.socket, bytes]] = []
        self._asker: socket.socket | None = None
        self._listener: socket.socket | None = None
        self._path = Path()
        self._made: Path | None = None

    def open(self, workdir: Path) -> dict[str, str]:
        """Listen in the job's directory, or in one of its own where that name is too long for a socket."""
        self._path = workdir / "pilot-events.sock"
        if len(os.fsencode(self._path)) > LONGEST_PATH_B:
            self._made = Path(tempfile.mkdtemp(prefix="pilot-"))
            self._path = self._made / "events.sock"
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(self._path))
        self._path.chmod(0o600)
        self._listener.listen()
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ)
        return {VARIABLE: str(self._path)}

    def receive(self, limit_s: float) -> str | None:
        """The next line of anybody."""
        until = time.monotonic() + limit_s
        while not self._lines:
            ready = self._selector.select(max(until - time.monotonic(), 0.0))
            if not ready:
                return None
            for key, _ in ready:
                self._hear(key.fileobj)
        self._asker, line = self._lines.pop(0)
        try:
            return line.decode()
        except UnicodeDecodeError as error:
            raise PilotError(Code.MESSAGEHANDLINGFAILURE, f"it is not UTF-8 at byte {error.start}") from None

    def send(self, message: str) -> None:
        """Answer in one line."""
        if self._asker is None:
            raise PilotError(Code.MESSAGEHANDLINGFAILURE, "there is nobody to answer")
        if "\n" in message:
            raise PilotError(Code.MESSAGEHANDLINGFAILURE, "an answer is one line")
        try:
            self._asker.settimeout(ANSWER_S)
            self._asker.sendall(message.encode() + b"\n")
            self._asker.setblocking(False)
        except OSError as error:
            raise PilotError(Code.MESSAGEHANDLINGFAILURE, f"the answer did not arrive: {error}") from error

    def close(self) -> None:
        """End all connections and remove the socket."""
        for connection in list(self._parts):
            self._drop(connection)
        if self._listener is not None:
            self._listener.close()
            self._listener = None
            with suppress(FileNotFoundError):
                self._path.unlink()
        if self._made is not None:
            self._made.rmdir()
            self._made = None
        self._selector.close()

    def _hear(self, spoken: object) -> None:
        if spoken is self._listener and self._listener is not None:
            with suppress(BlockingIOError):
                connection, _ = self._listener.accept()
                connection.setblocking(False)
                self._parts[connection] = b""
                self._selector.register(connection, selectors.EVENT_READ)
        elif isinstance(spoken, socket.socket):
            self._read(spoken)

    def _read(self, connection: socket.socket) -> None:
        try:
            data = connection.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        *lines, rest = (self._parts[connection] + data).split(b"\n")
        self._lines.extend((connection, line) for line in lines)
        self._parts[connection] = rest
        if not data:
            self._drop(connection)
        elif len(rest) > LONGEST_B:
            self._drop(connection)
            raise PilotError(Code.MESSAGEHANDLINGFAILURE, f"it is longer than {LONGEST_B} bytes")

    def _drop(self, connection: socket.socket) -> None:
        self._selector.unregister(connection)
        del self._parts[connection]
        connection.close()
