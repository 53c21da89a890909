"""A pilot as people run it: the installed command in a process of its own, in a directory of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

CLEAN = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR", "PYTHONPATH") if name in os.environ}


class Site:
    """A work directory, a box of jobs, a store, and pilots that use them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.work, self.box, self.store = root / "work", root / "box", root / "store"
        for directory in (self.work, self.box, self.store):
            directory.mkdir()
        self.pilots: list[subprocess.Popen[str]] = []

    def job(self, name: str, script: str, **more: object) -> Path:
        """Put a described job into the box."""
        described = {"id": name, "script": script, **more}
        path = self.box / f"{name}.json"
        path.write_text(json.dumps(described))
        return path

    def output(self, name: str, **more: object) -> dict[str, object]:
        """An output that goes into the store."""
        return {"name": name, "destination": str(self.store / name), **more}

    def start(self, *arguments: str, **environ: str) -> subprocess.Popen[str]:
        """Start the command."""
        pilot = subprocess.Popen(
            [sys.executable, "-m", "pilot_core", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**CLEAN, **environ},
            cwd=self.root,
        )
        self.pilots.append(pilot)
        return pilot

    def run(self, *settings: str, **environ: str) -> tuple[int, str]:
        """Let a pilot work on the box until it is done; its exit code and what it said."""
        pilot = self.start(*self.arguments(*settings), **environ)
        said, _ = pilot.communicate(timeout=60)
        return pilot.returncode, said

    def arguments(self, *settings: str) -> list[str]:
        """The command line of a pilot for this box."""
        sets = [word for setting in settings for word in ("--set", setting)]
        return ["run", "--filebox", str(self.box), "--workdir", str(self.work), *sets]

    def recover(self, **environ: str) -> tuple[int, str]:
        """Finish what dead pilots left."""
        pilot = self.start("recover", str(self.work), **environ)
        said, _ = pilot.communicate(timeout=60)
        return pilot.returncode, said

    def report(self, name: str) -> dict[str, object]:
        """What the box was told of a job in the end."""
        told: dict[str, object] = json.loads((self.box / "reports" / f"{name}.json").read_text())
        return told

    def await_file(self, path: Path, limit_s: float = 20.0) -> str:
        """The text of a file that a payload writes, as soon as it is there."""
        self.await_there(path, limit_s)
        until = time.monotonic() + limit_s
        while not (text := path.read_text()):
            assert time.monotonic() < until, f"{path} stays empty"
            time.sleep(0.02)
        return text

    def await_there(self, path: Path, limit_s: float = 20.0) -> None:
        """Wait until there is something by this name."""
        self.await_that(path.exists, limit_s)

    def await_that(self, holds: Callable[[], object], limit_s: float = 20.0) -> None:
        """Wait until something holds."""
        until = time.monotonic() + limit_s
        while not holds():
            assert time.monotonic() < until, f"{holds} does not hold"
            time.sleep(0.02)

    def close(self) -> None:
        """End whatever a test left running."""
        for pilot in self.pilots:
            if pilot.poll() is None:
                pilot.send_signal(signal.SIGKILL)
            if pilot.stdout and not pilot.stdout.closed:
                pilot.communicate()


def alive(pid: int) -> bool:
    """Whether a process runs, and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture
def new_site(tmp_path: Path):
    """Makes as many sites as a test wants, each in a directory of its own."""
    sites = []

    def make(name: str) -> Site:
        (tmp_path / name).mkdir()
        sites.append(Site(tmp_path / name))
        return sites[-1]

    yield make
    for each in sites:
        each.close()


@pytest.fixture
def site(new_site):
    return new_site("site")
