"""The keeper itself: forks a tree when told to, and watches the pilot."""

from __future__ import annotations

import errno
import gc
import json
import os
import select
import signal
import socket
import time

from . import ADDRESS, FORMAT, LOG, SOCKET
from .hiding import libc
from .line import Line, write_line
from .process import DEAF_TO, exit_status, look, pin, send_signal
from .tree import NEVER, Ending, Policy, Tree, poll_ms

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, ClassVar, NoReturn

    Message = dict[str, Any]

STACKS_S = 2.0
DEATH_S = 2.0
PR_SET_CHILD_SUBREAPER = 36
PIDFD_GET_INFO = 0xC040FF0B
PIDFD_INFO_EXIT = 1 << 3


class Watch:
    """Counts the pilot's silence, but only while the keeper itself was awake: a frozen node is no hang."""

    def __init__(self, order: Message) -> None:
        self.every_s, self.missed = float(order["every_s"]), int(order["missed"])
        self.signal, self.stacks, self.record = int(order["signal"]), order["stacks"], order["record"]
        self.silent_s, self.looked = 0.0, time.monotonic()

    def look(self) -> bool:
        """Whether the pilot has been silent for too long."""
        now = time.monotonic()
        slept_s, self.looked = now - self.looked, now
        self.silent_s = self.silent_s + slept_s if slept_s < 2 * self.every_s else 0.0
        return self.silent_s >= self.missed * self.every_s

    def ping(self) -> None:
        self.silent_s, self.looked = 0.0, time.monotonic()

    def next_look(self) -> float:
        return self.looked + min(self.every_s, self.missed * self.every_s - self.silent_s)


class Keeper:
    """Serves one pilot, which is its parent, until that leaves, dies or hangs."""

    def __init__(self, fd: int, pilot: int) -> None:
        self.line = Line(socket.socket(fileno=fd))
        self.pilot, self.pilot_fd = look(pilot), pin(pilot)
        self.pid = pilot
        if os.getppid() != pilot:
            self.pilot, self.pilot_fd = None, -1
        self.watch: Watch | None = None
        self.serving = True

    def run(self) -> None:
        poller = select.poll()
        if self.pilot_fd >= 0:
            poller.register(self.pilot_fd, select.POLLIN)
        while self.serving:
            poller.register(self.line.sock, self.line.events())
            when = self.watch.next_look() if self.watch else NEVER
            self.wake({fd for fd, _ in poller.poll(poll_ms(when))})
            reap()

    def wake(self, ready: set[int]) -> None:
        if ready:
            self.listen()
        if not self.serving:
            return
        if self.pilot_fd in ready:
            self.bury_pilot()
        elif self.watch and self.watch.look():
            self.end_pilot(self.watch)

    def listen(self) -> None:
        try:
            self.line.flush()
            for order in self.line.read():
                self.obey(order)
        except OSError:
            self.bury_pilot()

    def obey(self, order: bytes) -> None:
        try:
            message = json.loads(order)
            self.ORDERS[message["op"]](self, message)
        except (LookupError, ValueError, TypeError, AttributeError) as error:
            self.line.send({"event": "error", "error": f"{type(error).__name__}: {error}"})

    def ping(self, _: Message) -> None:
        if self.watch:
            self.watch.ping()

    def set_watch(self, order: Message) -> None:
        self.watch = Watch(order)

    def bye(self, _: Message) -> None:
        self.serving = False

    def open_job(self, order: Message) -> None:
        facts, policy = {"job": order["job"]}, Policy(order)
        try:
            os.chdir(order["control"])
            listener, address = listen_here()
            pid = os.fork()
        except OSError as error:
            self.line.send({"event": "refused", **facts, "errno": error.errno, "error": str(error)})
            return
        if not pid:
            self.line.sock.close()
            guard(lambda: own_tree(listener, address, policy), LOG)
        os.chdir("/")
        listener.close()
        self.line.send({"event": "job", **facts, "pid": pid})

    ORDERS: ClassVar[dict[str, Callable[[Keeper, Message], None]]] = {
        "ping": ping,
        "watch": set_watch,
        "job": open_job,
        "bye": bye,
    }

    def bury_pilot(self) -> None:
        """It left without a word: write down how, if that can be known."""
        self.serving = False
        if not self.watch:
            return
        if self.pilot_fd >= 0:
            select.select([self.pilot_fd], [], [], DEATH_S)
        seen = look(self.pid)
        if not self.pilot or not seen or seen.identity != self.pilot.identity:
            write_record(self.watch.record, "died", self.pid, reaped_status(self.pilot_fd))
        elif seen.over:
            write_record(self.watch.record, "died", self.pid, exit_status(seen.exit_code))

    def end_pilot(self, watch: Watch) -> None:
        """Signals go to the parent only: it cannot be mistaken while it is the parent."""
        self.serving = False
        seen = look(self.pid)
        if not self.pilot or not seen or os.getppid() != self.pid:
            self.bury_pilot()
            return
        size = file_size(watch.stacks)
        send_signal(self.pilot.identity, watch.signal)
        dumped = wait_for_growth(watch.stacks, size)
        send_signal(self.pilot.identity, signal.SIGKILL)
        facts = {"silent_s": watch.silent_s, "state": seen.state, "stacks": dumped}
        write_record(watch.record, "hung", self.pid, {"status": None, "signal": int(signal.SIGKILL), **facts})


