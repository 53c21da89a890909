"""A small dispatcher with jobs made up for tests of the page: its API over HTTP, and hostile texts."""

from __future__ import annotations

import json
import threading
from contextlib import suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from pilot_core.dispatcher.page import HEADERS, page

BEGAN = 1_750_000_000.0
HOSTILE = (
    '<img src=x onerror="window.harmed = 1">',
    "</script><script>window.harmed = 1</script>",
    "\u202egnp.elbmert \u0645\u0631\u062d\u0628\u0627 \u05e9\u05dc\u05d5\u05dd",
    "a-very-long-name-without-a-break-" * 12,
    "&lt;b&gt; {{script}} ${1+1} \x00 \"'`",
)
OVER = {"finished", "failed", "cancelled"}
ERROR = {"code": 1305, "acronym": "EXEFAILED", "sentence": "Failed to execute payload", "detail": "exit code 3"}


def a_job(number: int, **given: object) -> dict[str, Any]:
    job: dict[str, Any] = {
        "id": number, "attempt": 1, "name": f"job-{number}", "queue": "local", "state": "activated", "sub": None,
        "node": None, "submitted": BEGAN, "began": None, "ended": None, "changed": BEGAN, "cpu_s": None, "rss_b": None,
        "disk_b": None, "exit_code": None, "lost": 0, "debug": False, "error": None,
    }  # fmt: skip
    return job | given


def an_attempt(number: int, **given: object) -> dict[str, Any]:
    attempt = {"attempt": number, "node": f"n{number}", "state": "failed", "began": None, "ended": None, "error": ERROR}
    return attempt | given


def usage(samples: int) -> list[dict[str, float]]:
    return [
        {"at": BEGAN + 30 + 10 * n, "cpu_s": 8.0 * n, "rss_b": 4e8 + 9e8 * (n % 17) / 17, "read_b": 2e8 * n,
         "written_b": 3e7 * n + 1e6 * n % 7, "processes": 4, "disk_b": 1e7 * n}
        for n in range(samples)
    ]  # fmt: skip


