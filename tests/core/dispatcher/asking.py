"""A service asked as a server would have it asked."""

from __future__ import annotations

import io
import json

import pytest

from pilot_core.dispatcher.config import ServedQueue, ServedStorage
from pilot_core.dispatcher.head import Refused
from pilot_core.dispatcher.messages import Request, Response
from pilot_core.dispatcher.service import Service

DESCRIBED = {"id": "fit", "command": ["x"], "outputs": ["out.txt"], "log": {}}
REPORT = json.dumps({"out.txt": {"guid": "g", "fsize": 3, "adler32": "01020304"}})
QUEUES = {
    "local": ServedQueue(cores=8, memory_b=16 * 10**9, disk_b=10**11, wall_s=3600.0, heartbeat_s=2.0),
    "shut": ServedQueue(name="shut", status="offline"),
}
STORAGES = {"LOCAL": ServedStorage(), "FAR": ServedStorage(name="FAR", url="https://far.example.org/data")}


class Body(io.BytesIO):
    @property
    def length(self) -> int:
        return len(self.getbuffer())


class Client:
    """Asks a service as a server would have it asked."""

    def __init__(self, service: Service, role: str | None) -> None:
        self.service = service
        self.role = role

    def ask(self, method: str, path: str, body: bytes = b"", query=None, **headers: str) -> Response:
        wanted = {name: [str(each) for each in _list(value)] for name, value in (query or {}).items()}
        told = {"host": "dispatcher.example.org:8443", "accept": "application/json", **headers}
        return self.service.answer(Request(method, path, wanted, told, Body(body), self.role))

    def get(self, path: str, **query: object):
        return json.loads(self.ask("GET", path, query=query).body)

    def post(self, path: str, value: object):
        body = json.dumps(value).encode()
        return json.loads(self.ask("POST", path, body, **{"content-type": "application/json"}).body)

    def own(self, name: str, value: object):
        return self.post(f"/dispatcher/v1/{name}", value)

    def submit(self, count: int = 1, **described: object) -> list[int]:
        jobs = [{"description": {**DESCRIBED, **described}, "count": count}]
        return self.own("submit", {"queue": "local", "jobs": jobs})["ids"]

    def acquire(self, **more: object):
        return self.post("/api/v1/pilot/acquire_jobs", {"site_name": "local", "node": "n1", **more})

    def update(self, job: int, status: str = "running", attempt: int = 1, **more: object):
        told = {"job_id": job, "job_status": status, "attempt_nr": attempt, "node": "n1", **more}
        return self.post("/api/v1/pilot/update_job", told)

    def refused(self, method: str, path: str, value: object = None, **query: object) -> tuple[int, str]:
        body = b"" if value is None else json.dumps(value).encode()
        with pytest.raises(Refused) as refused:
            self.ask(method, path, body, query=query, **{"content-type": "application/json"})
        return refused.value.status, refused.value.text


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]
