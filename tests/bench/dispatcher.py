"""Measure dispatcher and pilot together: ``python tests/bench/dispatcher.py [--many 10000 --pilots 4] [--to FOLDER]``.

Figures, facts about the machine, and memory over time as CSV and SVG go to a folder. Nothing is asserted of the speed,
but that of many jobs none was lost and none ran twice.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import field, frozen
from bench import LIBRARIES, PILOT, Spent, machine, payload_alone, spend, status_of

from pilot_core.io.http import Web
from pilot_core.report.plot import Line, plot
from pilot_core.report.units import BYTES

TRUE = {"script": "echo > out.txt", "outputs": ["out.txt"], "log": "log.tgz"}
JOBS = "/dispatcher/v1/jobs"
STYLE = """<style>text{font:9px sans-serif}.grid{stroke:#ddd}.axis{stroke:#888}.line,.dot{fill:none;stroke:#36c}
.line0{stroke:#c33;stroke-width:2}</style>"""
TICK_S = os.sysconf("SC_CLK_TCK")


@frozen
class Served:
    """A dispatcher with a home of its own."""

    top: Path
    url: str
    process: subprocess.Popen[str]

    @property
    def home(self) -> Path:
        return self.top / "home"

    def web(self) -> Web:
        return Web((self.url,), token=self.home / "tokens" / "submit")

    def submit(self, count: int, **more: object) -> None:
        """So many trivial jobs."""
        description = {"id": "trivial", **TRUE, **more}
        asked = {"queue": "local", "jobs": [{"description": description, "count": count}]}
        web = self.web()
        answer = web.call("POST", "/dispatcher/v1/submit", json=asked)
        web.close()
        if answer.status != 200:
            sys.exit(f"the dispatcher refused: {answer.body.decode()}")

    def command(self, work: str, *more: str, url: str = "") -> list[str | Path]:
        """The command of a pilot that works for it."""
        line: list[str | Path] = [PILOT, "run", "--queue", "local", "--url", url or self.url]
        line += ["--token-file", self.home / "tokens" / "run", "--workdir", self.top / work]
        for each in ("pilot.communicator=panda", "connection.info_sources=server", "pilot.empty_answers=1", *more):
            line += ["--set", each]
        return line


@contextmanager
def a_dispatcher() -> Iterator[Served]:
    """A dispatcher that listens on loopback, in a fresh folder."""
    with tempfile.TemporaryDirectory(prefix="pilot-bench-") as name:
        top = Path(name)
        with open(top / "serve.log", "w", encoding="utf-8") as log:
            line = [PILOT, "serve", "--home", top / "home", "--json"]
            process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=log, text=True)
        assert process.stdout
        told = ""
        while not told.endswith("}\n"):
            told += process.stdout.readline()
        yield Served(top, json.loads(told)["url"], process)
        process.send_signal(signal.SIGTERM)
        process.communicate()


def cpu_s(pid: int) -> float:
    """CPU seconds of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK_S


def rss_b(pid: int) -> int:
    """Resident memory of a process; 0 once it is over."""
    try:
        return int(status_of(pid)["VmRSS"].split()[0]) * 1024
    except (FileNotFoundError, ProcessLookupError, KeyError):
        return 0


# --- one pilot --------------------------------------------------------------------------------------------------------


def work_off(served: Served, work: str, jobs: int, url: str = "") -> Spent:
    """A whole pilot with so many jobs."""
    served.submit(jobs)
    return spend(served.command(work, f"pilot.max_jobs={jobs}", url=url))


class Door:
    """A door in front of a dispatcher that counts who comes."""

    def __init__(self, url: str) -> None:
        self.count = 0
        self._to = ("127.0.0.1", int(url.rpartition(":")[2]))
        self._door = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._door.getsockname()[1]}"
        threading.Thread(target=self._welcome, daemon=True).start()

    def _welcome(self) -> None:
        while True:
            guest, _ = self._door.accept()
            self.count += 1
            beyond = socket.create_connection(self._to)
            for one, other in ((guest, beyond), (beyond, guest)):
                threading.Thread(target=_carry, args=(one, other), daemon=True).start()


def _carry(one: socket.socket, other: socket.socket) -> None:
    """Bring what one says to the other, until it has no more to say."""
    try:
        while data := one.recv(65536):
            other.sendall(data)
        other.shutdown(socket.SHUT_WR)
    except OSError:
        other.close()


def measure_one(runs: int, further: int) -> dict[str, float]:
    """The trivial job, and each one after it."""
    with a_dispatcher() as served:
        ones = [work_off(served, f"one{number}", 1) for number in range(runs)]
        before_s = cpu_s(served.process.pid)
        many = work_off(served, "many", 1 + further)
        dispatcher_s = (cpu_s(served.process.pid) - before_s) / (1 + further)
        door = Door(served.url)
        work_off(served, "counted", 1 + further, door.url)
    imports_cpu_s = statistics.median(spend([sys.executable, "-c", LIBRARIES]).cpu_s for _ in range(runs))
    one_s, one_cpu_s = (statistics.median(getattr(one, name) for one in ones) for name in ("wall_s", "cpu_s"))
    payload_s, payload_cpu_s = payload_alone(further)
    return {
        "imports_cpu_s": imports_cpu_s,
        "job_s": one_s,
        "job_cpu_s": one_cpu_s,
        "further_job_s": (many.wall_s - one_s) / further - payload_s,
        "further_job_cpu_s": (many.cpu_s - one_cpu_s) / further - payload_cpu_s,
        "connections": door.count,
        "dispatcher_cpu_s_per_job": dispatcher_s,
        "pilot_peak_mb": many.rss_kb / 1024,
    }


# --- many jobs --------------------------------------------------------------------------------------------------------


@frozen
class Sample:
    """How things stood at one moment of a long run."""

    at_s: float
    over: int
    dispatcher_b: int
    pilots_b: tuple[int, ...]

    def row(self) -> list[object]:
        return [round(self.at_s, 2), self.over, self.dispatcher_b, *self.pilots_b]


@frozen
class LongRun:
    """Many jobs, a dispatcher and some pilots."""

    jobs: int
    samples: list[Sample] = field(factory=list)

    def growth_b(self, look: Callable[[Sample], int]) -> float:
        """Bytes a job of growth, fitted over what comes after the first fifth."""
        steady = (each for each in self.samples if each.over >= self.jobs / 5 and all(each.pilots_b))
        points = [(each.over, look(each)) for each in steady]
        if len({over for over, _ in points}) < 2:
            return float("nan")
        return statistics.linear_regression(*zip(*points, strict=True)).slope

    def write(self, folder: Path) -> None:
        """The samples as a table and as a picture."""
        pilots = len(self.samples[0].pilots_b)
        with open(folder / "dispatcher-memory.csv", "w", newline="", encoding="utf-8") as file:
            names = [f"pilot{number}_b" for number in range(pilots)]
            csv.writer(file).writerows([["at_s", "over", "dispatcher_b", *names], *(s.row() for s in self.samples)])
        lines = [Line("dispatcher", [(each.at_s, each.dispatcher_b) for each in self.samples])]
        for number in range(pilots):
            points = [(each.at_s, each.pilots_b[number]) for each in self.samples if each.pilots_b[number]]
            lines.append(Line(f"pilot {number}", points))
        picture = plot(f"memory over {self.jobs} jobs", lines, BYTES).replace(">", f' xmlns="{SVG}">{STYLE}', 1)
        (folder / "dispatcher-memory.svg").write_text(picture, encoding="utf-8")


SVG = "http://www.w3.org/2000/svg"


def measure_many(jobs: int, pilots: int, folder: Path) -> dict[str, float]:
    """So many trivial jobs through one dispatcher."""
    with a_dispatcher() as served:
        ran, run = served.top / "ran", LongRun(jobs)
        served.submit(jobs, script=f"echo $PANDAID >> {ran}; echo > out.txt")
        before_s, began = cpu_s(served.process.pid), time.monotonic()
        lines = (served.command(f"work{number}") for number in range(pilots))
        crew = [subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for line in lines]
        pids = [each.pid for each in crew]
        spent = _watch(served, run, pids, began)
        wall_s, dispatcher_s = time.monotonic() - began, cpu_s(served.process.pid) - before_s
        for each in crew:
            each.wait()
        _check(served, jobs, ran)
        figures = listing(served)
    run.write(folder)
    print(f"memory over time: {folder / 'dispatcher-memory.svg'} and .csv")
    return {
        "many_jobs": jobs,
        "many_pilots": pilots,
        "many_s_per_job": wall_s / jobs,
        "many_pilot_cpu_s_per_job": spent / jobs,
        "many_dispatcher_cpu_s_per_job": dispatcher_s / jobs,
        "dispatcher_growth_b_per_job": run.growth_b(lambda sample: sample.dispatcher_b),
        "pilots_growth_b_per_job": run.growth_b(lambda sample: sum(sample.pilots_b)),
        "dispatcher_peak_mb": max(each.dispatcher_b for each in run.samples) / 2**20,
        "pilots_peak_mb": max(max(each.pilots_b) for each in run.samples) / 2**20,
        **figures,
    }


def _watch(served: Served, run: LongRun, pids: list[int], began: float) -> float:
    """Look twice a second until all jobs are over; the pilots' CPU seconds till then."""
    web, spent = served.web(), 0.0
    try:
        while True:
            told: Any = web.call("GET", JOBS, query={"limit": "1"}, repeat=True).json()
            over = sum(told["states"].get(state, 0) for state in ("finished", "failed", "cancelled"))
            at_s, held = time.monotonic() - began, tuple(map(rss_b, pids))
            run.samples.append(Sample(at_s, over, rss_b(served.process.pid), held))
            if over >= run.jobs or not any(held):
                return spent
            spent = sum(cpu_s(pid) for pid, rss in zip(pids, held, strict=True) if rss)
            time.sleep(0.5)
    finally:
        web.close()


def _check(served: Served, jobs: int, ran: Path) -> None:
    """Nothing lost, nothing twice."""
    states = Counter((job["state"], job["attempt"]) for job in _all_jobs(served))
    counts = Counter(ran.read_text(encoding="utf-8").split())
    if states != {("finished", 1): jobs} or len(counts) != jobs or set(counts.values()) != {1}:
        twice = [job for job, count in counts.items() if count > 1]
        sys.exit(f"of {jobs} jobs {len(counts)} ran, {len(twice)} of them more than once: {states}")


def _all_jobs(served: Served) -> Iterator[dict[str, Any]]:
    web, before = served.web(), 0
    while True:
        told: Any = web.call("GET", JOBS, query={"limit": "1000", "before": str(before)}).json()
        yield from told["jobs"]
        if not told["jobs"]:
            break
        before = told["jobs"][-1]["id"]
    web.close()


def listing(served: Served, runs: int = 20) -> dict[str, float]:
    """Milliseconds for an answer, with all the jobs there are."""
    web = served.web()
    asked = {
        "page_ms": ("/", {}),
        "list_ms": (JOBS, {"limit": "100"}),
        "list_failed_ms": (JOBS, {"limit": "100", "state": "failed"}),
        "list_text_ms": (JOBS, {"limit": "100", "text": "no such name"}),
        "queues_ms": ("/dispatcher/v1/queues", {}),
        "job_ms": (f"{JOBS}/1", {}),
    }
    figures = {name: _asked_ms(web, path, query, runs) for name, (path, query) in asked.items()}
    web.close()
    return figures


def _asked_ms(web: Web, path: str, query: dict[str, str], runs: int) -> float:
    took = []
    for _ in range(runs):
        began = time.monotonic()
        if web.call("GET", path, query=query).status != 200:
            sys.exit(f"{path} was refused")
        took.append((time.monotonic() - began) * 1000)
    return statistics.median(took)


#: CPU seconds by how many times those of the imports that stand for how fast a machine is.
PER_IMPORTS = ("job_cpu_s", "further_job_cpu_s", "dispatcher_cpu_s_per_job", "many_dispatcher_cpu_s_per_job")
#: CPU seconds of the imports on the machine for which the goals were set.
IMPORTS_CPU_S = 0.13


def per_imports(figures: dict[str, float]) -> dict[str, float]:
    """What can be compared between machines, and between hours of one that others use too."""
    told = {name: figures[name] / figures["imports_cpu_s"] for name in PER_IMPORTS if name in figures}
    return {f"{name.replace('_cpu_s', '_cpu')}_per_imports": figure for name, figure in told.items()}


#: What the figures should not exceed, on two quiet cores.
GOALS = {
    "job_s": 0.8,
    "job_cpu_s": 0.4,
    "further_job_s": 0.06,
    "further_job_cpu_s": 0.02,
    "dispatcher_cpu_s_per_job": 0.002,
    "many_dispatcher_cpu_s_per_job": 0.002,
    "dispatcher_growth_b_per_job": 4096,
    "pilots_growth_b_per_job": 4096,
    "page_ms": 50,
    "list_ms": 50,
}
GOALS |= per_imports({**GOALS, "imports_cpu_s": IMPORTS_CPU_S})


def main() -> None:
    parser = argparse.ArgumentParser(description="measure dispatcher and pilot together")
    parser.add_argument("--runs", type=int, default=7, help="runs of which the median counts (default 7)")
    parser.add_argument("--further", type=int, default=100, help="further jobs of one pilot (default 100)")
    parser.add_argument("--many", type=int, default=0, help="jobs of a long run (default: none, which is quicker)")
    parser.add_argument("--pilots", type=int, default=4, help="pilots of a long run (default 4)")
    parser.add_argument("--to", type=Path, default=Path(".nox"), metavar="FOLDER", help="default .nox")
    options = parser.parse_args()
    options.to.mkdir(exist_ok=True)
    facts = machine()
    figures = measure_one(options.runs, options.further)
    if options.many:
        figures |= measure_many(options.many, options.pilots, options.to)
    figures |= per_imports(figures)
    for name, figure in figures.items():
        goal = GOALS.get(name)
        print(f"{name:<42}{figure:>11.4f}" + (f"   at most {goal:.4g}" if goal else ""))
    told = {"machine": facts, "figures": figures, "goals": GOALS}
    (options.to / "bench-dispatcher.json").write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
