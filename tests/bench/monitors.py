"""What watching a large tree of processes costs: ``python tests/bench/monitors.py [--processes 1000] [--to FILE]``.

One whole look of a pilot's watch, with the monitors that run unless a site says otherwise, in CPU time of this process.
Nothing is asserted: a busy machine fails no test.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pilot_core.builtin.monitors.cores import Cores
from pilot_core.builtin.monitors.disk import Disk
from pilot_core.builtin.monitors.gpu import Gpus
from pilot_core.builtin.monitors.looping import Looping
from pilot_core.builtin.monitors.memory import Memory
from pilot_core.builtin.monitors.walltime import WallTime
from pilot_core.clock import SystemClock
from pilot_core.config.layers import Layer, Rank, Schema
from pilot_core.config.schema import CORE
from pilot_core.control.monitor import MonitorControl
from pilot_core.io.cgroup import Groups
from pilot_core.io.proctree import Tree
from pilot_core.model.job import Job
from pilot_core.model.queue import Queue
from pilot_core.plugins.drivers import Usable
from pilot_core.plugins.guard import PluginRef
from pilot_core.plugins.hooks import Hooks
from pilot_core.spec import payload

MONITORS = (Disk, WallTime, Memory, Looping, Gpus, Cores)
EVERY_S = 10.0
SHARE = 0.001
"""Of one core, at one sample every ``EVERY_S``: what it should cost at most."""
LOOKS = 15


@contextmanager
def a_tree(processes: int) -> Iterator[int]:
    """The number of a shell with so many children, all asleep."""
    script = f"i=1; while [ $i -lt {processes} ]; do sleep 600 & i=$((i+1)); done; echo ready; wait"
    with subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE, process_group=0) as shell:
        try:
            shell.stdout.readline()
            yield shell.pid
        finally:
            os.killpg(shell.pid, signal.SIGKILL)


def cost(do: object) -> float:
    """CPU seconds of doing something, a median, once the first time is over."""
    spent = []
    for _ in range(LOOKS):
        began = time.process_time()
        do()
        spent.append(time.process_time() - began)
    return statistics.median(spent[1:])


def measure(processes: int) -> dict[str, float]:
    with a_tree(processes) as pid, tempfile.TemporaryDirectory(prefix="pilot-bench-") as name:
        with Tree(pid) as tree:
            sample_s, pss_s = cost(tree.sample), cost(lambda: tree.sample(pss=True))
        groups = Groups.of()
        return {
            "control_group_s": cost(lambda: (groups.memory_used_b(), groups.memory_peak_b(), groups.oom_kills())),
            "sample_s": sample_s,
            "sample_with_pss_s": pss_s,
            "look_s": look_cost(pid, Path(name)),
        }


def look_cost(pid: int, top: Path) -> float:
    """A whole look, between two measurements of proportional memory."""
    workdir = top / "work"
    workdir.mkdir()
    (top / "work.control").mkdir()
    hooks = Hooks(payload)
    hooks.seal()
    usable = [Usable(PluginRef(each.name, "bench", "1"), each.name, each) for each in MONITORS]
    sections: Sequence[type] = (*CORE, *(each.options for each in MONITORS if each.options))
    settings = Schema(sections).merge(Layer(Rank.SITE, "bench", {"monitor": {"pss_s": 3600}}))
    control = MonitorControl(usable, hooks, SystemClock(), 60.0)
    watch = control.begin(Job(id="1"), Queue(name="q"), workdir, pid, settings)
    try:
        return cost(watch.look)
    finally:
        watch.end()


def main() -> None:
    parser = argparse.ArgumentParser(description="measure what monitoring costs")
    parser.add_argument("--processes", type=int, default=1000, help="in the tree (default 1000)")
    parser.add_argument("--to", type=Path, default=Path(".nox/monitors.json"), help="default .nox/monitors.json")
    options = parser.parse_args()
    figures = measure(options.processes)
    share = figures["look_s"] / EVERY_S
    for name, figure in figures.items():
        print(f"{name.removesuffix('_s'):<20}{figure * 1000:>9.3f} ms of CPU time")
    print(f"{'share of a core':<20}{share:>9.3%} at one look in {EVERY_S:g} s; at most {SHARE:.1%}")
    options.to.parent.mkdir(exist_ok=True)
    told = {"processes": options.processes, "load": os.getloadavg()[0], "figures": figures, "share": share}
    options.to.write_text(json.dumps(told, indent=2) + "\n")


if __name__ == "__main__":
    main()
