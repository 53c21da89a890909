"""Measure what the keeper costs: ``python tests/bench/processes.py [--runs 50] [--tree 1000] [--folder DIR]``.

Printed is the time from the order to start ``/bin/true`` to its recorded status, beside ``os.posix_spawn`` of the same,
each by turns, and how long a large tree that ignores SIGTERM lives beyond its grace. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import os
import select
import statistics
import sys
import tempfile
import time
from pathlib import Path

from pilot_core.io.process import Cleared, Ended, OrphanPolicy, Processes, ProcessSpec, Released
from pilot_core.io.process_keeper import KeeperStarter

TRUE = ("/bin/true",)
GRACE_S = 2.0
CODE = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for _ in range({count} - 1):
    if not os.fork():
        signal.pause()
open("up", "w").close()
while True:
    signal.pause()
"""


def spec(control: Path, *argv: str) -> ProcessSpec:
    return ProcessSpec("payload", argv, {}, control, control / "out", control / "err")


def await_event(processes: Processes, kind: type) -> None:
    while not any(isinstance(event, kind) for event in processes.read()):
        select.select([processes], [], [])


def let_go(processes: Processes) -> None:
    processes.release()
    await_event(processes, Released)
    processes.close()


def spawned() -> float:
    began = time.perf_counter()
    os.waitpid(os.posix_spawn(TRUE[0], TRUE, {}), 0)
    return time.perf_counter() - began


def kept(processes: Processes, control: Path) -> float:
    began = time.perf_counter()
    processes.start(spec(control, *TRUE))
    await_event(processes, Ended)
    return time.perf_counter() - began


def start_and_reap(starter: KeeperStarter, control: Path, runs: int) -> None:
    processes = starter.open("start", control, OrphanPolicy(), GRACE_S)
    kept(processes, control)
    pairs = [(spawned(), kept(processes, control)) for _ in range(runs)]
    let_go(processes)
    alone, through = (1000 * statistics.median(column) for column in zip(*pairs, strict=True))
    print(f"/bin/true: {alone:.2f} ms by posix_spawn, {through:.2f} ms through the keeper: {through / alone:.1f} times")


def stop_tree(starter: KeeperStarter, control: Path, count: int) -> None:
    processes = starter.open("stop", control, OrphanPolicy(), GRACE_S)
    processes.start(spec(control, sys.executable, "-I", "-S", "-c", CODE.format(count=count)))
    while not (control / "up").exists():
        time.sleep(0.05)
    began = time.perf_counter()
    processes.end(GRACE_S)
    await_event(processes, Cleared)
    beyond_s = time.perf_counter() - began - GRACE_S
    let_go(processes)
    print(f"{count} processes that ignore SIGTERM: over {beyond_s:.2f} s after the grace")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--tree", type=int, default=1000)
    parser.add_argument("--folder", type=Path, help="where a job's record is written, as on a node")
    asked = parser.parse_args()
    starter = KeeperStarter()
    with tempfile.TemporaryDirectory(dir=asked.folder) as name:
        for folder in ("start", "stop"):
            (Path(name) / folder).mkdir()
        start_and_reap(starter, Path(name) / "start", asked.runs)
        stop_tree(starter, Path(name) / "stop", asked.tree)
        starter.close()


if __name__ == "__main__":
    main()
