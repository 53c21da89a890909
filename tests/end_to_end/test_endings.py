"""Whatever ends a job early: it ends in order and in time, the server hears why, and what there is gets out."""

from __future__ import annotations

import io
import signal
import subprocess
import tarfile
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from attrs import frozen

from .cluster import PILOT, Cluster, gone

DECLARED_S = 25.0
"""What ``pilot.stop_s`` is when nobody says otherwise."""
SLACK_S = 25.0
"""For starting up, and for a machine that has other things to do."""
PAYLOAD = "echo begun; echo half > part.txt; echo $$ > {root}/pid; exec sleep 300"
DEAF = f"trap '' TERM INT; {PAYLOAD.removesuffix('exec sleep 300')} while :; do sleep 1; done"
NOTICE = b'{"action": "terminate", "time": "%s"}'


@pytest.fixture
def cluster(tmp_path):
    cluster = Cluster(tmp_path)
    cluster.configure()
    cluster.serve()
    yield cluster
    cluster.close()


@frozen
class Way:
    """How a job is ended: what is done, with which settings, and what comes of it."""

    number: int
    exit_code: int
    do: Callable
    settings: tuple[str, ...] = ()
    script: str = PAYLOAD


def sends(*signals):
    def do(cluster, pilot):
        for number, signum in enumerate(signals):
            time.sleep(0.5 * bool(number))
            pilot.send_signal(signum)

    return do


def cancels(cluster, pilot):
    assert cluster.command("cancel", "1").returncode == 0


def touches(cluster, pilot):
    (cluster.root / "work" / "pilot_kill_payload").touch()


def tells(text):
    def do(cluster, pilot):
        (cluster.root / "notice").write_text(text())

    return do


def waits(cluster, pilot):
    """Its time will come."""


def stops(cluster, pilot):
    assert subprocess.run([*PILOT, "stop", str(cluster.root / "work")], timeout=60).returncode == 0


def soon():
    return str(time.time() + 120)


NOTED = ("slot.notice={root}/notice", "slot.ask_s=0.2")
WATCHED = ("monitor.monitors=killfile", "monitor.sample_s=0.2")
WAYS = {
    "SIGTERM": Way(1201, 143, sends(signal.SIGTERM)),
    "SIGINT": Way(1208, 130, sends(signal.SIGINT)),
    "SIGQUIT": Way(1202, 131, sends(signal.SIGQUIT)),
    "SIGXCPU": Way(1204, 152, sends(signal.SIGXCPU)),
    "SIGUSR1": Way(1207, 138, sends(signal.SIGUSR1)),
    "SIGUSR2": Way(1201, 143, sends(signal.SIGUSR2)),
    "SIGHUP": Way(1201, 143, sends(signal.SIGHUP)),
    "SIGTERM twice": Way(1201, 143, sends(signal.SIGTERM, signal.SIGTERM), script=DEAF),
    "SIGINT, then SIGTERM": Way(1208, 130, sends(signal.SIGINT, signal.SIGTERM), script=DEAF),
    "deaf to SIGTERM": Way(1201, 143, sends(signal.SIGTERM), script=DEAF),
    "stop": Way(1201, 143, stops),
    "cancelled": Way(1144, 0, cancels),
    "kill file": Way(1363, 0, touches, WATCHED),
    "lifetime": Way(1213, 81, waits, ("pilot.lifetime_s=12", "pilot.stop_s=8")),
    "notice in a file": Way(1379, 143, tells(soon), NOTED),
    "notice for now": Way(1379, 143, tells(lambda: "TRUE"), NOTED),
}


def log_of(cluster):
    with tarfile.open(fileobj=io.BytesIO(cluster.stored("log.tgz"))) as log:
        member = next(each for each in log.getmembers() if each.name.endswith("payload.stdout"))
        return log.extractfile(member).read().decode()


def begin(cluster, way):
    cluster.submit(way.script.format(root=cluster.root), outputs=[{"name": "part.txt", "always": True}], log="log.tgz")
    settings = [each.format(root=cluster.root) for each in way.settings]
    return cluster.start("work", "report.heartbeat_s=0.5", *settings)


def ended(cluster, pilot, payload, way):
    """All that must be true when it is over."""
    pilot.wait(timeout=DECLARED_S + SLACK_S)
    code, said = cluster.end(pilot)
    assert "Traceback" not in said
    assert gone(payload, 0.0), said
    (attempt,) = cluster.job()["attempts"]
    assert (attempt["error"]["code"], code) == (way.number, way.exit_code), said
    assert log_of(cluster) == "begun\n"
    assert cluster.stored("part.txt") == b"half\n"


@pytest.mark.parametrize("how", WAYS)
def test_it_ends_in_order(cluster, how):
    """pilot:F01, F03, F04, F05, F06, F08, F12, G01, E23"""
    way = WAYS[how]
    pilot = begin(cluster, way)
    payload = int(cluster.await_file("pid"))
    way.do(cluster, pilot)
    ended(cluster, pilot, payload, way)


@contextmanager
def metadata():
    """A node's own server as a cloud has it: nothing, until the node is taken back."""
    told = []

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self):
            known = self.path == "/latest/meta-data/spot/instance-action" and self.headers["X-Asked-By"] == "pilot"
            self.send_response(200 if told and known else 404)
            self.end_headers()
            self.wfile.write(told[0] if told and known else b"<html>no</html>")

        def log_message(self, *about):
            pass

    with HTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/latest/meta-data/spot/instance-action", told
        server.shutdown()


def test_a_notice_of_the_nodes_own_server(cluster):
    with metadata() as (url, told):
        asked = (f"slot.notice={url}", "slot.notice_headers=X-Asked-By: pilot", "slot.ask_s=0.2")
        way = Way(1379, 143, waits, asked)
        pilot = begin(cluster, way)
        payload = int(cluster.await_file("pid"))
        told.append(NOTICE % time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 120)).encode())
        ended(cluster, pilot, payload, way)
