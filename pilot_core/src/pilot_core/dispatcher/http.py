"""A lean HTTP/1.1 server: a thread a connection, kept alive, over TLS or not.

One thread waits at the door, and hears by a bell when a connection ends or falls idle. When all places are taken,
whoever has been idle for longest is asked to leave, and the next one comes in when somebody has left.
"""

from __future__ import annotations

import logging
import selectors
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from pilot_core.dispatcher.connection import Connection, Limits
from pilot_core.dispatcher.head import Refused
from pilot_core.dispatcher.messages import Body, Cut, Handler, Request, Response, guard

if TYPE_CHECKING:
    import ssl

__all__ = ["Body", "Cut", "Handler", "Limits", "Refused", "Request", "Response", "Server", "guard", "serve"]

BREATH_S: Final = 0.5
FRESH: Final = float("inf")
"""Idle since then is who has just come; nobody else's coming sends him away."""

log = logging.getLogger(__name__)


def serve(
    address: tuple[str, int],
    handler: Handler,
    *,
    tls: ssl.SSLContext | None = None,
    roles: Callable[[str], str | None] = lambda token: None,
    limits: Limits | None = None,
    refused: Callable[[str, str], None] = lambda peer, why: None,
) -> Server:
    """A server that listens now and answers once its ``run`` is called. ``OSError`` if it cannot listen there.

    ``refused`` hears of each peer that was turned away, and why.
    """
    return Server(_listen(*address), handler, tls, roles, limits or Limits(), refused)


def _listen(host: str, port: int) -> socket.socket:
    """A socket at the door. A port that a server has just died on counts as free."""
    family, _, _, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    both = host == "::" and socket.has_dualstack_ipv6()
    return socket.create_server(where, family=family, backlog=256, dualstack_ipv6=both)


class Server:
    """Answers requests by ``handler`` while ``run`` runs."""

    def __init__(
        self,
        door: socket.socket,
        handler: Handler,
        tls: ssl.SSLContext | None,
        roles: Callable[[str], str | None],
        limits: Limits,
        refused: Callable[[str, str], None],
    ) -> None:
        self.port: int = door.getsockname()[1]
        self.handler, self.tls, self.roles, self.limits = handler, tls, roles, limits
        self.refused = refused
        self.closing = False
        self._full = False
        self._guests: set[Connection] = set()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._ended.set()
        self._door = door
        self._bell, self._rope = socket.socketpair()
        for each in (self._door, self._bell, self._rope):
            each.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._bell, selectors.EVENT_READ)
        self._selector.register(self._door, selectors.EVENT_READ)

    def run(self) -> None:
        """Answer until ``stop`` is called; then let running requests end, for a while, and close their connections."""
        self._ended.clear()
        try:
            while not self.closing:
                ready = self._wait()
                if self._full:
                    self._make_room()
                elif ready and not self.closing:
                    self._welcome()
            self._see_off()
        finally:
            self._ended.set()

    def stop(self) -> None:
        """Ask ``run`` to end. From any thread, and from a signal's handler."""
        self.closing = True
        self._ring()

    def close(self) -> None:
        """Stop, wait until ``run`` has ended if it runs, and listen no more."""
        self.stop()
        self._ended.wait()
        self._selector.close()
        for each in (self._door, self._bell, self._rope):
            each.close()

    def falls_idle(self, guest: Connection) -> bool:
        """Hear from a connection that waits for a request; whether it may."""
        with self._lock:
            guest.idle_since = time.monotonic() if guest.served else FRESH
        if self._full:
            self._ring()
        return not self.closing

    def left(self, guest: Connection) -> None:
        """Hear from a connection that it is over. Only after that it closes its socket."""
        with self._lock:
            self._guests.discard(guest)
        if self._full or self.closing:
            self._ring()

    def _ring(self) -> None:
        with suppress(OSError):  # it has been rung often enough, or nobody hears it any more
            self._rope.send(b"!")

    def _wait(self, limit_s: float | None = None) -> bool:
        """Wait for the bell or for somebody at the door; whether there is somebody."""
        ready = [key.fileobj for key, _ in self._selector.select(limit_s)]
        if self._bell in ready:
            self._bell.recv(4096)
        return self._door in ready

    def _welcome(self) -> None:
        if len(self._guests) >= self.limits.connections:
            self._shut()
            return
        try:
            self._seat(*self._door.accept())
        except (BlockingIOError, ConnectionError):
            return
        except (OSError, RuntimeError) as error:
            log.error("nobody else is let in for now: %s", error)
            self._take_breath()

    def _seat(self, sock: socket.socket, where: tuple[str, int]) -> None:
        guest = Connection(self, sock, where[0])
        with self._lock:
            self._guests.add(guest)
        try:
            threading.Thread(target=guest.run, name=f"http {where[0]}", daemon=True).start()
        except RuntimeError:
            self.left(guest)
            sock.close()
            raise

    def _shut(self) -> None:
        """Leave the next one waiting at the door until somebody has left."""
        self._full = True
        self._selector.unregister(self._door)
        self._make_room()

    def _make_room(self) -> None:
        with self._lock:
            if len(self._guests) < self.limits.connections:
                self._full = False
                self._selector.register(self._door, selectors.EVENT_READ)
                return
            idle = {guest.idle_since: guest for guest in self._guests if guest.idle_since not in (None, FRESH)}
            if idle and not any(guest.asked for guest in idle.values()):
                idle[min(idle)].ask_to_leave()

    def _take_breath(self) -> None:
        """The machine has no more descriptors or threads: trying again at once would only keep it busy."""
        self._selector.unregister(self._door)
        self._wait(BREATH_S)
        self._selector.register(self._door, selectors.EVENT_READ)

    def _see_off(self) -> None:
        if not self._full:
            self._selector.unregister(self._door)
        with self._lock:
            for guest in self._guests:
                if guest.idle_since is not None:
                    guest.ask_to_leave()
        end = time.monotonic() + self.limits.grace_s
        while self._guests and (left_s := end - time.monotonic()) > 0:
            self._wait(left_s)
        with self._lock:
            for guest in self._guests:
                guest.ask_to_leave(socket.SHUT_RDWR)
