"""Measure what a verified copy costs: ``python tests/bench/copies.py [--size 2 GiB] [--runs 5] [--on /dev/shm]``.

The copy tool "local" brings a file and sums it in the same pass, in turns with ``cp``, which sums nothing; once with
the fastest library that is installed and once with Python's own zlib. The figures are ratios of the fastest runs, as
everything else on the machine only ever slows a run down.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench import machine

from pilot_copytools.local import Local, LocalOptions
from pilot_core.config.layers import Schema
from pilot_core.config.schema import CORE
from pilot_core.io import checksum
from pilot_core.io.cancel import CancelFlag
from pilot_core.sdk import FileSpec, Moving, Replica

GIB = 1 << 30
FASTEST, OWN = checksum._fastest_adler32, checksum.import_module("zlib").adler32
#: What the figures should be at least, on two quiet cores.
GOALS = {"with_checksum_extra_per_cp": 0.8, "without_per_cp": 0.75}


@contextmanager
def a_file(top: Path, size_b: int) -> Iterator[Path]:
    """A file of so many bytes, which compress to nothing and are all different, in a directory of its own."""
    with tempfile.TemporaryDirectory(prefix="pilot-bench-", dir=top) as name:
        path, block = Path(name) / "source", os.urandom(1 << 24)
        with open(path, "wb") as file:
            file.writelines(block for _ in range(0, size_b, len(block)))
            file.truncate(size_b)
        yield path


def by_cp(source: Path, target: Path) -> None:
    subprocess.run(["cp", source, target], check=True)


def by_tool(source: Path, target: Path) -> None:
    """What Data Control lets the tool do; the digest is of the very bytes that were written."""
    tool = Local(Schema([*CORE, LocalOptions]).merge())
    moved = tool.fetch(Replica(str(source)), target, FileSpec(lfn="f"), Moving(cancel=CancelFlag()))
    assert moved.summed
    assert moved.checksum


def without_extra(source: Path, target: Path) -> None:
    checksum._fastest_adler32 = lambda: OWN
    try:
        by_tool(source, target)
    finally:
        checksum._fastest_adler32 = FASTEST


def timed(copy: Callable[[Path, Path], None], source: Path) -> float:
    target = source.with_name("target")
    began = time.perf_counter()
    copy(source, target)
    took_s = time.perf_counter() - began
    target.unlink()
    return took_s


def measure(top: Path, size_b: int, runs: int) -> dict[str, float]:
    ways = {"cp": by_cp, "tool": by_tool, "plain": without_extra}
    with a_file(top, size_b) as source:
        turns = [{name: timed(copy, source) for name, copy in ways.items()} for _ in range(runs)]
    best_s = {name: min(turn[name] for turn in turns) for name in ways}
    speeds = {f"{name}_mb_per_s": size_b / best / 1e6 for name, best in best_s.items()}
    ratios = (best_s["cp"] / best_s["tool"], best_s["cp"] / best_s["plain"])
    return {**speeds, **dict(zip(GOALS, ratios, strict=True))}


def main() -> None:
    parser = argparse.ArgumentParser(description="measure a local copy that is verified")
    parser.add_argument("--size-gib", type=float, default=2.0, help="size of the file (default 2)")
    parser.add_argument("--runs", type=int, default=5, help="turns of which the fastest count (default 5)")
    parser.add_argument("--on", type=Path, default=Path("/dev/shm"), help="where, best a tmpfs (default /dev/shm)")
    parser.add_argument("--to", type=Path, default=Path(".nox/copies.json"), help="default .nox/copies.json")
    options = parser.parse_args()
    figures = measure(options.on, int(options.size_gib * GIB), options.runs)
    facts = {**machine(), "adler32": FASTEST().__module__}
    for name, figure in figures.items():
        goal = GOALS.get(name)
        print(f"{name:<28}{figure:>9.3f}" + (f"   at least {goal}" if goal else ""))
    options.to.parent.mkdir(exist_ok=True)
    options.to.write_text(json.dumps({"machine": facts, "figures": figures, "goals": GOALS}, indent=2) + "\n")


if __name__ == "__main__":
    main()
