"""What a server hears of workers and nodes, on a loopback socket that checks types as a real one does."""

from __future__ import annotations

import json
import logging
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

import pytest
from attrs import define, evolve, field

from pilot_core.builtin.panda.dialects import LEGACY, V1
from pilot_core.builtin.panda.node import (
    GPU,
    NODE,
    STATUS,
    NodeReports,
    Worker,
    cpu_fields,
    fraction,
    gpu_reports,
    in_job_report,
    node_report,
    status_report,
)
from pilot_core.builtin.panda.words import fitted
from pilot_core.io.node import NodeFacts
from pilot_core.io.node_cpu import Cpu
from pilot_core.io.node_gpu import Gpu
from pilot_core.sdk import Queue
from pilot_core.sdk.web import Web

API, OLD = "/api/v1/pilot/", "/server/panda/updateWorkerPilotStatus"
STATUS_CALL, NODE_CALL, GPU_CALL = (
    f"{API}{name}" for name in ("update_worker_status", "update_worker_node", "update_worker_node_gpu")
)
TAKEN = {
    STATUS_CALL: dict.fromkeys(("worker_id", "harvester_id", "status", "timeout", "node_id"), object),
    NODE_CALL: {
        **dict.fromkeys(("site", "host_name", "cpu_model", "panda_queue"), str),
        **dict.fromkeys(("cpu_architecture", "cpu_architecture_level"), str),
        **dict.fromkeys(("n_logical_cpus", "n_sockets", "cores_per_socket", "threads_per_core"), int),
        **dict.fromkeys(("total_memory", "total_local_disk", "timeout"), int),
        "clock_speed": float,
    },
    GPU_CALL: {
        **dict.fromkeys(("site", "host_name", "vendor", "model", "architecture"), str),
        **dict.fromkeys(("framework", "framework_version", "driver_version"), str),
        **dict.fromkeys(("count", "vram", "timeout"), int),
    },
}
NEEDED = {
    STATUS_CALL: {"worker_id", "harvester_id", "status"},
    NODE_CALL: {"site", "host_name", "cpu_model"},
    GPU_CALL: {"site", "host_name", "vendor", "model", "count"},
}
WIDTHS = {
    "node_id": 80,
    **dict.fromkeys(("site", "host_name", "cpu_model", "panda_queue", "vendor", "model"), 128),
    **dict.fromkeys(("cpu_architecture", "cpu_architecture_level", "framework_version", "driver_version"), 20),
}
OLD_FIELDS = {"site", "workerID", "harvesterID", "status", "timeout", "node_id"}
CUT = object()
WORKER = Worker(queue="SITE_MCORE", node="slot1_3@wn17.example.org", harvester="hv", number=987654)
QUEUE = Queue(name="SITE_MCORE", params={"site": "SITE"})
ROME = Cpu(
    model="AMD EPYC 7702 64-Core Processor",
    architecture="x86_64",
    level="x86-64-v3",
    logical=128,
    sockets=2,
    cores_per_socket=64,
    threads_per_core=1,
    clock_mhz=2000,
)
A100 = Gpu(
    vendor="NVIDIA",
    model="A100-SXM4-80GB",
    count=4,
    vram_b=81920 << 20,
    architecture="Ampere",
    framework="CUDA",
    framework_version="12.4",
    driver_version="550.54.15",
)


@define
class Server:
    """Everything that was said; ``orders`` are answered first: a status with a body, or the line is cut."""

    requests: list = field(factory=list)
    orders: list = field(factory=list)
    unknown: set = field(factory=set)
    old: bool = False

    def answer(self, path, body):
        if path == OLD:
            return self.answer_old(body)
        if self.old or path not in TAKEN:
            return 404, b"Not Found"
        for name, value in body.items():
            if name not in TAKEN[path] or name in self.unknown:
                return no(f"Argument error: got an unexpected keyword argument '{name}'")
            if not isinstance(value, TAKEN[path][name]) or isinstance(value, bool):
                return no(f"Type error: '{name}' must be of type {TAKEN[path][name]}, got {type(value)}.")
            if len(str(value).encode()) > WIDTHS.get(name, 1000):
                return no("Database error")
        if NEEDED[path] - body.keys() or body.get("status", "started") not in ("started", "finished"):
            return no("Argument error: missing, or Invalid worker state")
        return 200, {"success": True, "message": "Inserted new worker node.", "data": None}

    def answer_old(self, body):
        if not self.old:
            return 403, b"ERROR : method updateWorkerPilotStatus is forbidden"
        if body.keys() - OLD_FIELDS or body["status"] not in ("started", "finished"):
            return 200, b"The worker state has to be one of these"
        return 200, {"StatusCode": 0}

    def said(self, path):
        return [body for each, body in self.requests if each == path]


