"""One server of a kind for all workers of a test run: the first starts it, it ends after the last has left.

``python -m tests.servers.shared KIND`` in the checkout starts one by hand and says where it is; Ctrl-C ends it.

The server belongs to a process of its own, the landlord. Its users hold a shared lock while they need it. The landlord
waits for the exclusive one, which the kernel gives it when all have left, even those that were killed.
"""

from __future__ import annotations

import fcntl
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import attrs
from attrs import frozen

ROOT = Path(__file__).resolve().parents[2]
READY = "ready"


@frozen
class Kind:
    """A kind of server: ``function`` of ``module`` gives one in a ``with``, as a value of the class ``value`` there."""

    module: str
    value: str
    function: str
    needs: tuple[str, ...] = ()

    def open(self, meeting: Path) -> AbstractContextManager[Any]:
        """One of our own, beside shared ones of what it needs."""
        return _with_needs(self._get(self.function), self.needs, meeting)

    def lacks(self) -> str:
        """Why there can't be one on this machine, and the way out; or nothing."""
        return str(self._get("lacks")()) or next(filter(None, (KINDS[need].lacks() for need in self.needs)), "")

    def load(self, facts: dict[str, object]) -> object:
        """The value that a landlord has told."""
        return self._get(self.value)(**facts)

    def _get(self, name: str) -> Callable[..., Any]:
        found: Callable[..., Any] = getattr(importlib.import_module(f"tests.servers.{self.module}"), name)
        return found


KINDS = {
    "pki": Kind("pki", "Pki", "pki"),
    "xrootd": Kind("xrootd", "XRootD", "anonymous"),
    "secured_xrootd": Kind("xrootd", "XRootD", "secured", ("pki",)),
    "webdav": Kind("webdav", "WebDav", "webdav", ("pki",)),
    "s3": Kind("s3", "S3", "s3"),
    "rucio": Kind("rucio", "Rucio", "rucio", ("pki", "xrootd", "secured_xrootd", "webdav")),
    "gcs": Kind("gcs", "Gcs", "gcs"),
    "slurm": Kind("slurm", "Slurm", "slurm"),
    "condor": Kind("condor", "Condor", "condor"),
}


@contextmanager
def shared(name: str, meeting: Path) -> Iterator[Any]:
    """The server of this kind that all have who come to one folder."""
    meeting.mkdir(parents=True, exist_ok=True)
    facts = meeting / f"{name}.json"
    with locked(meeting / f"{name}.users", fcntl.LOCK_SH):
        with locked(meeting / f"{name}.start", fcntl.LOCK_EX):
            if not facts.exists():
                start_landlord(name, meeting)
        yield KINDS[name].load(json.loads(facts.read_text()))


def start_landlord(name: str, meeting: Path) -> None:
    """Return when the server is there; if it does not come up, tell what it said."""
    log = meeting / f"{name}.log"
    command = [sys.executable, "-m", "tests.servers.shared", name, str(meeting)]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    quiet, pipe = subprocess.DEVNULL, subprocess.PIPE
    with log.open("w") as said:
        landlord = subprocess.Popen(
            command, stdin=quiet, stdout=pipe, stderr=said, text=True, env=env, start_new_session=True
        )
    assert landlord.stdout
    with landlord.stdout as words:
        if words.readline().strip() != READY:
            landlord.wait()
            raise RuntimeError(f"no server of the kind {name}:\n{log.read_text()}")
    landlord.returncode = 0  # it is to outlive us: nobody waits for it


def let(name: str, meeting: Path) -> None:
    """Be the landlord: have the server as long as it has users."""
    facts = meeting / f"{name}.json"
    with KINDS[name].open(meeting) as server:
        facts.write_text(json.dumps(told(server)))
        print(READY, flush=True)
        with locked(meeting / f"{name}.users", fcntl.LOCK_EX):
            facts.unlink(missing_ok=True)  # who comes now starts another


def told(server: Any) -> dict[str, object]:
    """A server as JSON can hold it; its processes stay with its landlord."""
    facts = attrs.asdict(server, recurse=False, filter=lambda attribute, _: attribute.name != "daemons")
    return {name: str(value) if isinstance(value, Path) else value for name, value in facts.items()}


@contextmanager
def locked(path: Path, kind: int) -> Iterator[None]:
    """Have such a lock on a file, which is there from then on."""
    with path.open("a") as file:
        fcntl.flock(file, kind)
        yield


@contextmanager
def _with_needs(function: Callable[..., Any], needs: tuple[str, ...], meeting: Path) -> Iterator[Any]:
    with ExitStack() as leaving:
        there = [leaving.enter_context(shared(need, meeting)) for need in needs]
        yield leaving.enter_context(function(*there))


def show(name: str) -> None:
    """Have a server until Ctrl-C, and say where it is."""
    if lack := KINDS[name].lacks():
        sys.exit(lack)
    with tempfile.TemporaryDirectory(prefix="pilot-test-") as meeting, KINDS[name].open(Path(meeting)) as server:
        print(server, flush=True)
        signal.pause()


def stop(number: int, frame: object) -> None:
    """Leave all we are in."""
    sys.exit(f"ended by signal {number}")


if __name__ == "__main__":
    for ending in (signal.SIGTERM, signal.SIGINT):
        signal.signal(ending, stop)
    if len(sys.argv) == 3:
        let(sys.argv[1], Path(sys.argv[2]))
    elif sys.argv[1:] and sys.argv[1] in KINDS:
        show(sys.argv[1])
    else:
        sys.exit(f"which of {', '.join(KINDS)}?")
