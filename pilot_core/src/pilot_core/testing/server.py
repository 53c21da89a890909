"""The dispatcher on a loopback socket over TLS, with faults to order.

``with PilotServer(tmp) as server: server.submit({"script": "true"}); PilotKit(settings=server.settings()).run()``.
``server.faults.next("/api/v1/pilot/acquire", Fault.lost_answer())`` spoils the next answer to such a path.
"""

from __future__ import annotations

import json
import math
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from attrs import evolve, frozen

from pilot_core.clock import Clock
from pilot_core.dispatcher.messages import Cut, Request, Response
from pilot_core.dispatcher.serve import Answering, Dispatcher, Place, open_service
from pilot_core.dispatcher.tls import own_certificate
from pilot_core.io.http import Web
from pilot_core.testing.strict import ORIGIN, Strict

API: Final = "/dispatcher/v1"
NOT_HTTP: Final = b"\x00\x07garbage, and not HTTP\r\n\r\n\xff"
OVER: Final = frozenset({"finished", "failed", "cancelled"})
LOOK_S: Final = 5

Job = Mapping[str, Any]
Jobs = Sequence[Job]


@frozen
class Fault:
    """What goes wrong with one answer. But for ``status`` the request is done all the same."""

    name: str
    amount: float = 0

    @classmethod
    def status(cls, number: int) -> Self:
        """The request is answered with this status, and not done."""
        return cls("status", number)

    @classmethod
    def slow(cls, wait_s: float) -> Self:
        """The request is done so much later, and then answered as it should be."""
        return cls("slow", wait_s)

    @classmethod
    def cut(cls, after_b: int) -> Self:
        """The line breaks after the answer's head and so many bytes of its body."""
        return cls("cut", after_b)

    @classmethod
    def garbage(cls) -> Self:
        """Instead of the answer come bytes that are no HTTP."""
        return cls("garbage")

    @classmethod
    def wrong_length(cls, by_b: int = 10) -> Self:
        """The head promises so many bytes more than come, or fewer if it is negative; then the line ends."""
        return cls("wrong_length", by_b)

    @classmethod
    def lost_answer(cls) -> Self:
        """The line breaks before the first byte of the answer."""
        return cls("lost_answer")

    @property
    def spoils(self) -> bool:
        """Whether the bytes of the answer go wrong."""
        return self.name not in ("status", "slow")

    def spoil(self, answer: bytes) -> bytes:
        """What comes of a whole answer."""
        head, gap, body = answer.partition(b"\r\n\r\n")
        match self.name:
            case "cut":
                return head + gap + body[: int(self.amount)]
            case "garbage":
                return NOT_HTTP
            case "wrong_length":
                promised = max(len(body) + int(self.amount), 0)
                return re.sub(rb"Content-Length: \d+", b"Content-Length: %d" % promised, head, count=1) + gap + body
        return b""


class Faults:
    """The faults that are ordered, in the order in which they were."""

    def __init__(self) -> None:
        self.met: list[tuple[str, Fault]] = []
        """Those that came about, each with the request that met it."""
        self._orders: list[tuple[str, Fault]] = []
        self._lock = threading.Lock()
        self._here = threading.local()
        self._ending = threading.Event()

    def next(self, path_prefix: str, fault: Fault, times: int = 1) -> None:
        """Let the next request whose path begins so meet this fault, or the next ones."""
        with self._lock:
            self._orders += [(path_prefix, fault)] * times

    def clear(self) -> None:
        """Take back what nobody has met yet."""
        with self._lock:
            self._orders.clear()

    def answer(self, request: Request, work: Callable[[Request], Response]) -> Response:
        """What a request comes to."""
        fault = self._meet(request)
        if fault is None:
            return work(request)
        if fault.name == "status":
            return Response.error(int(fault.amount), "a fault, as ordered")
        if fault.name == "slow":
            self._ending.wait(fault.amount)
        try:
            return _in_one(work(request)) if fault.spoils else work(request)
        finally:
            self._here.fault = fault if fault.spoils else None

    def take(self) -> Fault | None:
        """The fault of the answer that this thread is about to send."""
        fault: Fault | None = getattr(self._here, "fault", None)
        self._here.fault = None
        return fault

    def let_go(self) -> None:
        """Be slow no more."""
        self._ending.set()

    def _meet(self, request: Request) -> Fault | None:
        with self._lock:
            for order in self._orders:
                if request.path.startswith(order[0]):
                    self._orders.remove(order)
                    self.met.append((f"{request.method} {request.path}", order[1]))
                    return order[1]
        return None


def _in_one(response: Response) -> Response:
    """An answer whose bytes are sent at once, head and body."""
    if response.file is None:
        return response
    with response.file as file:
        return evolve(response, body=file.read(response.length), file=None, length=0)


class _Line(ssl.SSLSocket):
    """A connection on which answers go wrong as ordered."""

    faults: Faults
    opened: list[object]

    def do_handshake(self, block: bool = False) -> None:
        self.opened.append(self.getpeername())
        super().do_handshake(block)

    def sendall(self, data: Any, flags: int = 0) -> None:
        fault = self.faults.take()
        if fault is None:
            super().sendall(data, flags)
            return
        super().sendall(fault.spoil(bytes(data)), flags)
        raise Cut(f"as ordered: {fault.name}")


@frozen
class _Heard:
    """The service behind the faults."""

    service: Answering
    faults: Faults
    heard: list[str]

    def answer(self, request: Request) -> Response:
        self.heard.append(f"{request.method} {request.path}")
        return self.faults.answer(request, self.service.answer)

    def sweep(self) -> object:
        return self.service.sweep()

    def let_go(self) -> None:
        self.faults.let_go()
        self.service.let_go()

    def close(self) -> None:
        self.service.close()


