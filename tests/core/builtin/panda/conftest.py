"""A PanDA server on a loopback socket, of either generation: as strict as the real one, with faults to order."""

from __future__ import annotations

import gzip
import json
import threading
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlencode

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
        **dict.fromkeys(("rate_rbytes", "rate_wbytes", "rate_rchar", "rate_wchar"), NUMBER),
        "timeout": WHOLE,
    },
}
OLD_ACQUIRE, OLD_UPDATE = "/server/panda/getJob", "/server/panda/updateJob"
BULK, OLD_BULK = "/api/v1/pilot/update_jobs_bulk", "/server/panda/updateJobsInBulk"
OLD = {
    OLD_ACQUIRE: {
        "siteName": "site_name",
        "prodSourceLabel": "prod_source_label",
        "computingElement": "computing_element",
        "node": "node",
        "mem": "memory",
        "diskSpace": "disk_space",
        "remaining_time": "remaining_time",
        "jobType": "job_type",
        "resourceType": "resource_type",
        "nJobs": "n_jobs",
        "taskID": "task_id",
        "prodUserID": "prod_user_id",
        "background": "background",
        "viaTopic": "via_topic",
        "timeout": "timeout",
        "harvester_id": "harvester_id",
        "worker_id": "worker_id",
        "schedulerID": "scheduler_id",
    },
    OLD_UPDATE: {
        "jobId": "job_id",
        "state": "job_status",
        "attemptNr": "attempt_nr",
        "jobSubStatus": "job_sub_status",
        "siteName": "site_name",
        "node": "node",
        "schedulerID": "scheduler_id",
        "pilotID": "pilot_id",
        "batchID": "batch_id",
        "startTime": "start_time",
        "endTime": "end_time",
        "coreCount": "core_count",
        "meanCoreCount": "mean_core_count",
        "nEvents": "n_events",
        "nInputFiles": "n_input_files",
        "cpuConsumptionTime": "cpu_consumption_time",
        "cpuConsumptionUnit": "cpu_consumption_unit",
        "cpuConversionFactor": "cpu_conversion_factor",
        "cpu_architecture_level": "cpu_architecture_level",
        "maxRSS": "max_rss",
        "maxVMEM": "max_vmem",
        "maxSWAP": "max_swap",
        "maxPSS": "max_pss",
        "avgRSS": "avg_rss",
        "avgVMEM": "avg_vmem",
        "avgSWAP": "avg_swap",
        "avgPSS": "avg_pss",
        "totRCHAR": "tot_rchar",
        "totWCHAR": "tot_wchar",
        "totRBYTES": "tot_rbytes",
        "totWBYTES": "tot_wbytes",
        "rateRCHAR": "rate_rchar",
        "rateWCHAR": "rate_wchar",
        "rateRBYTES": "rate_rbytes",
        "rateWBYTES": "rate_wbytes",
        "jobMetrics": "job_metrics",
        "pilotTiming": "pilot_timing",
        "transExitCode": "trans_exit_code",
        "pilotErrorCode": "pilot_error_code",
        "pilotErrorDiag": "pilot_error_diag",
        "exeErrorCode": "exe_error_code",
        "exeErrorDiag": "exe_error_diag",
        "xml": "job_output_report",
        "metaData": "meta_data",
        "pilotLog": "pilot_log",
        "stdout": "stdout",
        "grid": "grid",
        "corruptedFiles": "corrupted_files",
        "source_site": "source_site",
        "timeout": "timeout",
        "destination_site": "destination_site",
    },
}
"""What the calls of old name their fields, and the names for them of the first version."""
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
    spoilt: dict = field(factory=dict)
    """What is answered to any request to a path."""
    speaks: set = field(factory=lambda: {"v1", "legacy"})
    shape: str = "jobs"
    """How an old server writes its answer: several jobs, one job "flat", or all of it as a "form"."""
    lock: threading.Lock = field(factory=threading.Lock)

    def said(self, path=UPDATE):
        return [body for each, body in self.requests if each == path]

    def old_names(self, path):
        return OLD[path].keys()

    def fail(self, body=b"", status=200, times=1, **how):
        self.orders.extend(Order(body, status, **how) for _ in range(times))

    def reply(self, path, body):
        """Status and body for a request."""
        if path == BULK and "v1" in self.speaks:
            return 200, envelope([self.answer(UPDATE, each) for each in body["job_list"]])
        if path == OLD_BULK and "legacy" in self.speaks:
            answers = [self.old_answer(OLD_UPDATE, each)[1] for each in json.loads(body["jobList"])]
            told = [each.decode() if isinstance(each, bytes) else _as_text(each) for each in answers]
            return 200, [True, told]
        if path.startswith("/api/"):
            return (200, self.answer(path, body)) if "v1" in self.speaks else (404, b"Not Found")
        if "legacy" not in self.speaks:
            return 403, f"ERROR : method {path.rpartition('/')[2]} is forbidden".encode()
        return self.old_answer(path, body)

    def old_answer(self, path, form):
        """The same for a call of old, whose fields are all texts and whose answer is a status with all else beside."""
        if unknown := form.keys() - OLD[path].keys():
            return 500, f"unexpected keyword argument {unknown}".encode()
        body = {name: _cast(path, name, value) for old, value in form.items() if (name := OLD[path][old])}
        told = self.give(body) if path == OLD_ACQUIRE else self.note(body)
        data = told["data"] or {"StatusCode": 20, "errorDialog": "no jobs in PanDA"}
        if self.shape != "jobs" and len(data.get("jobs", ())) == 1:
            data = {**data["jobs"][0], "StatusCode": 0}
        return 200, urlencode(data).encode() if self.shape == "form" else data

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


def _as_text(answer):
    return {"type": "json", "content": json.dumps(answer)}


def _cast(path, name, value):
    new = {OLD_ACQUIRE: ACQUIRE, OLD_UPDATE: UPDATE}[path]
    return int(value) if TAKEN[new].get(name) == WHOLE else value


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def do_POST(self):
        panda = self.server.panda
        data = self.rfile.read(int(self.headers["Content-Length"]))
        body = _read(self.path, data, self.headers)
        with panda.lock:
            panda.requests.append((self.path, body))
            panda.headers.append(dict(self.headers))
            order = panda.orders.popleft() if panda.orders else None
            if self.path in panda.spoilt:
                order = Order(*panda.spoilt[self.path])
            if order is None or order.after:
                status, answer = panda.reply(self.path, body)
        if order is not None and order.cut:
            self.close_connection = True
            return
        told = answer if order is None else order.body
        data = told if isinstance(told, bytes) else json.dumps(told).encode()
        self.send_response(status if order is None else order.status)
        for name, value in ({} if order is None else order.headers).items():
            self.send_header(name, value)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *about):
        pass


def _read(path, data, headers):
    """A body, read as its headers want it and no other way."""
    if path.startswith("/api/"):
        assert headers["Content-Type"] == "application/json"
        return json.loads(gzip.decompress(data) if headers["Content-Encoding"] == "gzip" else data)
    assert headers["Content-Type"] == "application/x-www-form-urlencoded"
    return {name: value for name, [value] in parse_qs(data.decode(), strict_parsing=True).items()}


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
