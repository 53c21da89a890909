"""The Services API: a benchmark of the node, a command's memory watched, and what a series tells.

``benchmark()`` and ``watch()`` block; ``abenchmark()`` and ``awatch()`` are the same as coroutines. ``fit``,
``outliers`` and ``growth`` are pure. No pilot needs to run.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final

from attrs import frozen

from pilot_core.api.analytics import Line, fit, growth, outliers
from pilot_core.api.watching import Point, Watch, Watched, awatch, watch

__all__ = [
    "Benchmark",
    "BenchmarkFailed",
    "Line",
    "Point",
    "Watch",
    "Watched",
    "abenchmark",
    "awatch",
    "benchmark",
    "benchmark_with",
    "fit",
    "growth",
    "outliers",
    "watch",
]

ROUNDS: Final = 7
LIMIT_S: Final = 3600.0
_NUMBER: Final = re.compile(r"[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")


class BenchmarkFailed(Exception):
    """A benchmark gave no number; the message says why."""


@frozen(kw_only=True)
class Benchmark:
    """How fast processors are: ``score`` rounds in a second of CPU time, of all copies together."""

    score: float
    copies: int
    rounds: int
    spread: float
    """Between the fastest round and the slowest, in parts of the median: much of it, and the node was not quiet."""
    busy: float
    """CPU time in parts of the time that went by: less than 1, and somebody else had the processor meanwhile."""


def benchmark(*, copies: int = 1, rounds: int = ROUNDS) -> Benchmark:
    """Do the same work several times, in so many processes at a time, each of which must be a fresh interpreter.

    The median round counts, in CPU time. Scores of one kind of interpreter are comparable.
    """
    command = [sys.executable, "-I", "-S", str(Path(__file__).with_name("load.py")), str(rounds)]
    began_s = time.monotonic()
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(copies)]
    said = [process.communicate()[0] for process in running]
    passed_s = time.monotonic() - began_s
    if any(process.returncode for process in running):
        raise BenchmarkFailed(f"the benchmark's process ended with {[each.returncode for each in running]}")
    taken = [[float(line) for line in text.split()] for text in said]
    all_s = [each for rounds_s in taken for each in rounds_s]
    return Benchmark(
        score=sum(1 / median(rounds_s) for rounds_s in taken),
        copies=copies,
        rounds=rounds,
        spread=(max(all_s) - min(all_s)) / median(all_s),
        busy=min(1.0, sum(all_s) * (rounds + 1) / rounds / copies / passed_s),
    )


async def abenchmark(**how: Any) -> Benchmark:
    """``benchmark()`` in a thread of its own."""
    import asyncio

    return await asyncio.to_thread(benchmark, **how)


def benchmark_with(command: Sequence[str], *, limit_s: float = LIMIT_S) -> float:
    """Run another benchmark: the last number that it prints is its score."""
    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, timeout=limit_s, text=True, errors="replace", check=False
        )
    except OSError as error:
        raise BenchmarkFailed(f"{command[0]} cannot be run: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise BenchmarkFailed(f"{command[0]} was not done after {limit_s:g} s") from None
    found = _NUMBER.findall(done.stdout)
    if done.returncode or not found:
        why = f"ended with {done.returncode}" if done.returncode else "printed no number"
        raise BenchmarkFailed(f"{command[0]} {why}; a benchmark prints its score last")
    return float(found[-1])
