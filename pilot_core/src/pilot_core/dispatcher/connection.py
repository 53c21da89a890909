"""One client's connection, in a thread of its own: request after request until one of the two has enough."""

from __future__ import annotations

import logging
import socket
import time
from contextlib import suppress
from functools import cache, lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, Protocol

from attrs import frozen

from pilot_core.dispatcher.head import LONGEST_HEAD_B, LONGEST_LINE_B, Head, Refused, bearer, read_head
from pilot_core.dispatcher.messages import Cut, Handler, Request, Response, answer

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

LEFT_TO_READ_B: Final = 2**16
PIECE_B: Final = 2**18
USUAL: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONTHS: Final = ("", "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

log = logging.getLogger(__name__)


@frozen(kw_only=True)
class Limits:
    """How many may come, and how long they are waited for."""

    connections: int = 256
    idle_s: float = 75.0
    head_s: float = 10.0
    """For the whole head of a request, and for the handshake."""
    stall_s: float = 30.0
    """For the next bytes of a body, and for an answer to be taken."""
    linger_s: float = 2.0
    """For what a refused client still sends, so that it comes to read the answer."""
    grace_s: float = 10.0
    """For running requests when the server closes."""


class Host(Protocol):
    """What a connection needs of the server that it belongs to."""

    limits: Limits
    tls: ssl.SSLContext | None
    roles: Callable[[str], str | None]
    handler: Handler
    refused: Callable[[str, str], None]
    closing: bool

    def falls_idle(self, guest: Connection) -> bool: ...

    def left(self, guest: Connection) -> None: ...


class Connection:
    """Serves one client. ``idle_since`` is set while it waits for the next request to begin."""

    def __init__(self, server: Host, sock: socket.socket, peer: str) -> None:
        self.idle_since: float | None = None
        self.asked = self.served = False
        self._server, self._sock, self._peer = server, sock, peer
        self._limits = server.limits
        self._rest = b""

    def ask_to_leave(self, how: int = socket.SHUT_RD) -> None:
        """End an idle connection. A request that has come already is still read and answered."""
        self.asked = True
        with suppress(OSError):
            socket.socket.shutdown(self._sock, how)  # TLS's own would take the ground from under a reader

    def run(self) -> None:
        """Serve until one of the two leaves."""
        try:
            self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._shake_hands()
            while self._exchange():
                pass
        except OSError as error:
            log.debug("the connection with %s broke: %s", self._peer, error)
        finally:
            self._server.left(self)
            self._sock.close()

    def _shake_hands(self) -> None:
        self._sock.settimeout(self._limits.head_s)
        if self._server.tls is not None:
            try:
                self._sock = self._server.tls.wrap_socket(self._sock, server_side=True)
            except OSError as error:
                told = getattr(error, "reason", None) or error.strerror or error
                self._server.refused(self._peer, f"no TLS came about: {told}")
                raise

    def _exchange(self) -> bool:
        """One request and its answer; whether another may follow."""
        try:
            data = self._read_head()
            if not data:
                return False
            head = read_head(data)
        except Refused as refused:
            self._server.refused(self._peer, refused.text)
            self._refuse(Response.error(refused.status, refused.text))
            return False
        self._sock.settimeout(self._limits.stall_s)
        self.served = True
        body = Incoming(self, head)
        role = self._server.roles(bearer(head.headers))
        request = Request(head.method, head.path, head.query, head.headers, body, role, self._peer)
        response = answer(self._server.handler, request)
        if role is None and response.status == 403:
            self._server.refused(self._peer, "a token that is none" if bearer(head.headers) else "no token")
        log.debug("%s %s %s: %d", self._peer, head.method, head.path, response.status)
        return self._reply(head, body, response)

    def _reply(self, head: Head, body: Incoming, response: Response) -> bool:
        silent = head.method == "HEAD"
        if body.left and not body.is_short():
            self._refuse(response, silent)
            return False
        while body.left:
            body.read(PIECE_B)
        keep = head.keep and not self._server.closing
        self._send(response, keep, silent)
        return keep

    def _refuse(self, response: Response, silent: bool = False) -> None:
        """Answer before all was read, and go on reading for a while: what lies unread would break the answer."""
        self._sock.settimeout(self._limits.stall_s)
        self._send(response, False, silent)
        with suppress(OSError):
            socket.socket.shutdown(self._sock, socket.SHUT_WR)
            end = time.monotonic() + self._limits.linger_s
            while (left_s := end - time.monotonic()) > 0:
                self._sock.settimeout(left_s)
                if not self._sock.recv(PIECE_B):
                    break

    def _read_head(self) -> bytes:
        """The next head without its empty line; nothing if the client has no more to ask."""
        data, end = self._rest, time.monotonic() + self._limits.head_s
        while (size := data.find(b"\r\n\r\n", 0, LONGEST_HEAD_B + 4)) < 0:
            _check_size(data)
            if data:
                more = self._more(end)
            elif more := self._wait():
                end = time.monotonic() + self._limits.head_s
            if not more:
                return b""
            data += more
        self._rest = data[size + 4 :]
        return data[:size]

    def _wait(self) -> bytes:
        """The first bytes of the next request, however long it takes within reason."""
        if not self._server.falls_idle(self):
            return b""
        self._sock.settimeout(self._limits.idle_s if self.served else self._limits.head_s)
        try:
            return self._sock.recv(LONGEST_HEAD_B)
        except TimeoutError:
            return b""
        finally:
            self.idle_since = None

    def _more(self, end: float) -> bytes:
        self._sock.settimeout(max(end - time.monotonic(), 0.001))
        try:
            return self._sock.recv(LONGEST_HEAD_B)
        except TimeoutError:
            raise Refused(408, f"the request's head did not come within {self._limits.head_s:g} s") from None

    def take(self, size: int) -> bytes:
        """Some bytes of a body, at most ``size``."""
        if self._rest:
            data, self._rest = self._rest[:size], self._rest[size:]
            return data
        try:
            data = self._sock.recv(size)
        except OSError as error:
            raise Cut(f"a body stopped coming: {error}") from error
        if not data:
            raise Cut("a body ended before its Content-Length")
        return data

    def encourage(self) -> None:
        """Tell a client that waits for it to send the body."""
        try:
            self._sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        except OSError as error:
            raise Cut(f"the client left: {error}") from error

    def _send(self, response: Response, keep: bool, silent: bool) -> None:
        top = _top(response, keep)
        if response.file is None:
            self._sock.sendall(top if silent else top + response.body)
            return
        with response.file as file:
            self._sock.sendall(top)
            if not silent and response.length:
                sent = self._sock.sendfile(file, file.tell(), response.length)
                if sent < response.length:
                    raise Cut("a file became shorter while it was sent")


class Incoming:
    """The body of a request as it comes."""

    def __init__(self, connection: Connection, head: Head) -> None:
        self.length = self.left = head.length
        self._connection = connection
        self._waited_for = head.expects and head.length > 0

    def read(self, size: int = -1) -> bytes:
        """Some bytes, at most ``size``, none only at the end; without ``size`` all that are left."""
        if size < 0:
            return self._read_all()
        if not (wanted := min(size, self.left)):
            return b""
        if self._waited_for:
            self._waited_for = False
            self._connection.encourage()
        data = self._connection.take(wanted)
        self.left -= len(data)
        return data

    def _read_all(self) -> bytes:
        data = self.read(PIECE_B)
        return data + b"".join(iter(lambda: self.read(PIECE_B), b"")) if self.left else data

    def is_short(self) -> bool:
        """Whether what is left is sooner read than refused."""
        return self.left <= LEFT_TO_READ_B and not self._waited_for


def _check_size(data: bytes) -> None:
    if b"\r\n" not in data and len(data) > LONGEST_LINE_B:
        raise Refused(414, f"the request's line is longer than {LONGEST_LINE_B} bytes")
    if len(data) > LONGEST_HEAD_B:
        raise Refused(431, f"the request's head is longer than {LONGEST_HEAD_B} bytes")


def _top(response: Response, keep: bool) -> bytes:
    headers = {**USUAL, **response.headers} if response.headers else USUAL
    more = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    return (
        f"{_line(response.status)}\r\nDate: {_date(int(time.time()))}\r\n"
        f"Content-Type: {response.type}\r\nContent-Length: {response.size_b}\r\n"
        f"{more}Connection: {'keep-alive' if keep else 'close'}\r\n\r\n"
    ).encode()


@cache
def _line(status: int) -> str:
    return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}"


@lru_cache(1)
def _date(now: int) -> str:
    at = time.gmtime(now)
    day = f"{DAYS[at.tm_wday]}, {at.tm_mday:02} {MONTHS[at.tm_mon]} {at.tm_year}"
    return f"{day} {at.tm_hour:02}:{at.tm_min:02}:{at.tm_sec:02} GMT"
