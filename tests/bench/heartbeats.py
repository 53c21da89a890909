"""Measure what heartbeats cost: ``python tests/bench/heartbeats.py [--pilots 1000] [--rounds 3]``.

As many jobs as there would be pilots are told of through one communicator, to a server in a process of its own, one
update a request and then many. Printed is the CPU time of this process for each; nothing is asserted.
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

from attrs import evolve

from pilot_core.builtin.panda import Panda
from pilot_core.builtin.panda.reading import read_job
from pilot_core.config.layers import Layer, Rank, Schema
from pilot_core.config.schema import CORE
from pilot_core.sdk import RUNNING, Job, Update, Usage

DONE = {"success": True, "message": "", "data": {"StatusCode": 0, "command": "NULL"}}
USED = Usage(rss_b=5 << 30, rss_peak_b=9 << 30, cpu_user_s=3600.4, cpu_system_s=12.5, processes=40, disk_b=10**9)
BUSY = 16


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


def measure(url: str, pilots: int, rounds: int, bulk: int) -> float:
    """CPU milliseconds for each update."""
    values = {"connection": {"url": [url]}, "panda": {"bulk": bulk, "node": "wn1", "log_url": "https://logs/1"}}
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
    with subprocess.Popen([sys.executable, __file__, "--serve"], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        url = f"http://127.0.0.1:{server.stdout.readline().strip()}"
        for bulk in (1, 100):
            print(
                f"{asked.pilots} jobs, {bulk} in a message: {measure(url, asked.pilots, asked.rounds, bulk):.3f} ms CPU"
            )
        server.terminate()


if __name__ == "__main__":
    main()