class PilotServer:
    """A dispatcher below ``tmp``, within ``with``. ``config`` is what its YAML file would say.

    A ``strict`` one wants an ``Origin`` with each token, and tells pilots nothing that PanDA has no word for.
    """

    def __init__(
        self,
        tmp: Path,
        *,
        config: Mapping[str, object] | None = None,
        clock: Clock | None = None,
        strict: bool = False,
    ) -> None:
        self.home = tmp / "pilot-server"
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.faults = Faults()
        self.strict = strict
        self.heard: list[str] = []
        """Each request that came whole, as ``METHOD PATH``."""
        self.opened: list[object] = []
        """Each connection, by the address that it came from."""
        self._service: Answering | None = None
        if config is not None:
            (self.home / "server.yaml").write_text(json.dumps(config))
        certificate = own_certificate(self.home, ("localhost", "127.0.0.1"))
        self._dispatcher = Dispatcher(self.home, certificate=certificate, opening=self._open, clock=clock)
        assert self._dispatcher.server.tls is not None
        self._dispatcher.server.tls.sslsocket_class = type(
            "Line", (_Line,), {"faults": self.faults, "opened": self.opened}
        )
        self._leaving = ExitStack()

    def __enter__(self) -> Self:
        self._leaving.enter_context(self._dispatcher)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._leaving.close()

    @property
    def url(self) -> str:
        """Where it listens."""
        return self._dispatcher.url

    @property
    def fingerprint(self) -> str:
        """That of its certificate, which no authority vouches for."""
        return self._dispatcher.fingerprint

    def token(self, role: str = "run") -> Path:
        """The file with the token for a role: "run", "submit" or "admin"."""
        return self._dispatcher.tokens.path(role)

    def settings(self, queue: str = "local", *, urls: Sequence[str] = ()) -> dict[str, object]:
        """What a pilot needs to work for it, by ``section.name``."""
        return {
            "pilot.queue": queue,
            "pilot.communicator": "panda",
            "connection.info_sources": ["server"],
            "connection.url": list(urls or [self.url]),
            "connection.token": str(self.token()),
            "connection.fingerprint": self.fingerprint,
            "connection.origin": ORIGIN if self.strict else "",
            "data.copytools": ["https"],
            "pilot.empty_answers": 1,
        }

    def dead_first_address(self) -> tuple[str, str]:
        """Two addresses of it: at the first nobody listens as long as it runs."""
        door = self._leaving.enter_context(socket.socket())
        door.bind(("127.0.0.1", 0))
        return f"https://127.0.0.1:{door.getsockname()[1]}", self.url

    def web(self, role: str = "submit", *, urls: Sequence[str] = ()) -> Web:
        """Something to ask it with; closed with the server."""
        web = Web(urls or (self.url,), token=self.token(role), fingerprint=self.fingerprint)
        self._leaving.callback(web.close)
        return web

    def submit(self, description: Mapping[str, object], count: int = 1, *, queue: str = "local") -> list[int]:
        """So many jobs of one description, as ``pilot submit`` would send it; their numbers."""
        asked = {"queue": queue, "jobs": [{"description": description, "count": count}]}
        ids: list[int] = self._ask("POST", "submit", json=asked)["ids"]
        return ids

    def jobs(self) -> list[Job]:
        """All jobs as ``pilot jobs --json`` shows them, the oldest first."""
        found = page = self._page(0)
        while page:
            page = self._page(page[-1]["id"])
            found += page
        return found[::-1]

    def job(self, job: int) -> Job:
        """All that is known of one job."""
        told: Job = self._ask("GET", f"jobs/{job}")
        return told

    def wait(self, until: Callable[[Jobs], bool], limit_s: float = 60.0) -> Jobs:
        """The jobs, as soon as they are so; ``AssertionError`` if that takes too long."""
        end = time.monotonic() + limit_s
        while True:
            version = self._ask("GET", "jobs", query={"limit": 1})["version"]
            jobs = self.jobs()
            if until(jobs):
                return jobs
            left_s = end - time.monotonic()
            assert left_s > 0, f"not so within {limit_s:g} s: {[(job['id'], job['state']) for job in jobs]}"
            self._ask("GET", "jobs", query={"since": version, "limit": 1, "wait_s": min(math.ceil(left_s), LOOK_S)})

    def wait_over(self, limit_s: float = 60.0) -> Jobs:
        """The jobs, as soon as all have ended."""
        return self.wait(lambda jobs: all(job["state"] in OVER for job in jobs), limit_s)

    def sweep(self) -> None:
        """Take jobs now from pilots that were silent for too long, which by itself it does every few seconds."""
        assert self._service is not None
        self._service.sweep()

    def _page(self, before: int) -> list[Job]:
        page: list[Job] = self._ask("GET", "jobs", query={"limit": 1000, "before": before})["jobs"]
        return page

    def _open(self, place: Place) -> Answering:
        service = open_service(place)
        self._service = _Heard(Strict(service) if self.strict else service, self.faults, self.heard)
        return self._service

    def _ask(self, method: str, path: str, **more: Any) -> Any:
        with ExitStack() as leaving:
            web = Web((self.url,), token=self.token("admin"), fingerprint=self.fingerprint)
            leaving.callback(web.close)
            answer = web.call(method, f"{API}/{path}", **more)
        assert answer.status == 200, f"{answer.status}: {answer.body.decode(errors='replace')}"
        return answer.json()
