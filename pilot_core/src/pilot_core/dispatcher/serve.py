"""A dispatcher, assembled in its home: one directory that no two ever share.

Whatever ends it, even ``kill -9``, it starts again from its home as if nothing had been: the lock is the kernel's, and
what an earlier one left half done is not missed.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from ipaddress import ip_address
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Protocol, Self

from attrs import frozen

from pilot_core.clock import Clock, SystemClock
from pilot_core.config.spelling import meant
from pilot_core.dispatcher.config import Config, read_config
from pilot_core.dispatcher.http import Limits, Request, Response, Server, guard, serve
from pilot_core.dispatcher.storage import Storage
from pilot_core.dispatcher.strangers import Strangers
from pilot_core.dispatcher.tokens import ROLES, Tokens
from pilot_core.io.files import Lock, Taken, write_atomic
from pilot_core.io.join import JOINS, Join, keep_join

if TYPE_CHECKING:
    import ssl

    from pilot_core.dispatcher.tls import Certificate

LOOPBACK: Final = ("127.0.0.1", 0)
SWEEP_S: Final = 5.0
LOOK_S: Final = 0.1

log = logging.getLogger(__name__)


class CannotServe(Exception):
    """A dispatcher cannot start like this; the message says what would help."""


class NoRoom(Exception):
    """The disk on which a dispatcher is to live is full."""


class Answering(Protocol):
    """What knows the jobs."""

    def answer(self, request: Request) -> Response: ...

    def sweep(self) -> object:
        """Take back what nobody holds any more; called every few seconds."""
        ...

    def let_go(self) -> None:
        """Answer at once those who wait for something to change, now and from now on: it ends."""
        ...

    def close(self) -> None: ...


@frozen
class Place:
    """What a dispatcher has found in its home, and how it is reached."""

    home: Path
    config: Config
    storage: Storage
    tokens: Tokens
    clock: Clock
    scheme: str


def open_service(place: Place) -> Answering:
    """The jobs that are kept in a home."""
    from pilot_core.dispatcher.service import Service
    from pilot_core.dispatcher.store import Store

    store = Store(place.home / "dispatcher.sqlite", place.clock)
    return Service(store, place.storage, place.config, place.tokens, place.clock, scheme=place.scheme)


class Dispatcher:
    """Listens once it is made, answers while ``run`` runs, or within ``with`` in a thread of its own.

    ``certificate`` is a certificate and its key; without, it makes its own as soon as it listens beyond loopback.
    Port 0 is the port of its last run, so that whoever knows its address keeps it; if that is taken, any free one.
    ``queue`` is the one that pilots are told to serve, by default the first. ``advertise`` is how others reach it, if
    that is not the address where it listens; port 0 is the same port. ``learn`` hears each secret before it is written.
    """

    def __init__(
        self,
        home: Path,
        *,
        config: Path | None = None,
        address: tuple[str, int] = LOOPBACK,
        certificate: tuple[Path, Path] | None = None,
        advertise: tuple[str, int] | None = None,
        queue: str | None = None,
        learn: Callable[[str], None] = lambda secret: None,
        opening: Callable[[Place], Answering] = open_service,
        clock: Clock | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.home = home
        self._clock = clock or SystemClock()
        self._started = self._clock.now()
        self._strangers = Strangers(self._clock)
        self._joined: tuple[dict[str, str], str] | None = None
        self._ending = threading.Event()
        with ExitStack() as leaving:
            home.mkdir(mode=0o700, parents=True, exist_ok=True)
            leaving.callback(self._own(home).release)
            (home / "server.json").unlink(missing_ok=True)
            self.config = _read_config(home, config)
            self.queue = _queue(self.config, queue)
            self.tokens = Tokens(home / "tokens", self._clock)
            host, where = address[0], _resolve(address[0])
            self._certificate = _certificate(home, (host, *(advertise or ())[:1]), where, certificate)
            tls = self._certificate.context if self._certificate else None
            scheme = "https" if tls else "http"
            storage = Storage(self.config.own.path or home / "storage")
            leaving.callback(storage.close)
            self._service = opening(Place(home, self.config, storage, self.tokens, self._clock, scheme))
            leaving.callback(self._service.close)
            self.server = self._serve((where, address[1]), tls, limits)
            leaving.callback(self.server.close)
            there, port = advertise or (_shown(host, where), 0)
            self.url = f"{scheme}://{_bracketed(there)}:{port or self.server.port}"
            self.near = f"{scheme}://{_near(host, where)}:{self.server.port}"
            self._learn = learn
            self._announce()
            self._keep_joins()
            leaving.callback((home / "server.json").unlink, missing_ok=True)
            self._leaving = leaving.pop_all()

    def run(self) -> None:
        """Answer until ``stop`` is called, and let running requests end."""
        self._ending.clear()
        sweeper = threading.Thread(target=self._sweep, name="sweeper")
        sweeper.start()
        try:
            self.server.run()
        finally:
            self._ending.set()
            sweeper.join()

    def stop(self) -> None:
        """Ask ``run`` to end. From any thread, and from a signal's handler."""
        self.server.stop()
        self._service.let_go()

    def close(self) -> None:
        """Stop, and leave the home to the next one."""
        self.stop()
        self._leaving.close()

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self.run, name="dispatcher", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()
        self._thread.join()
        self.close()

    @property
    def fingerprint(self) -> str:
        """That of its certificate, if it has one."""
        return self._certificate.fingerprint if self._certificate else ""

    def join(self, role: str = "run") -> Join:
        """What a pilot on another node needs to serve the queue, or a person, whose role is ``submit``."""
        return Join(self.url, self.tokens.token(role), self.fingerprint, self.queue)

    def _own(self, home: Path) -> Lock:
        """The home's lock. Who only looks whether somebody has it holds it for a moment."""
        lock = Lock(home / "lock")
        try:
            return lock.take()
        except Taken:
            self._ending.wait(LOOK_S)
            return lock.take()

    def _serve(self, address: tuple[str, int], tls: ssl.SSLContext | None, limits: Limits | None) -> Server:
        if not address[1] and (last := _last_port(self.home)):
            with suppress(CannotServe):
                return self._listen((address[0], last), tls, limits)
        return self._listen(address, tls, limits)

    def _listen(self, address: tuple[str, int], tls: ssl.SSLContext | None, limits: Limits | None) -> Server:
        heard = self._strangers.refuse
        try:
            return serve(address, self._service.answer, tls=tls, roles=self.tokens.role, limits=limits, refused=heard)
        except (OSError, OverflowError) as error:
            told = getattr(error, "strerror", None) or error
            raise CannotServe(f"cannot listen at {address[0]} port {address[1]}: {told}") from None

    def _announce(self) -> None:
        """Say where it is to the commands of this node."""
        told: dict[str, object] = {"url": self.near, "fingerprint": self.fingerprint, "queue": self.queue}
        told |= {"pid": os.getpid(), "started": self._started}
        write_atomic(self.home / "port", f"{self.server.port}\n")
        write_atomic(self.home / "server.json", json.dumps(told))

    def _sweep(self) -> None:
        while not self._ending.wait(SWEEP_S):
            guard(self._service.sweep, "its round for lost jobs", lambda: None)
            self._strangers.settle()
            guard(self._renew, "its look at tokens and certificate", lambda: None)

    def _renew(self) -> None:
        """Take over a certificate that was replaced, and keep true what brings others in."""
        from pilot_core.dispatcher.tls import NoTls

        try:
            if self._certificate and self._certificate.renew():
                self.server.tls = self._certificate.context
                self._announce()
        except NoTls as wrong:
            log.error("the certificate of before stays in use: %s", wrong)
        self._keep_joins()

    def _keep_joins(self) -> None:
        """Write the join strings, one for each role; of one that nobody has now there is none."""
        now = {role: self.tokens.token(role) for role in ROLES}, self.fingerprint
        if now == self._joined:
            return
        joins = {name: self.join(role) if self.tokens.token(role) else None for role, name in JOINS.items()}
        for secret in (*now[0].values(), self.tokens.key, *(join.text() for join in joins.values() if join)):
            if secret:
                self._learn(secret)
        for name, join in joins.items():
            keep_join(self.home / name, join)
        self._joined = now


