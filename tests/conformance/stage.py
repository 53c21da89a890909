"""A dispatcher that any answer of can be changed or replaced, and that remembers all that was said to it."""

from __future__ import annotations

import gzip
import io
import json
import threading
from collections.abc import Callable, Mapping
from urllib.parse import parse_qs

from attrs import define, evolve, frozen

from pilot_core.dispatcher.messages import Cut, Request, Response
from pilot_core.testing.fakes import Payload
from pilot_core.testing.server import PilotServer

ACQUIRE = {"v1": "/api/v1/pilot/acquire_jobs", "legacy": "/server/panda/getJob"}
UPDATE = {"v1": "/api/v1/pilot/update_job", "legacy": "/server/panda/updateJob"}
STATES = ("finished", "failed")
JOB = {"script": "true", "outputs": ["out.txt"], "log": "log.tgz"}
NONE = {"success": False, "message": "No jobs in PanDA", "data": None}
HANGS = Payload(hangs=True, files={"out.txt": b"made\n"})
NO_IDENTITY, NO_SERVER, NO_WORK = 68, 79, 82
"""The exit codes."""


def in_words(dialect, **data):
    """The data of an answer as this generation says them."""
    return data if dialect == "legacy" else {"success": True, "message": "", "data": data}


def told(command, dialect):
    """Changes an answer to an update so that it has this command."""

    def change(answer):
        (answer if dialect == "legacy" else answer["data"])["command"] = command
        return answer

    return change


def with_fields(answer, fields):
    """An answer to a request for work with these fields in each job."""
    inner = answer.get("data", answer) or {}
    for job in inner.get("jobs", [inner]):
        job.update(fields)
    return answer


def last(stage, dialect="v1"):
    """What was said last of a job."""
    return stage.said(UPDATE[dialect])[-1].body


def runs(heard):
    return heard.state == "running"


def ends(heard):
    return heard.state in STATES


@define
class Heard:
    """One request, and what it was answered."""

    path: str
    headers: Mapping[str, str]
    raw: bytes
    status: int = 0
    answer: bytes = b""
    """Empty as long as there is none."""
    ordered: bool = False
    """Whether this answer was ordered."""

    @property
    def packed(self) -> bool:
        return self.raw[:2] == b"\x1f\x8b"

    @property
    def body(self) -> dict:
        """What was said, by the names that it was said in."""
        plain = gzip.decompress(self.raw) if self.packed else self.raw
        if "json" in self.headers.get("content-type", ""):
            return json.loads(plain)
        return {name: values[-1] for name, values in parse_qs(plain.decode(), keep_blank_values=True).items()}

    @property
    def state(self) -> str:
        """The state of the job that it tells of, if it does."""
        return self.body.get("job_status") or self.body.get("state") or ""


class Kept(io.BytesIO):
    """A body that was read already."""

    @property
    def length(self) -> int:
        return len(self.getbuffer())


@frozen
class Order:
    """What becomes of the next request to a path that ``wants`` it."""

    path: str
    work: Callable[[Request, Callable[[Request], Response]], Response]
    wants: Callable[[Heard], bool]


