"""A PanDA server of the first version on a loopback socket: as strict as the real one, with faults to order."""

from __future__ import annotations

import json
import threading
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from attrs import define, field

from pilot_core.builtin.panda import Panda

ACQUIRE, UPDATE = "/api/v1/pilot/acquire_jobs", "/api/v1/pilot/update_job"
WHOLE, NUMBER, TEXT, FLAG = (int,), (int, float), (str,), (bool,)
TAKEN = {
    ACQUIRE: {
        **dict.fromkeys(("memory", "disk_space", "remaining_time", "n_jobs", "task_id", "worker_id", "timeout"), WHOLE),
        **dict.fromkeys(("site_name", "prod_source_label", "computing_element", "node", "job_type"), TEXT),
        **dict.fromkeys(("resource_type", "prod_user_id", "harvester_id", "scheduler_id"), TEXT),
        **dict.fromkeys(("background", "via_topic"), FLAG),
    },
    UPDATE: {
        **dict.fromkeys(("job_id", "attempt_nr", "core_count", "mean_core_count", "n_events", "n_input_files"), WHOLE),
        **dict.fromkeys(("cpu_consumption_time", "trans_exit_code", "pilot_error_code", "exe_error_code"), WHOLE),
        **dict.fromkeys(("job_status", "job_sub_status", "site_name", "node", "scheduler_id", "pilot_id"), TEXT),
        **dict.fromkeys(("batch_id", "start_time", "end_time", "cpu_consumption_unit", "job_metrics"), TEXT),
        **dict.fromkeys(("cpu_architecture_level", "pilot_timing", "pilot_error_diag", "exe_error_diag"), TEXT),
        **dict.fromkeys(("job_output_report", "meta_data", "pilot_log", "stdout", "corrupted_files"), TEXT),
        **dict.fromkeys(("grid", "source_site", "destination_site"), TEXT),
        **dict.fromkeys((f"{how}_{what}" for how in ("max", "avg") for what in ("rss", "vmem", "swap", "pss")), NUMBER),
        **dict.fromkeys(("tot_rbytes", "tot_wbytes", "tot_rchar", "tot_wchar", "cpu_conversion_factor"), NUMBER),
        "timeout": WHOLE,
    },
}
NEEDED = {ACQUIRE: {"site_name"}, UPDATE: {"job_id", "job_status"}}
WIDTHS = {
    **dict.fromkeys(("node", "computing_element", "scheduler_id", "cpu_consumption_unit"), 128),
    **dict.fromkeys(("pilot_error_diag", "exe_error_diag", "job_metrics"), 500),
    **dict.fromkeys(("batch_id", "job_sub_status"), 80),
    **dict.fromkeys(("source_site", "destination_site"), 36),
    "pilot_id": 200,
    "pilot_timing": 100,
    "stdout": 2048,
    "pilot_log": 4000,
    "cpu_architecture_level": 20,
    "grid": 50,
}


def envelope(data=None, message="", success=True):
    return {"success": success, "message": message, "data": data}


@define
class Order:
    """What to answer instead: a body as it is, or an envelope; ``cut`` closes the line without a word."""

    body: object = b""
    status: int = 200
    cut: bool = False
    after: bool = False
    """The request is done all the same, and only its answer is lost."""
    headers: dict = field(factory=dict)


