"""A dispatcher on a loopback socket, as far as the commands of its users go: in memory, and with faults to order."""

from __future__ import annotations

import hashlib
import json
import threading
import time
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from pilot_core.io.files import Lock

TOKEN = "the-token-of-who-submits"
LOOKED = {"command": "", "answer": None}
OVER = ("finished", "failed", "cancelled")


def job_of(number, **more):
    job = dict.fromkeys(("sub", "node", "began", "ended", "cpu_s", "rss_b", "disk_b", "exit_code", "error"))
    first = {"id": number, "attempt": 1, "name": f"job-{number}", "queue": "local", "state": "activated", "lost": 0}
    rest = {"debug": False, "submitted": 1000.0, "changed": 1000.0, "files": [], "attempts": [], "usage": []}
    return {**job, **first, **rest, "description": {}, "log_tail": "", "timing": {}, "advice": "", **LOOKED, **more}


class Dispatcher:
    """What it knows, what it was asked, and what it gets wrong if it is told to."""

    def __init__(self, home):
        self.home = home
        self.changed = threading.Condition()
        self.jobs = {}
        self.version = self.forgotten = 0
        self.versions = {}
        self.queues = ["local"]
        self.stored = {}
        self.asked = []
        self.submitted = []
        self.answers = {}
        self.on_wait = lambda: None
        self.closing = False
        self.ahead_s = 0.0

    def put(self, number, **more):
        """Add or change a job; who waits for changes is told."""
        with self.changed:
            self.version += 1
            self.jobs[number] = {**self.jobs.get(number, job_of(number)), **more}
            self.versions[number] = self.version
            self.changed.notify_all()

    def store(self, path, data):
        """Have a file in storage; the entry that a job's files have for it."""
        self.stored[path] = data
        name = unquote(path.rpartition("/")[2])
        found = {"size_b": len(data), "checksum": f"adler32:{zlib.adler32(data):08x}", "url": path}
        return {"name": name, "direction": "out", **found}

    def page(self, query):
        since, limit = query.get("since"), int(query.get("limit", 100))
        if since is not None:
            self.on_wait()
            with self.changed:
                self.changed.wait_for(lambda: self.version > int(since) or self.closing, float(query["wait_s"]))
        with self.changed:
            found = [job for job in self.jobs.values() if query.get("queue") in (None, job["queue"])]
        states = {state: sum(job["state"] == state for job in found) for state in {job["state"] for job in found}}
        found = [job for job in found if query.get("state") in (None, job["state"])]
        total = len(found)
        found = [job for job in found if job["id"] < int(query.get("before", 10**12))]
        found = [job for job in found if since is None or self.versions[job["id"]] > int(since)]
        found = sorted(found, key=lambda job: -job["id"])
        return {
            "version": self.version,
            "forgotten": self.forgotten,
            "total": total,
            "states": states,
            "jobs": found[:limit],
        }

    def submit(self, wanted):
        self.submitted.append(wanted)
        ids = []
        for each in wanted["jobs"]:
            for _ in range(each["count"]):
                ids.append(len(self.jobs) + 1)
                self.put(ids[-1], name=each["description"]["id"], queue=wanted["queue"])
        return {"ids": ids}

    def order(self, what, ids):
        done, refused = [], []
        for number in ids:
            state = self.jobs.get(number, {}).get("state")
            if state is None:
                refused.append({"id": number, "why": "there is no such job"})
            elif (state in OVER) == (what == "cancel"):
                refused.append({"id": number, "why": f"it is {state}"})
            else:
                self.put(number, state="cancelled" if what == "cancel" else "activated")
                done.append(number)
        return {"done": done, "refused": refused}

    def debug(self, ids, on, command):
        self.submitted.append((on, command))
        over = [{"id": number, "why": "it is over"} for number in ids if self.jobs[number]["state"] in OVER]
        for number in [] if over else ids:
            self.put(number, debug=on, command=command)
        return {"done": [] if over else ids, "refused": over}


class Door(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def house(self):
        return self.server.house

    def log_message(self, *_):
        pass

    def date_time_string(self, timestamp=None):
        return super().date_time_string(time.time() + self.house.ahead_s)

    def __getattr__(self, name):
        if name.startswith("do_"):
            return self._serve
        raise AttributeError(name)

    def _serve(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urlsplit(self.path)
        self.house.asked.append((self.command, url.path))
        status, value = self._answer(url, body)
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _answer(self, url, body):
        house, query = self.house, {name: values[0] for name, values in parse_qs(url.query).items()}
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return 403, {"error": "this wants a token"}
        if (self.command, url.path) in house.answers:
            return house.answers[self.command, url.path]
        if url.path.startswith("/storage/"):
            return self._storage(url.path, body)
        match url.path.removeprefix("/dispatcher/v1/").split("/"):
            case ["queues"]:
                return 200, {"version": house.version, "queues": [{"name": name} for name in house.queues]}
            case ["jobs"]:
                return 200, house.page(query)
            case ["jobs", number] if int(number) in house.jobs:
                return 200, house.jobs[int(number)]
            case ["submit"]:
                return 200, house.submit(json.loads(body))
            case ["cancel" | "retry" as what]:
                return 200, house.order(what, json.loads(body)["ids"])
            case ["debug"]:
                return 200, house.debug(**json.loads(body))
        return 404, {"error": f"there is no {url.path}"}

    def _storage(self, path, body):
        if self.command != "PUT":
            return (200, self.house.stored[path]) if path in self.house.stored else (404, {"error": "not here"})
        sha256 = path.split("/")[3]
        digest = self.headers.get("Digest")
        if hashlib.sha256(body).hexdigest() != sha256 or digest != f"adler32={zlib.adler32(body):08x}":
            return 400, {"error": "these are other bytes"}
        self.house.stored[path] = body
        return 201, {}


@pytest.fixture
def dispatcher(tmp_path, monkeypatch):
    """One that runs where the commands look for it by themselves."""
    home = tmp_path / "home"
    (home / "tokens").mkdir(parents=True)
    house = Dispatcher(home)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
    server.daemon_threads, server.house = True, house
    server.handle_error = lambda *_: None
    house.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    (home / "server.json").write_text(json.dumps({"url": house.url, "fingerprint": "", "pid": 1, "started": 1.0}))
    for role in ("submit", "admin"):
        (home / "tokens" / role).write_text(TOKEN)
        (home / "tokens" / role).chmod(0o600)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with Lock(home / "lock"):
        yield house
    with house.changed:
        house.closing = True
        house.changed.notify_all()
    server.shutdown()
    server.server_close()
    thread.join()
