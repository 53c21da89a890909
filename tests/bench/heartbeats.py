"""Measure what heartbeats cost: ``python tests/bench/heartbeats.py [--pilots 1000] [--rounds 3]``.

As many jobs as there would be pilots are told of through one communicator that shows a token, to a server in a process
of its own, one update a request and then many. Printed is the CPU time of this process for each, and that of a thousand
by what importing the core's libraries takes here, as machines differ: the goal is 1.0 ms where that is 0.13 s, and so
7.7 times that much anywhere. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import gzip
import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory

from attrs import evolve

from pilot_core.builtin.panda import Panda
from pilot_core.builtin.panda.reading import read_job
from pilot_core.config.layers import Layer, Rank, Schema
from pilot_core.config.schema import CORE
from pilot_core.sdk import RUNNING, Job, Update, Usage

DONE = {"success": True, "message": "", "data": {"StatusCode": 0, "command": "NULL"}}
USED = Usage(rss_b=5 << 30, rss_peak_b=9 << 30, cpu_user_s=3600.4, cpu_system_s=12.5, processes=40, disk_b=10**9)
BUSY = 16
IMPORTS = "import requests, attrs, pluggy, stevedore, psutil, yaml, time; print(time.process_time())"


class Handler(BaseHTTPRequestHandler):
    """Takes every update."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers["Content-Encoding"] == "gzip":
            data = gzip.decompress(data)
        told = {**DONE, "data": [DONE] * data.count(b'"job_id"')} if self.path.endswith("bulk") else DONE
        answer = json.dumps(told).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *about: object) -> None:
        pass


def serve() -> None:
    """The server: says its port and stays until nobody listens any more."""
    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listening.daemon_threads = True
    print(listening.server_port, flush=True)
    listening.serve_forever()


def a_job(number: int) -> Job:
    wire = {
        "PandaID": number,
        "attemptNr": 1,
        "transformation": "run.py",
        "jobPars": "-n 5",
        "coreCount": 8,
        "inFiles": "a,b",
        "scopeIn": "s,s",
        "outFiles": "o,log.tgz",
        "scopeOut": "s",
        "scopeLog": "s",
        "logFile": "log.tgz",
    }
    return evolve(read_job(wire), phase=RUNNING, usage=USED, times={RUNNING: 1_788_264_000.0})


def beat(talk: Panda, job: Job) -> None:
    talk.send(talk.compose(Update(job=job, final=False, at=1_788_267_600.0, node="host", log_tail="x" * 2000)))


def imports_ms() -> float:
    """CPU milliseconds that the core's libraries take to be imported, the best of three."""
    ask = [sys.executable, "-c", IMPORTS]
    return 1000 * min(float(subprocess.run(ask, capture_output=True, check=True).stdout) for _ in range(3))


def measure(url: str, token: Path, pilots: int, rounds: int, bulk: int) -> float:
    """CPU milliseconds for each update."""
    connection = {"url": [url], "token": str(token), "renewed_dir": str(token.parent / "renewed")}
    values = {"connection": connection, "panda": {"bulk": bulk, "node": "wn1", "log_url": "https://logs/1"}}
    talk = Panda(Schema((*CORE, Panda.options)).merge(Layer(Rank.SITE, "bench", values)))
    jobs = [a_job(number) for number in range(1, pilots + 1)]
    with ThreadPoolExecutor(BUSY if bulk > 1 else 2) as pool:
        list(pool.map(lambda job: beat(talk, job), jobs))
        begun = time.process_time()
        for _ in range(rounds):
            list(pool.map(lambda job: beat(talk, job), jobs))
        spent_s = time.process_time() - begun
    talk._web.close()
    return 1000 * spent_s / (rounds * pilots)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pilots", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--serve", action="store_true")
    asked = parser.parse_args()
    if asked.serve:
        serve()
        return
    start = [sys.executable, __file__, "--serve"]
    with TemporaryDirectory() as folder, subprocess.Popen(start, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        url, token = f"http://127.0.0.1:{server.stdout.readline().strip()}", Path(folder, "token")
        token.touch(0o600)
        token.write_text("a-token")
        whole_ms = imports_ms()
        for bulk in (1, 100):
            each_ms = measure(url, token, asked.pilots, asked.rounds, bulk)
            told = f"{each_ms:.3f} ms CPU, and of a thousand {1000 * each_ms / whole_ms:.1f} times that of the imports"
            print(f"{asked.pilots} jobs, {bulk} in a message: {told}")
        server.terminate()


if __name__ == "__main__":
    main()