def _read_config(home: Path, config: Path | None) -> Config:
    usual = home / "server.yaml"
    if config is None and not usual.exists():
        return Config()
    return read_config(config or usual)


def _queue(config: Config, named: str | None) -> str:
    if named is None:
        return next(iter(config.queues))
    if named not in config.queues:
        raise CannotServe(f"no queue {named!r}{meant(named, config.queues)}")
    return named


def _last_port(home: Path) -> int:
    """The port of its last run; 0 if nobody knows."""
    try:
        port = int((home / "port").read_text("ascii"))
    except (FileNotFoundError, ValueError):
        return 0
    return port if 0 < port < 65536 else 0


def _resolve(host: str) -> str:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise CannotServe(f"there is no address {host!r} to listen at: {error}") from None
    return str(found[0][4][0])


def _certificate(
    home: Path, called: tuple[str, ...], where: str, given: tuple[Path, Path] | None
) -> Certificate | None:
    """What encrypts: nothing on loopback, if nothing is given and nobody else is told of it."""
    if given is None and len(called) == 1 and ip_address(where).is_loopback:
        return None
    from pilot_core.dispatcher.tls import Certificate, own_certificate

    names = ("localhost", "127.0.0.1", "::1", socket.gethostname(), *called)
    return Certificate(*(given or own_certificate(home, names)))


def _shown(host: str, where: str) -> str:
    """The host as others may call it."""
    return socket.gethostname() if ip_address(where).is_unspecified else host


def _near(host: str, where: str) -> str:
    """The host as this node may call it."""
    return "127.0.0.1" if ip_address(where).is_unspecified else _bracketed(host)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
