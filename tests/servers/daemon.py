"""A real server's process: on loopback ports of its own, awaited until it answers, ended with all it started."""

from __future__ import annotations

import contextlib
import http.client
import os
import random
import select
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

ABOVE, BELOW = 10_000, 30_000  # no outgoing connection takes a port from here, so a killed server finds its own again
SMALL_B = 8 << 20
START_S, STOP_S, LOOK_S = 45.0, 10.0, 0.05
KEPT = ("PATH", "LANG", "TMPDIR")


class Ports:
    """Free loopback ports, kept from other takers as long as this is open."""

    def __init__(self) -> None:
        self._kept = contextlib.ExitStack()

    def take(self) -> int:
        """One more; an abstract socket of its number says to the others that it is taken."""
        while True:
            port = random.randrange(ABOVE, BELOW)
            claim = self._kept.enter_context(socket.socket(socket.AF_UNIX))
            with contextlib.suppress(OSError), socket.socket() as door:
                door.bind(("127.0.0.1", port))
                claim.bind(f"\0port-of-a-test-server-{port}")
                return port

    def close(self) -> None:
        """Give them all back."""
        self._kept.close()


@contextlib.contextmanager
def ports(count: int) -> Iterator[tuple[int, ...]]:
    """So many ports."""
    with contextlib.closing(Ports()) as taken:
        yield tuple(taken.take() for _ in range(count))


@contextlib.contextmanager
def own_folder(kind: str) -> Iterator[Path]:
    """A folder that a server's user may pass through too, which a folder of pytest's is not."""
    folder = Path(tempfile.mkdtemp(prefix=f"pilot-test-{kind}-"))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Daemon:
    """A process with a process group of its own, that ends with the one who started it whatever happens to that.

    As root it runs as ``user``, if one is named, after what ``before`` prepares. ``answers`` is asked until it says
    yes; connection errors mean no.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        log: Path,
        answers: Callable[[], bool],
        *,
        user: str = "",
        before: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        stop: signal.Signals = signal.SIGTERM,
    ) -> None:
        self.name, self.log, self._answers, self._stop = name, log, answers, stop
        self._command = [*before, *as_user(user), *map(str, command)]
        self._env = {**{key: os.environ[key] for key in KEPT if key in os.environ}, **(env or {})}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """That of the running process."""
        assert self._process, f"{self.name} was not started"
        return self._process.pid

    def start(self) -> None:
        """Start it, and return as soon as it answers."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env=self._env, cwd=self.log.parent, start_new_session=True,
            )  # fmt: skip
        try:
            self._await_answer(self.pid)
        except BaseException:
            self.end()
            raise

    def kill(self) -> None:
        """End it and all its children as a crash of the machine would."""
        if self._process:
            os.killpg(self._process.pid, signal.SIGKILL)  # not yet waited for: the number is still its own
            self._process.wait()
            self._process = None

    def end(self) -> None:
        """Ask it to end, and kill what is left."""
        if self._process:
            os.killpg(self._process.pid, self._stop)
            ends_within(self._process.pid, STOP_S)
        self.kill()

    def _await_answer(self, pid: int) -> None:
        until = time.monotonic() + START_S
        while not says_yes(self._answers):
            if ends_within(pid, LOOK_S):
                raise RuntimeError(f"{self.name} ended; it said:\n{self.last_words()}")
            if time.monotonic() > until:
                raise RuntimeError(f"{self.name} gives no answer after {START_S:g} s; it said:\n{self.last_words()}")

    def last_words(self) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-3000:]


@contextlib.contextmanager
def running(*daemons: Daemon) -> Iterator[None]:
    """Start these in order; end them in the other order."""
    with contextlib.ExitStack() as leaving:
        for daemon in daemons:
            daemon.start()
            leaving.callback(daemon.end)
        yield


def ends_within(pid: int, limit_s: float) -> bool:
    """Whether a child of ours ends so soon. It still has to be waited for."""
    door = os.pidfd_open(pid)
    try:
        return bool(select.select([door], [], [], limit_s)[0])
    finally:
        os.close(door)


def as_user(user: str) -> list[str]:
    """What stands before a command that dies with its parent and, where we are root, runs as another."""
    dies = ["setpriv", "--pdeathsig", "KILL"]
    if user and os.geteuid() == 0:
        return [*dies, "--reuid", user, "--regid", user, "--init-groups", "--"]
    return [*dies, "--"]


def on_small_disk(folder: Path, size_b: int) -> list[str]:
    """What stands before a command to put a disk of so many bytes there. Nobody else sees it, it ends with them."""
    mount = 'mount -t tmpfs -o "size=$0,mode=1777" small "$1" && shift && exec "$@"'
    return ["unshare", "--mount", "sh", "-c", mount, str(size_b), str(folder)]


def lacks_small_disk() -> str:
    """Why there can't be one: a container may have taken even root's right to mount."""
    may = os.geteuid() == 0 and not subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode
    return "" if may else "needs root and the right to mount: a small disk is a mount"


def give(user: str, *paths: Path) -> None:
    """Make them the user's own, where we are root."""
    if os.geteuid() == 0:
        for path in paths:
            shutil.chown(path, user, user)


def says_yes(question: Callable[[], bool]) -> bool:
    """The answer, which is no as long as nobody answers."""
    try:
        return question()
    except (OSError, http.client.HTTPException):
        return False


def listens(*doors: int) -> Callable[[], bool]:
    """Whether connections are taken at all these ports."""

    def ask() -> bool:
        for port in doors:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
        return True

    return ask


def serves(port: int, path: str = "/", *, tls: bool = False, status: int = 200) -> Callable[[], bool]:
    """Whether an HTTP server answers with this status."""

    def ask() -> bool:
        line: http.client.HTTPConnection
        if tls:
            unchecked = ssl.create_default_context()
            unchecked.check_hostname, unchecked.verify_mode = False, ssl.CERT_NONE
            line = http.client.HTTPSConnection("127.0.0.1", port, timeout=5, context=unchecked)
        else:
            line = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        with contextlib.closing(line):
            line.request("GET", path)
            return line.getresponse().status == status

    return ask