def reap() -> None:
    """Take note of ended trees, so that what they used is counted where it is asked for."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return


def own_tree(listener: socket.socket, address: str, policy: Policy) -> None:
    os.setsid()
    if libc().prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError("the kernel knows no sub-reapers")
    tree = Tree(listener, address, policy)
    try:
        tree.run()
    finally:
        if not tree.done:
            tree.kill(Ending(None, [], 0.0))


def listen_here() -> tuple[socket.socket, str]:
    """A socket in the current directory, or where none can be, in a private one whose name is left here."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    umask = os.umask(0o177)
    try:
        if listener.connect_ex(SOCKET) == 0:
            raise OSError(errno.EADDRINUSE, "another keeper serves this job", os.path.abspath(SOCKET))
        address = bind(listener)
        listener.listen(8)
        return listener, address
    except OSError:
        listener.close()
        raise
    finally:
        os.umask(umask)


def bind(listener: socket.socket) -> str:
    try:
        if os.path.exists(SOCKET):
            os.unlink(SOCKET)
        listener.bind(SOCKET)
        return SOCKET
    except OSError as error:
        if error.errno not in (errno.ENOTSUP, errno.EPERM, errno.EINVAL, errno.ENXIO):
            raise
    directory = f"/tmp/pilot-keeper-{os.urandom(8).hex()}"  # noqa: S108 -- private, and the name must be short
    os.mkdir(directory)
    os.chmod(directory, 0o700)
    address = f"{directory}/{SOCKET}"
    listener.bind(address)
    write_line(ADDRESS, {"format": FORMAT, "address": address}, os.O_TRUNC)
    return address


def reaped_status(pilot_fd: int) -> Message:
    """How the process ended, from kernels (6.15) that still know after its parent took the status."""
    import fcntl
    import struct

    info = bytearray(struct.pack("Q56x", PIDFD_INFO_EXIT))
    try:
        fcntl.ioctl(pilot_fd, PIDFD_GET_INFO, info)
    except (OSError, ValueError):
        return {"status": None, "signal": None}
    (known,), (code,) = struct.unpack_from("Q", info), struct.unpack_from("i", info, 60)
    return exit_status(code) if known & PIDFD_INFO_EXIT else {"status": None, "signal": None}


def write_record(path: str, why: str, pid: int, facts: Message) -> None:
    message = {"format": FORMAT, "event": "pilot", "why": why, "pid": pid, "at": time.time(), **facts}
    write_line(f"{path}.new", message, os.O_TRUNC)
    os.replace(f"{path}.new", path)


def file_size(path: str) -> int:
    return os.stat(path).st_size if os.path.exists(path) else 0


def wait_for_growth(path: str, size: int) -> bool:
    """Whether stacks arrived and are complete, which only the file can tell."""
    deadline = time.monotonic() + STACKS_S
    last = size
    while time.monotonic() < deadline:
        time.sleep(0.05)
        last, before = file_size(path), last
        if last == before > size:
            return True
    return last > size


def guard(work: Callable[[], None], log: str) -> NoReturn:
    """A process's entry: nothing gets past it, and what fails is written down."""
    code = 1
    try:
        work()
        code = 0
    except Exception:
        import traceback

        with open(log, "a") as file:
            traceback.print_exc(file=file)
    finally:
        os._exit(code)


def main(fd: int, pilot: int) -> NoReturn:
    for signum in DEAF_TO:
        signal.signal(signum, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.set_inheritable(fd, False)
    libc()
    gc.freeze()  # what is loaded stays: no collection in a forked tree writes to its pages
    guard(lambda: Keeper(fd, pilot).run(), "/dev/stderr")
