"""A line: one connection to a server, kept between calls, on which everything together ends at a limit.

The sockets measure time for a whole call, not for each read as sockets do: a server that sends a byte a second
comes to its end all the same. All addresses of a name are tried, first the one that answered well before, last those
that failed.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from hashlib import sha256
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from random import random
from select import POLLIN, poll
from typing import Any, TypeVar

from attrs import define, field

from pilot_core.io.cancel import Cancelled, Flag
from pilot_core.io.http_address import Origin, find_proxy

T = TypeVar("T")
Address = tuple[socket.AddressFamily, tuple[Any, ...]]
Place = tuple[str, int]
"""A name and a port."""

LOOK_S = 0.25
"""How long a socket waits before it looks whether the call was cancelled."""
PATIENCE_S = 0.2
"""How long who finds all lines busy waits for one. Another costs more to open than most calls take."""
LONGEST_IDLE_S = 60.0
"""Firewalls forget a silent connection without a word; beyond this a new one is made."""


class WrongFingerprint(Exception):
    """The server shows another certificate than the one it is known by."""


class Unreached(OSError):
    """No address of a name could be connected to."""

    def __init__(self, reasons: Sequence[tuple[str, OSError]]) -> None:
        super().__init__(*reasons[-1][1].args)
        self.reasons = reasons


class Limit:
    """How long one call may take, all of it together, and who may end it before."""

    def __init__(self, limit_s: float, cancel: Flag | None = None) -> None:
        self.limit_s = limit_s
        self._until = time.monotonic() + limit_s
        self._cancel = cancel

    def allows(self, time_s: float) -> bool:
        """Whether there is more time left than that."""
        return time.monotonic() + time_s < self._until

    def at_most(self, limit_s: float) -> Limit:
        """The same for a part of the call, which may take no longer than this."""
        return Limit(min(limit_s, self.left_s()), self._cancel)

    def left_s(self) -> float:
        """The time that is left; `TimeoutError` if there is none, `Cancelled` if nobody wants it."""
        if self._cancel is not None and self._cancel.is_set():
            raise Cancelled("given up, as it was asked to")
        left_s = self._until - time.monotonic()
        if left_s <= 0:
            raise TimeoutError(f"not done within {self.limit_s:g} s")
        return left_s

    def step_s(self) -> float:
        """How long to wait before asking again."""
        left_s = self.left_s()
        return left_s if self._cancel is None else min(left_s, LOOK_S)


class TimedSocket(socket.socket):
    """A socket whose waiting belongs to the limit of a call."""

    limit: Limit

    def recv_into(self, buffer: Any, nbytes: int | None = None, flags: int = 0) -> int:
        receive = super().recv_into
        return self.patiently(lambda: receive(buffer, nbytes or len(buffer), flags))

    def sendall(self, data: Any, flags: int = 0) -> None:
        view, send = memoryview(data).cast("B"), super().send
        while view:
            unsent = view
            view = view[self.patiently(lambda unsent=unsent: send(unsent, flags)) :]  # type: ignore[misc]

    def patiently(self, call: Callable[[], T]) -> T:
        """Let a call that takes up where it was interrupted wait until the limit."""
        while True:
            self.settimeout(self.limit.step_s())
            with suppress(TimeoutError):
                return call()


class TlsSocket(TimedSocket, ssl.SSLSocket):
    """The same, encrypted."""


class Trust:
    """Whom to believe to be the server: one certificate, or whoever an authority vouches for."""

    def __init__(
        self,
        fingerprint: str = "",
        ca_file: Path | None = None,
        ca_path: Path | None = None,
        anybody: bool = False,
    ) -> None:
        self.fingerprint = fingerprint
        if fingerprint or anybody:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            self._context.check_hostname = False
            self._context.verify_mode = ssl.CERT_NONE
        else:
            self._context = ssl.create_default_context(cafile=ca_file)
            if ca_path is not None:
                self._context.load_verify_locations(capath=ca_path)
        self._context.sslsocket_class = TlsSocket

    def show(self, proxy: Path) -> None:
        """Show the certificate of this file to whoever is believed and asks for one."""
        self._context.load_cert_chain(proxy, password=_no_password)

    def secure(self, sock: TimedSocket, name: str, limit: Limit) -> TlsSocket:
        """Begin to speak TLS; the plain socket is gone, whatever happens."""
        secured = self._context.wrap_socket(sock, server_hostname=name, do_handshake_on_connect=False)
        assert isinstance(secured, TlsSocket)
        secured.limit = limit
        with ExitStack() as unless_secure:
            unless_secure.callback(secured.close)
            secured.patiently(secured.do_handshake)
            self._compare(secured.getpeercert(binary_form=True) or b"")
            unless_secure.pop_all()
        return secured

    def _compare(self, certificate: bytes) -> None:
        found = sha256(certificate).hexdigest()
        if self.fingerprint and found != self.fingerprint:
            raise WrongFingerprint(found)


@define
class Dialer:
    """Connects to names, and remembers which address of each answered well, and which failed when."""

    connect_s: float
    ipv4_only: bool
    _known: dict[Place, Sequence[Address]] = field(factory=dict)
    _good: dict[Place, Address] = field(factory=dict)
    _failed: dict[tuple[Place, Address], float] = field(factory=dict)

    def dial(self, place: Place, limit: Limit) -> tuple[TimedSocket, Address]:
        reasons: list[tuple[str, OSError]] = []
        for address in self._in_order(place, limit):
            try:
                return self._open(address, limit), address
            except OSError as error:
                self.judge(place, address, well=False)
                reasons.append((str(address[1][0]), error))
                if not limit.allows(0.0):
                    break
        raise Unreached(reasons)

    def judge(self, place: Place, address: Address, *, well: bool) -> None:
        """Remember how an address served: the one that did is asked first, the one that failed last after all."""
        if well:
            self._good[place] = address
            self._failed.pop((place, address), None)
        else:
            self._failed[place, address] = time.monotonic()

    def has_better(self, place: Place, address: Address) -> bool:
        """Whether another address of the name failed longer ago, or never."""
        return any(self._when(place, each) < self._when(place, address) for each in self._known.get(place, ()))

    def has_untried(self, place: Place, since: float, attempts: int) -> bool:
        """Whether another attempt would go to an address that did not fail since then."""
        known = self._known.get(place, ())
        return attempts < len(known) and any(self._when(place, each) < since for each in known)

    def _open(self, address: Address, limit: Limit) -> TimedSocket:
        family, place = address
        sock = TimedSocket(family, socket.SOCK_STREAM)
        with ExitStack() as unless_open:
            unless_open.callback(sock.close)
            sock.limit = limit
            sock.settimeout(min(self.connect_s, limit.left_s()))
            sock.connect(place)
            unless_open.pop_all()
        return sock

    def _in_order(self, place: Place, limit: Limit) -> list[Address]:
        """The addresses of a name: what failed last, the good one first, by family as the resolver likes, by chance."""
        self._known.pop(place, None)
        self._known[place] = found = _resolve(*place, socket.AF_INET if self.ipv4_only else socket.AF_UNSPEC, limit)
        good, families = self._good.get(place), [family for family, _ in found]
        return sorted(
            found, key=lambda each: (self._when(place, each), each != good, families.index(each[0]), random())
        )

    def _when(self, place: Place, address: Address) -> float:
        return self._failed.get((place, address), 0.0)


def _no_password() -> str:
    """Instead of asking on a terminal: a key with a password is one that cannot be used."""
    return ""


def _resolve(host: str, port: int, family: int, limit: Limit) -> list[Address]:
    """Ask the resolver, which no limit ends, in a thread that is left behind then."""
    answers: list[Any] = []

    def ask() -> None:
        try:
            answers.append(socket.getaddrinfo(host, port, family, socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            answers.append(error)

    asking = threading.Thread(target=ask, name=f"resolve {host}", daemon=True)
    asking.start()
    while not answers:
        asking.join(limit.step_s())
    if isinstance(answers[0], UnicodeError):
        raise socket.gaierror(socket.EAI_NONAME, "no valid name") from answers[0]
    if isinstance(answers[0], OSError):
        raise answers[0]
    return list(dict.fromkeys((each[0], each[4]) for each in answers[0]))


class Line(HTTPConnection):
    """One connection to an origin, through a proxy where there is one."""

    def __init__(
        self, origin: Origin, dialer: Dialer, trust: Trust | None, proxy: tuple[Origin, Mapping[str, str]] | None
    ) -> None:
        first = proxy[0] if proxy else origin
        super().__init__(first.host, first.port)
        if proxy:
            self.set_tunnel(origin.host, origin.port, dict(proxy[1]))
        self.origin = origin
        self.trust = trust
        self._limit = Limit(0.0)
        self._held: bytes | None = None
        self._idle_since = 0.0
        self._dialer = dialer
        self._address: Address | None = None
        self._create_connection = self._dial

    def _dial(self, place: Place, *_: object) -> TimedSocket:
        sock, self._address = self._dialer.dial(place, self._limit)
        return sock

    def within(self, limit: Limit) -> None:
        """Let all that follows belong to this limit."""
        self._limit = limit
        if isinstance(self.sock, TimedSocket):
            self.sock.limit = limit

    def connect(self) -> None:
        super().connect()
        if self.trust is not None and isinstance(self.sock, TimedSocket):
            limit = self._limit.at_most(self._dialer.connect_s)
            self.sock = self.trust.secure(self.sock, self.origin.host, limit)
            self.within(self._limit)

    def judge(self, *, well: bool) -> None:
        """Remember how the server behind this connection served."""
        if self._address is not None:
            self._dialer.judge((self.host, self.port), self._address, well=well)

    def ask(
        self, method: str, path: str, body: bytes | Iterable[bytes] | None, headers: dict[str, str]
    ) -> HTTPResponse:
        """Send a request and give what begins to be answered, which may be before all of it was sent."""
        self._held = b""
        try:
            self.request(method, path, body or None, headers)
            self._release()
        except TimeoutError:
            raise
        except OSError as broken:
            return self._early(broken)
        return self.getresponse()

    def _early(self, broken: OSError) -> HTTPResponse:
        """The answer to a request that the server did not want to hear to its end, after which it hears no other."""
        try:
            answer = self.getresponse()
        except ssl.SSLError:
            raise
        except OSError:
            raise broken from None
        if self.sock is not None:
            self.sock.close()  # the answer reads on
            self.sock = None
        return answer

    def send(self, data: Any) -> None:
        """Let the head of a request wait for what follows: one packet wakes the server up once."""
        if self._held is None:
            super().send(data)
        elif self._held:
            self._release(data)
        else:
            self._held = data

    def _release(self, data: bytes = b"") -> None:
        held, self._held = self._held, None
        if held:
            super().send(held + data)

    def rest(self) -> None:
        """Begin to wait for the next call."""
        self._idle_since = time.monotonic()

    def is_fresh(self) -> bool:
        """Whether the server will most probably serve the next call: it did not fail, hang up or fall silent."""
        if self.sock is None or time.monotonic() - self._idle_since > LONGEST_IDLE_S:
            return False
        if self._address is not None and self._dialer.has_better((self.host, self.port), self._address):
            return False
        waiting = poll()
        waiting.register(self.sock, POLLIN)
        return not waiting.poll(0)


class Lines:
    """Lines that wait for a next call, the latest used first; and how new ones are dialled."""

    def __init__(self, dialer: Dialer) -> None:
        self.dialer = dialer
        self._changed = threading.Condition()
        self._idle: dict[Origin, list[Line]] = {}
        self._busy: Counter[Origin] = Counter()
        self._closed = False

    def take(self, origin: Origin, trust: Trust | None, limit: Limit) -> Line:
        """A line to be put back; a new one only if none becomes free soon.

        It was made with this very trust, so that nobody goes on under a certificate that was replaced.
        """
        with ExitStack() as unless_given:
            line = self._awaited(origin, trust, time.monotonic() + min(limit.left_s(), PATIENCE_S))
            unless_given.callback(self._free, origin)
            line = line or Line(origin, self.dialer, trust, find_proxy(origin))
            unless_given.pop_all()
        return line

    def _awaited(self, origin: Origin, trust: Trust | None, end: float) -> Line | None:
        with self._changed:
            while True:
                idle = self._idle.get(origin)
                while idle:
                    if (line := idle.pop()).trust is trust and line.is_fresh():
                        self._busy[origin] += 1
                        return line
                    line.close()
                left_s = end - time.monotonic()
                if not self._busy[origin] or left_s <= 0:
                    self._busy[origin] += 1
                    return None
                self._changed.wait(left_s)

    def put_back(self, line: Line) -> None:
        """Let the next one have a line, if it is still open."""
        with self._changed:
            if self._closed:
                line.close()
            elif line.sock is not None:
                line.rest()
                self._idle.setdefault(line.origin, []).append(line)
        self._free(line.origin)

    def _free(self, origin: Origin) -> None:
        with self._changed:
            self._busy[origin] -= 1
            self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            lines = [line for idle in self._idle.values() for line in idle]
            self._idle.clear()
        for line in lines:
            line.close()