@define
class PandaServer:
    """Jobs that wait, jobs that were given away, and everything that was said."""

    url: str = ""
    waiting: deque = field(factory=deque)
    jobs: dict = field(factory=dict)
    requests: list = field(factory=list)
    headers: list = field(factory=list)
    orders: deque = field(factory=deque)
    commands: dict = field(factory=dict)
    refused: set = field(factory=set)
    """Fields that this version does not know."""
    lock: threading.Lock = field(factory=threading.Lock)

    def said(self, path=UPDATE):
        return [body for each, body in self.requests if each == path]

    def fail(self, body=b"", status=200, times=1, **how):
        self.orders.extend(Order(body, status, **how) for _ in range(times))

    def answer(self, path, body):
        taken = TAKEN[path]
        for name, value in body.items():
            if name not in taken or name in self.refused:
                told = f"Argument error: got an unexpected keyword argument '{name}'"
                return envelope(message=told, success=False)
            if not isinstance(value, taken[name]):
                told = f"Type error: '{name}' must be of type {taken[name][0].__name__}, got {type(value).__name__}."
                return envelope(message=told, success=False)
        if missing := NEEDED[path] - body.keys():
            return envelope(message=f"Argument error: missing a required argument: {missing}", success=False)
        return self.give(body) if path == ACQUIRE else self.note(body)

    def give(self, body):
        if not self.waiting or body["timeout"] <= 10:
            return envelope(message="No jobs in PanDA", success=False)
        given = [self.waiting.popleft() for _ in range(min(body["n_jobs"], len(self.waiting)))]
        for job in given:
            self.jobs[job.get("PandaID")] = {"attempt": job.get("attemptNr"), "state": "sent", "batch": None}
        return envelope({"StatusCode": 0, "jobs": given})

    def note(self, body):
        """The rules by which a server applies an update, as far as one pilot can meet them."""
        state = body["job_status"]
        if state not in ("starting", "running", "holding", "transferring", "finished", "failed"):
            return envelope({"StatusCode": 50}, "invalid job status", success=False)
        if any(len(body[name].encode()) > width for name, width in WIDTHS.items() if name in body):
            return envelope({"StatusCode": 30, "ErrorDiag": "Database error"})
        job, final = self.jobs.get(body["job_id"]), state in ("finished", "failed")
        if job is None or job["attempt"] != body.get("attempt_nr"):
            return envelope({"StatusCode": 0, "command": "tobekilled"})
        if job["state"] == "holding":
            return envelope({"StatusCode": 0, "command": "alreadydone" if final else "NULL"})
        batch = body.get("batch_id")
        if batch and job["batch"] and batch != job["batch"] and not batch.isdecimal():
            return envelope({"StatusCode": 0, "command": "tobekilled"})
        job["batch"] = batch or job["batch"]
        job["state"] = "holding" if final else state
        return envelope({"StatusCode": 0, "command": self.commands.get(body["job_id"], "NULL")})


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def do_POST(self):
        panda = self.server.panda
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with panda.lock:
            panda.requests.append((self.path, body))
            panda.headers.append(dict(self.headers))
            order = panda.orders.popleft() if panda.orders else None
            if order is None or order.after:
                answer = panda.answer(self.path, body)
        if order is not None and order.cut:
            self.close_connection = True
            return
        told = answer if order is None else order.body
        data = told if isinstance(told, bytes) else json.dumps(told).encode()
        self.send_response(200 if order is None else order.status)
        for name, value in ({} if order is None else order.headers).items():
            self.send_header(name, value)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *about):
        pass


@pytest.fixture
def panda():
    """The server, running."""
    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listening.daemon_threads = True
    listening.panda = PandaServer(url=f"http://127.0.0.1:{listening.server_port}")
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield listening.panda
    listening.shutdown()
    thread.join()
    listening.server_close()


@pytest.fixture
def talker(make, panda, tmp_path):
    """``talker(**options)``: a communicator that talks to the server."""
    token = tmp_path / "token"
    token.write_text("sesame-open-now\n")
    token.chmod(0o600)
    made = []

    def build(**options):
        connection = {"url": [panda.url], "token": str(token), "origin": "vo.example:pilot"}
        made.append(make(Panda, connection=connection, panda={"node": "wn17.example.org", **options}))
        return made[-1]

    yield build
    for each in made:
        each._web.close()


@pytest.fixture
def wire_job():
    """``wire_job(**changes)``: a job with two inputs, two outputs and a log between them, as a server writes it."""

    def build(**changes):
        job = {
            "StatusCode": 0,
            "PandaID": 7100000001,
            "attemptNr": 1,
            "taskID": 40222333,
            "jobsetID": "NULL",
            "prodSourceLabel": "managed",
            "transformation": "run.py",
            "jobPars": "--in=a.root,b.root -n 5",
            "inFiles": "a.root,b.root",
            "scopeIn": "s1,s2",
            "GUID": "g1,NULL",
            "fsize": "412345678,NULL",
            "checksum": "ad:a1b2c3d,NULL",
            "ddmEndPointIn": "SITE_DATA,SITE_DATA",
            "realDatasetsIn": "s1:in,s2:in",
            "outFiles": "o1.root,log.tgz,o2.root",
            "realDatasets": "d1,dl,d2",
            "ddmEndPointOut": "E1,EL,E2",
            "scopeOut": "so1,so2",
            "scopeLog": "sl",
            "logFile": "log.tgz",
            "logGUID": "2b1f9a5e-7c0d-4f57-8a5d-9b8f3f3b7c10",
            "coreCount": 8,
            "minRamCount": 14400,
            "maxDiskCount": 1310,
            "maxWalltime": 18900,
            "ioIntensity": None,
            "swRelease": "NULL",
            "homepackage": " ",
            "cmtConfig": "",
        }
        return {**job, **changes}

    return build