def no(message):
    return 200, {"success": False, "message": message, "data": None}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        data = self.rfile.read(int(self.headers["Content-Length"])).decode()
        form = self.headers["Content-Type"] == "application/x-www-form-urlencoded"
        assert form or self.headers["Content-Type"] == "application/json"
        assert self.headers["Accept"] == "application/json"
        body = {name: value for name, [value] in parse_qs(data).items()} if form else json.loads(data)
        server = self.server.panda
        server.requests.append((self.path, body))
        order = server.orders.pop(0) if server.orders else None
        if order is CUT:
            self.close_connection = True
            return
        status, told = order or server.answer(self.path, body)
        data = told if isinstance(told, bytes) else json.dumps(told).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *about):
        pass


@pytest.fixture
def listening():
    """A server that listens."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.panda = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def server(listening):
    """What it heard and what it is to answer."""
    return listening.panda


@pytest.fixture
def reports(listening):
    """``reports(worker, dialects)``: reports to that server."""
    made = []

    def build(worker=WORKER, dialects=(V1,)):
        made.append(Web([f"http://127.0.0.1:{listening.server_port}"]))
        return NodeReports(made[-1], worker, lambda: dialects, ("site", "gstat"), limit_s=20.0)

    yield build
    for web in made:
        web.close()


@pytest.fixture
def facts(tmp_path):
    """``facts(cpu, gpus)``: a machine of which this is known."""

    def build(cpu=ROME, gpus=(), **more):
        made = NodeFacts(tmp_path, environ={"PATH": str(tmp_path)})
        vars(made).update({"cpu": cpu, "gpus": gpus, "memory_b": 515 << 30, "disk_b": (1800 << 30) + 7, **more})
        return made

    return build


# --- workers ----------------------------------------------------------------------------------------------------------


def test_a_worker_begins_and_ends_once_each(reports, server, facts):
    """server:U-18"""
    telling = reports()
    for _ in range(2):
        telling.started(QUEUE, facts())
        telling.ended()
    own = {"worker_id": "987654", "harvester_id": "hv", "node_id": "slot1_3@wn17.example.org"}
    assert server.said(STATUS_CALL) == [{**own, "status": "started"}, {**own, "status": "finished"}]
    assert len(server.said(NODE_CALL)) == 1


@pytest.mark.parametrize("changes", [{"harvester": ""}, {"number": None}, {"harvester": "", "number": None}])
def test_without_both_ids_nobody_hears_of_a_worker(reports, server, facts, changes):
    """server:U-18 (without the ids none)"""
    telling = reports(evolve(WORKER, **changes))
    telling.started(QUEUE, facts())
    telling.ended()
    assert server.said(STATUS_CALL) == []
    assert len(server.said(NODE_CALL)) == 1


def test_a_worker_may_have_the_number_0():
    assert status_report(evolve(WORKER, number=0), "started") is not None


@pytest.mark.parametrize(
    "trouble",
    [CUT, (500, b"oops"), (503, b"<html>"), no("Updating worker status timed out"), (200, b"no json")],
    ids=["cut", "500", "503", "timeout", "nonsense"],
)
def test_what_goes_wrong_is_tried_twice_and_never_more(reports, server, facts, caplog, trouble):
    """server:U-18 (never more than two attempts), server:U-17 (any error is ignored)"""
    telling = reports()
    server.orders = [trouble]
    telling.ended()
    assert len(server.said(STATUS_CALL)) == 2
    assert caplog.records == []
    server.orders = [trouble] * 10
    telling.started(QUEUE, facts(gpus=(A100,)))
    assert [len(server.said(path)) for path in (STATUS_CALL, NODE_CALL, GPU_CALL)] == [4, 2, 2]
    assert [record.levelno for record in caplog.records if record.name.endswith("panda.node")] == [logging.WARNING]


def test_nobody_listens(reports, listening, facts, caplog):
    telling = reports()
    listening.shutdown()
    listening.server_close()
    telling._limit_s = 0.5
    assert telling.started(QUEUE, facts())["cpu"]["sockets"] == 2
    telling.ended()
    assert len([record for record in caplog.records if record.name.endswith("panda.node")]) == 1


@pytest.mark.parametrize(
    "refusal", [(403, b"ERROR : token authentication failed"), no("production or pilot role required")]
)
def test_an_identity_that_is_refused_is_not_shown_again(reports, server, facts, caplog, refusal):
    """server:A-14 (the request is not repeated with this token)"""
    server.orders = [refusal] * 5
    reports().started(QUEUE, facts(gpus=(A100,)))
    assert len(server.requests) == 1
    assert "work goes on without it" in caplog.text


def test_a_node_with_a_long_name_is_cut(reports, server):
    long = evolve(WORKER, node="slot1@" + "ä" * 90)
    reports(long).ended()
    assert server.said(STATUS_CALL)[0]["node_id"] == "slot1@" + "ä" * 37


# --- older servers ----------------------------------------------------------------------------------------------------


def test_an_old_server_hears_of_workers_alone(reports, server, facts, caplog):
    server.old = True
    telling = reports(dialects=(LEGACY,))
    telling.started(QUEUE, facts(gpus=(A100,)))
    telling.ended()
    own = {"site": "SITE_MCORE", "workerID": "987654", "harvesterID": "hv", "node_id": "slot1_3@wn17.example.org"}
    assert server.requests == [(OLD, {**own, "status": "started"}), (OLD, {**own, "status": "finished"})]
    assert caplog.records == []


def test_an_old_server_that_answers_with_a_bare_sentence(reports, server, caplog):
    server.old = True
    server.orders = [(200, b"The worker state is bad")] * 3
    reports(dialects=(LEGACY,)).ended()
    assert len(server.requests) == 2
    assert "The worker state is bad" in caplog.text


@pytest.mark.parametrize(
    ("old", "dialects", "paths"),
    [
        (True, (V1, LEGACY), [STATUS_CALL, OLD]),
        (False, (LEGACY, V1), [OLD, STATUS_CALL]),
        (True, (V1,), [STATUS_CALL]),
    ],
)
def test_the_second_attempt_is_in_the_other_dialect_if_the_server_wants_it(reports, server, old, dialects, paths):
    server.old = old
    reports(dialects=dialects).ended()
    assert [path for path, _ in server.requests] == paths


# --- nodes ------------------------------------------------------------------------------------------------------------


def test_a_node_and_its_gpus_are_told_once(reports, server, facts):
    """server:U-17"""
    other = evolve(A100, model="L40S", count=1, vram_b=None, framework_version="")
    reports().started(QUEUE, facts(gpus=(A100, other)))
    (node,) = server.said(NODE_CALL)
    assert node == {
        "site": "SITE",
        "host_name": "wn17.example.org",
        "cpu_model": "AMD EPYC 7702 64-Core Processor",
        "panda_queue": "SITE_MCORE",
        "n_logical_cpus": 128,
        "n_sockets": 2,
        "cores_per_socket": 64,
        "threads_per_core": 1,
        "cpu_architecture": "x86_64",
        "cpu_architecture_level": "x86_64-v3",
        "clock_speed": 2000.0,
        "total_memory": 527360,
        "total_local_disk": 1800,
    }
    assert isinstance(node["clock_speed"], float)
    first, second = server.said(GPU_CALL)
    assert first == {
        "site": "SITE",
        "host_name": "wn17.example.org",
        "vendor": "NVIDIA",
        "model": "A100-SXM4-80GB",
        "count": 4,
        "vram": 81920,
        "architecture": "Ampere",
        "framework": "CUDA",
        "framework_version": "12.4",
        "driver_version": "550.54.15",
    }
    assert second.keys() == first.keys() - {"vram", "framework_version"}


def test_a_node_of_which_little_is_known(reports, server, facts, caplog):
    reports().started(Queue(name="Q"), facts(Cpu(), memory_b=None, disk_b=None))
    own = {"site": "Q", "host_name": "wn17.example.org", "cpu_model": "unknown", "panda_queue": "SITE_MCORE"}
    assert server.said(NODE_CALL) == [own]
    assert caplog.records == []


@pytest.mark.parametrize(
    ("params", "site"),
    [
        ({"gstat": "GRID_SITE", "site": "SITE"}, "SITE"),
        ({"gstat": "GRID_SITE", "site": ""}, "GRID_SITE"),
        ({"gstat": 3}, "SITE_MCORE"),
    ],
)
def test_the_site_is_named_by_the_first_fact_that_names_one(reports, server, facts, params, site):
    reports().started(evolve(QUEUE, params=params), facts(gpus=(A100,)))
    assert [told["site"] for told in server.said(NODE_CALL) + server.said(GPU_CALL)] == [site, site]


def test_texts_are_cut_to_what_there_is_room_for(reports, server, facts, caplog):
    """server:U-17 (sizes)"""
    cpu = evolve(ROME, model="m" * 300, architecture="a" * 50, level="l" * 50, clock_mhz=float("inf"))
    gpu = evolve(A100, model="ü" * 100, framework_version="1" * 50, driver_version="2" * 50)
    reports().started(QUEUE, facts(cpu, (gpu,)))
    assert len(server.requests) == 3
    assert caplog.records == []
    assert "clock_speed" not in server.said(NODE_CALL)[0]


def test_a_field_that_a_server_does_not_know_is_left_out(reports, server, facts, caplog):
    server.unknown = {"cpu_architecture_level"}
    reports().started(QUEUE, facts())
    first, second = server.said(NODE_CALL)
    assert first.keys() - second.keys() == {"cpu_architecture_level"}
    assert caplog.records == []


@pytest.mark.parametrize("value", [True, "2.1", -1.0, float("nan"), None])
def test_a_fraction_is_a_number(value):
    assert fraction(value) is None
    assert isinstance(fraction(2100), float)


def test_without_a_server_the_payloads_report_carries_the_node(facts):
    """server:U-17 (in server-less mode they are in the job report)"""
    told = in_job_report({"files": {}}, WORKER, "SITE", facts(gpus=(A100,)))
    assert told.keys() == {"files", "worker_node", "worker_node_gpus"}
    assert (told["worker_node"]["n_sockets"], told["worker_node_gpus"][0]["count"]) == (2, 4)
    assert in_job_report({"a": 1}, WORKER, "SITE", facts()).keys() == {"a", "worker_node"}
    assert in_job_report({}, WORKER, "SITE", facts()) == {}


def test_every_word_that_is_said_is_one_that_the_server_has(facts):
    for words, path in ((STATUS, STATUS_CALL), (NODE, NODE_CALL), (GPU, GPU_CALL)):
        assert words.keys() <= TAKEN[path].keys()
    for report in (node_report(WORKER, "S", facts()), *gpu_reports(WORKER, "S", facts(gpus=(A100,)))):
        assert report.values.keys() == report.words.keys()
        assert fitted(report.words, report.values).keys() >= report.vital


# --- records ----------------------------------------------------------------------------------------------------------


def test_what_is_known_of_the_node_is_handed_back_for_records(reports, facts, tmp_path):
    (tmp_path / "apptainer").write_text("#!/bin/sh\necho apptainer version 1.3.4\n")
    (tmp_path / "apptainer").chmod(0o755)
    told = json.loads(json.dumps(reports().started(QUEUE, facts(gpus=(A100,)))))
    assert told["containers"] == [{"name": "apptainer", "path": f"{tmp_path}/apptainer", "version": "1.3.4"}]
    assert (told["cpu"]["level"], told["gpus"][0]["count"]) == ("x86-64-v3", 4)


def test_an_update_tells_of_processors_that_are_known_and_looks_for_none(facts, tmp_path):
    unasked = NodeFacts(tmp_path)
    assert cpu_fields(unasked) == {}
    assert vars(unasked).keys().isdisjoint({"cpu"})
    told = {"cpu_consumption_unit": "s+AMD EPYC 7702 64-Core Processor+AVX2", "cpu_architecture_level": "x86_64-v3"}
    assert cpu_fields(facts()) == told