class Pretended:
    """The jobs, and what was asked of them."""

    def __init__(self, jobs: list[dict[str, Any]], details: dict[int, dict[str, Any]] | None = None) -> None:
        self.jobs = {job["id"]: job for job in jobs}
        self.details = details or {}
        self.versions = dict.fromkeys(self.jobs, 1)
        self.version, self.forgotten = 1, 0
        self.changed = threading.Condition()
        self.asked: list[tuple[str, str, object]] = []
        self.roles = {"Bearer good": "admin", "Bearer some": "submit"}
        self.refuse = ""
        handler = partial(Handler, self)
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/"

    def change(self, number: int, **given: object) -> None:
        with self.changed:
            self.jobs[number] = self.jobs.get(number, a_job(number)) | given
            self.version += 1
            self.versions[number] = self.version
            self.changed.notify_all()

    def forget(self, number: int) -> None:
        with self.changed:
            del self.jobs[number]
            self.version += 1
            self.forgotten += 1
            self.changed.notify_all()

    def close(self) -> None:
        with self.changed:
            self.version += 1
            self.changed.notify_all()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def answer(self, method: str, path: str, query: dict[str, str], body: Any, role: str | None) -> tuple[int, object]:
        self.asked.append((method, path, body if body is not None else query))
        match path.removeprefix("/dispatcher/v1/").split("/"):
            case _ if role is None:
                return 403, {"error": "This token is not one of this dispatcher's."}
            case ["queues"]:
                return 200, {"version": self.version, "queues": self.queues()}
            case ["jobs"]:
                return 200, self.listing(query)
            case ["jobs", number] if int(number) in self.jobs:
                return 200, self.detail(int(number))
            case ["cancel" | "retry" | "debug" as what]:
                return self.act(what, body, role)
            case _:
                return 404, {"error": f"There is no {path} here."}

    def queues(self) -> list[dict[str, object]]:
        names = sorted({job["queue"] for job in self.jobs.values()})
        return [
            {"name": name, "status": "online", "states": self.states({"queue": name}), "pilots": 2} for name in names
        ]

    def states(self, query: dict[str, str]) -> dict[str, int]:
        counts: dict[str, int] = {}
        for job in list(self.jobs.values()):
            if self.matches(job, {name: value for name, value in query.items() if name != "state"}):
                counts[job["state"]] = counts.get(job["state"], 0) + 1
        return counts

    def listing(self, query: dict[str, str]) -> dict[str, object]:
        since = int(query.get("since", -1))
        with self.changed:
            if since >= 0:
                self.changed.wait_for(lambda: self.version > since, float(query.get("wait_s", 0)))
            found = [job for job in self.jobs.values() if self.matches(job, query)]
            told = {
                "version": self.version,
                "forgotten": self.forgotten,
                "total": len(found),
                "states": self.states(query),
            }
            return told | (self.page(found, query) if since < 0 else self.changes(found, since, int(query["limit"])))

    def page(self, found: list[dict[str, Any]], query: dict[str, str]) -> dict[str, object]:
        last = int(query.get("before", 1 << 60))
        newest = sorted((job for job in found if job["id"] < last), key=lambda job: -job["id"])
        return {"jobs": newest[: int(query["limit"])]}

    def changes(self, found: list[dict[str, Any]], since: int, limit: int) -> dict[str, object]:
        """Too many changes: the oldest of them, and how far they go."""
        news = [job for job in found if self.versions[job["id"]] > since]
        if len(news) < limit:
            return {"jobs": news}
        first = sorted(news, key=lambda job: self.versions[job["id"]])[:limit]
        return {"jobs": first, "version": self.versions[first[-1]["id"]]}

    def matches(self, job: dict[str, Any], query: dict[str, str]) -> bool:
        same = all(query.get(name, job[name]) == job[name] for name in ("queue", "state"))
        return same and query.get("text", "").lower() in f"{job['name']} {job['node']}".lower()

    def detail(self, number: int) -> dict[str, Any]:
        empty = {
            "description": {},
            "attempts": [],
            "usage": [],
            "files": [],
            "log_tail": "",
            "timing": {},
            "advice": "",
            "command": "",
            "answer": None,
        }
        return empty | self.jobs[number] | self.details.get(number, {})

    def act(self, what: str, body: Any, role: str) -> tuple[int, object]:
        if what == "debug" and role != "admin":
            return 403, {"error": "To debug needs the admin token."}
        if self.refuse:
            return 200, {"done": [], "refused": [{"id": number, "why": self.refuse} for number in body["ids"]]}
        for number in body["ids"]:
            new = {
                "cancel": {"state": "cancelled"},
                "retry": {"state": "activated"},
                "debug": {"debug": body.get("on"), "command": body.get("command", "")},
            }
            self.change(number, **new[what])
        return 200, {"done": body["ids"], "refused": []}


class Handler(BaseHTTPRequestHandler):
    """The wire: the page to anybody, the rest as the jobs answer."""

    protocol_version = "HTTP/1.1"

    def __init__(self, owner: Pretended, *args: Any) -> None:
        self.owner = owner
        super().__init__(*args)

    def handle(self) -> None:
        """A browser that left says no goodbye."""
        with suppress(ConnectionError):
            super().handle()

    def do_GET(self) -> None:
        asked = urlsplit(self.path)
        if asked.path == "/":
            self.reply(200, page(), {"Content-Type": "text/html; charset=utf-8", **HEADERS})
        elif asked.path.startswith("/storage/"):
            self.owner.asked.append(("GET", asked.path, self.headers["Authorization"]))
            self.reply(200, b"<script>window.harmed = 1</script>", {"Content-Type": "text/html"})
        else:
            self.give({name: values[0] for name, values in parse_qs(asked.query).items()}, None)

    def do_POST(self) -> None:
        self.give({}, json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def give(self, query: dict[str, str], body: Any) -> None:
        role = self.owner.roles.get(self.headers["Authorization"])
        status, value = self.owner.answer(self.command, urlsplit(self.path).path, query, body, role)
        self.reply(status, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def reply(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""
