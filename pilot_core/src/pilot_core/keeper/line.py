"""Messages: JSON lines over a socket and in a file."""

from __future__ import annotations

import errno
import json
import os
import select
import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Message = dict[str, Any]


class Line:
    """A stream socket that carries JSON lines and never blocks."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock, self._in, self._out = sock, b"", b""

    def events(self) -> int:
        return select.POLLIN | (select.POLLOUT if self._out else 0)

    def peer(self) -> tuple[int, int]:
        """Number and user of who connected, as the kernel saw it then."""
        pid, uid, _ = memoryview(self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)).cast("i")
        return pid, uid

    def read(self) -> list[bytes]:
        """The whole lines that have arrived; `ConnectionError` when the other end is gone."""
        try:
            chunk = self.sock.recv(65536)
        except BlockingIOError:
            return []
        if not chunk:
            raise ConnectionResetError(errno.ECONNRESET, "the other end is gone")
        *lines, self._in = (self._in + chunk).split(b"\n")
        return lines

    def send(self, message: Message) -> None:
        self._out += json.dumps(message).encode() + b"\n"
        self.flush()

    def flush(self) -> None:
        try:
            while self._out:
                self._out = self._out[self.sock.send(self._out, socket.MSG_NOSIGNAL) :]
        except BlockingIOError:
            pass


def write_line(path: str, message: Message, mode: int) -> None:
    """One synced line, whole or not at all."""
    line = json.dumps(message).encode() + b"\n"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | mode, 0o600)
    try:
        size = os.lseek(fd, 0, os.SEEK_END)
        if os.write(fd, line) < len(line):
            os.ftruncate(fd, size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        os.fsync(fd)
    finally:
        os.close(fd)