class Stage(PilotServer):
    """``stage.say(path, body)`` replaces an answer, ``stage.change(path, how)`` changes it; each order is for once."""

    def __init__(self, *args, **more):
        self.all: list[Heard] = []
        self._orders: list[Order] = []
        self._comings: dict[str, threading.Event] = {}
        self._given: dict[str, object] = {}
        self._lock = threading.Lock()
        super().__init__(*args, **more)

    @property
    def certificate(self):
        """What vouches for it."""
        return next(path for path in self.home.iterdir() if b"BEGIN CERTIFICATE" in path.read_bytes()[:100])

    def said(self, path):
        """What was said to a path."""
        return [each for each in self.all if each.path == path]

    def stored(self, name):
        """What the first job's first attempt has stored under a name."""
        web = self.web()
        answer = web.call("GET", f"/storage/1.1/{name}")
        web.close()
        assert answer.status == 200, answer
        return answer.body

    def states(self, dialect="v1"):
        """The states that updates told, each once if it was told several times in a row."""
        told = [each.state for each in self.said(UPDATE[dialect])]
        return [state for at, state in enumerate(told) if not at or told[at - 1] != state]

    def say(self, path, body=b"", status=200, times=1, when=lambda heard: True, **headers):
        """Answer so, and do nothing."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self._order(path, lambda request, go: Response(status, data, headers=headers), times, when)

    def change(self, path, how, times=1, when=lambda heard: True):
        """Do what is asked, and answer ``how(answer)``."""
        self._order(path, lambda request, go: _changed(go(request), how), times, when)

    def give(self, **fields):
        """Put into each job what it needs here, and PanDA has no word for."""
        self._given |= fields

    def submit_with_input(self):
        """A job with an input; where that lies is for a catalogue to know, or stands in the job."""
        source = f"{self.url}/storage/in.dat"
        self.submit({**JOB, "inputs": [{"source": source}]})
        self.give(sources={"in.dat": source})

    def hold(self, path, event, limit_s, when=lambda heard: True):
        """Do what is asked once ``event`` has come, or else after a while."""
        self._order(path, lambda request, go: (event.wait(limit_s), go(request))[1], 1, when)

    def refuse(self, path, status=500, times=1, when=lambda heard: True):
        """Fail in the way that servers do."""
        self.say(path, b"it broke", status, times, when)

    def relent(self):
        """Take back what was ordered and has not come about."""
        with self._lock:
            self._orders.clear()

    def coming(self, path):
        """An event that comes with the first request to a path."""
        return self._comings.setdefault(path, threading.Event())

    def check(self):
        """What holds in every scenario: what is said is understood, and nothing but an end follows an end."""
        for each in self.all:
            refused = any(words in each.answer for words in (b"Argument error", b"Type error", b"unexpected keyword"))
            assert each.ordered or not refused, (each.body, each.answer)
            assert each.headers.get("user-agent", "").startswith("pilot/"), each.headers
        ended = set()
        for each in (each for dialect in UPDATE for each in self.said(UPDATE[dialect])):
            job = each.body.get("job_id") or each.body["jobId"]
            assert "attempt_nr" in each.body or "attemptNr" in each.body
            assert each.state in STATES or job not in ended, f"{each.state} after the end of {job}"
            ended |= {job} if each.state in STATES else set()

    def _order(self, path, work, times, when):
        with self._lock:
            self._orders += [Order(path, work, when)] * times

    def _open(self, place):
        service = super()._open(place)
        return _Watched(service, self)

    def answer(self, request: Request, go: Callable[[Request], Response]) -> Response:
        """The answer to a request that is remembered."""
        if request.path in self._comings:
            self._comings[request.path].set()
        if not request.path.startswith(("/api/", "/server/")) and not self._is_ordered(request.path):
            return go(request)
        raw = request.body.read() if request.body.length else b""
        heard = Heard(request.path, dict(request.headers), raw)
        self.all.append(heard)
        response = self._answer(evolve(request, body=Kept(raw)), heard, go)
        if self._given and request.path in ACQUIRE.values():
            response = _changed(response, lambda answer: with_fields(answer, self._given))
        heard.status = response.status
        heard.answer = response.body
        return response

    def _is_ordered(self, path):
        with self._lock:
            return any(order.path == path for order in self._orders)

    def _answer(self, request, heard, go):
        with self._lock:
            order = next((each for each in self._orders if each.path == request.path and each.wants(heard)), None)
            if order is not None:
                self._orders.remove(order)
                heard.ordered = True
        return order.work(request, go) if order else go(request)


@frozen
class _Watched:
    service: object
    stage: Stage

    def answer(self, request):
        return self.stage.answer(request, self.service.answer)

    def __getattr__(self, name):
        return getattr(self.service, name)


def _changed(response: Response, how) -> Response:
    changed = how(json.loads(response.body))
    if changed is None:
        raise Cut("as ordered")
    return evolve(response, body=json.dumps(changed).encode())
