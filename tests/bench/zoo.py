"""A zoo of payloads that get on, or do not, and what the monitor "looping" makes of each; run, it prints that.

Every animal is a real process, measured as payloads are. Only time is pretended: it passes in steps, and whoever gets
on does in each what it would do in ``STEP_S``, so that no verdict depends on who is faster.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from attrs import frozen

from pilot_core.builtin.monitors.looping import Looping
from pilot_core.config.layers import Layer, Rank, Schema
from pilot_core.config.schema import CORE
from pilot_core.control.monitor import used
from pilot_core.io.proctree import Tree
from pilot_core.model.job import Job
from pilot_core.model.payload import Usage
from pilot_core.model.queue import Queue
from pilot_core.sdk import View

STEP_S = 10.0
LIMIT_S = 120.0
STEPS = 13
PROGRESS = "progress"
LONG_AGO = (0.0, 0.0)

BEGIN = """
import os, socket, subprocess, sys, threading, time
def burn(cpu_s):
    end = time.process_time() + cpu_s
    while time.process_time() < end: pass
def steps(do):
    print("ready", flush=True)
    for line in sys.stdin:
        do()
        print("done", flush=True)
"""


@frozen
class Animal:
    """A payload: its program, and whether it gets on; one that moves answers in each step."""

    name: str
    program: str
    lives: bool
    moves: bool = True


ANIMALS = (
    Animal("spins for ever and writes nothing", "steps(lambda: burn(0.15))", lives=False),
    Animal(
        "waits for its own lock (deadlock)",
        "lock = threading.Lock(); lock.acquire(); print('ready', flush=True); lock.acquire()",
        lives=False,
        moves=False,
    ),
    Animal(
        "looks for a file that never comes, once a second",
        "steps(lambda: [os.path.exists('never') for _ in range(10)])",
        lives=False,
    ),
    Animal(
        "waits for an answer from afar that never comes",
        "here, there = socket.socketpair(); print('ready', flush=True); here.recv(1)",
        lives=False,
        moves=False,
    ),
    Animal(
        "waits uninterruptibly, as for a dead file system",
        "os.mkfifo('pipe')\n"
        "if not os.fork():\n"
        "    while open(f'/proc/{os.getppid()}/stat').read().split()[2] != 'D': time.sleep(0.01)\n"
        "    print('ready', flush=True); os._exit(0)\n"
        "os.posix_spawn('/bin/true', ['true'], {}, file_actions=[(os.POSIX_SPAWN_OPEN, 0, 'pipe', os.O_RDONLY, 0)])",
        lives=False,
        moves=False,
    ),
    Animal(
        "computes and writes",
        "file = open('out', 'wb', buffering=0); steps(lambda: (burn(0.15), file.write(bytes(1 << 20))))",
        lives=True,
    ),
    Animal(
        "reads slowly, 20 kB a second",
        "zeros = open('/dev/zero', 'rb', buffering=0); steps(lambda: [zeros.read(20_000) for _ in range(10)])",
        lives=True,
    ),
    Animal(
        "hears little from afar, 100 times a second",
        "here, there = socket.socketpair()\n"
        "def echo():\n"
        "    while word := there.recv(1): there.send(word)\n"
        "threading.Thread(target=echo, daemon=True).start()\n"
        "steps(lambda: [(here.send(b'x'), here.recv(1)) for _ in range(1000)])",
        lives=True,
    ),
    Animal(
        "sleeps for hours, and is right to", "print('ready', flush=True); time.sleep(36000)", lives=True, moves=False
    ),
)
NAMES = tuple(animal.name for animal in ANIMALS)
SETTINGS: Mapping[str, Mapping[str, object]] = {
    "as it comes": {},
    "`looping.spin_s`": {"spin_s": LIMIT_S},
    "`looping.progress`": {"progress": PROGRESS},
}


@contextmanager
def started(animal: Animal, workdir: Path) -> Iterator[subprocess.Popen[str]]:
    """The animal, ready."""
    argv = [sys.executable, "-I", "-S", "-c", BEGIN + animal.program]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(argv, cwd=workdir, text=True, process_group=0, **pipes) as process:
        try:
            process.stdout.readline()
            yield process
        finally:
            os.killpg(process.pid, 9)


def step(animal: Animal, process: subprocess.Popen[str], progress: Path) -> None:
    """Let it do what it does in ``STEP_S``."""
    if animal.moves:
        process.stdin.write("go\n")
        process.stdin.flush()
        process.stdout.readline()
    if animal.lives and progress.exists():
        os.utime(progress)


def is_stopped(animal: Animal, **options: object) -> str | None:
    """What the monitor says when it stops the animal; nothing if it lets it go on."""
    settings = Schema((*CORE, Looping.options)).merge(
        Layer(Rank.SITE, "zoo", {"looping": {"limit_s": LIMIT_S, "stacks_s": 0, **options}})
    )
    monitor = Looping(settings)
    with tempfile.TemporaryDirectory(prefix="pilot-zoo-") as name:
        workdir = Path(name)
        progress = workdir / PROGRESS
        with started(animal, workdir) as process, Tree(process.pid) as tree:
            if options.get("progress"):
                progress.touch()
                os.utime(progress, LONG_AGO)
            usage = Usage()
            for number in range(STEPS):
                step(animal, process, progress)
                _forget_files(workdir)
                sample = tree.sample()
                usage, ran_s = used(sample, usage), (number + 1) * STEP_S
                view = View(
                    job=Job(id="1"),
                    queue=Queue(name="zoo"),
                    workdir=workdir,
                    usage=usage,
                    running_s=ran_s,
                    mono=1000 + ran_s,
                    pids=tuple(member.pid for member in sample.members),
                )
                if breach := monitor.look(view).breach:
                    return breach.detail
    return None


def _forget_files(workdir: Path) -> None:
    """Real files are always new, as little real time passes: only bytes tell here, and the progress file."""
    for path in workdir.iterdir():
        if path.name != PROGRESS:
            os.utime(path, LONG_AGO)


def verdicts() -> dict[str, dict[str, bool]]:
    """For each animal and setting, whether it is stopped."""
    return {
        animal.name: {name: is_stopped(animal, **options) is not None for name, options in SETTINGS.items()}
        for animal in ANIMALS
    }


def table(found: Mapping[str, Mapping[str, bool]]) -> str:
    """The verdicts as Markdown, wrong ones in bold, and what they add up to."""
    rows = [["a payload that ...", *SETTINGS], ["---"] * (len(SETTINGS) + 1)]
    for animal in ANIMALS:
        told = found[animal.name]
        rows.append([animal.name, *(_word(stopped, animal.lives) for stopped in told.values())])
    for what, lives in (("of those that are stuck", False), ("of those that get on", True)):
        all_of = [found[animal.name] for animal in ANIMALS if animal.lives == lives]
        rows.append([what, *(f"{sum(each[name] for each in all_of)} of {len(all_of)} stopped" for name in SETTINGS)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _word(stopped: bool, lives: bool) -> str:
    word = "stopped" if stopped else "goes on"
    return f"**{word}**" if stopped == lives else word


if __name__ == "__main__":
    print(table(verdicts()))
