"""What processes write to their output files, held to a limit."""

from __future__ import annotations

import contextlib
import os
import time

from .hiding import libc
from .process import open_output

TYPE_CHECKING = False
if TYPE_CHECKING:
    import select

EVERY_S = 1.0
IN_MODIFY = 2
POLLIN = 1
NEVER = float("inf")
CUT = b"\n[the output was longer than %d bytes and is cut here]\n"


class File:
    """An output file, by a descriptor, which it cannot escape from by another name."""

    def __init__(self, path: str, limit_b: int) -> None:
        self.path, self.limit_b, self.over = path, limit_b, False
        self.fd = open_output(path)

    def cut(self) -> bool:
        """Whether it is, or was, too long; what is beyond the limit is given back to the disk."""
        if os.fstat(self.fd).st_size > self.limit_b:
            self.over = True
            os.ftruncate(self.fd, self.limit_b)
        return self.over

    def close(self) -> None:
        if self.cut():
            with contextlib.suppress(OSError):
                os.write(self.fd, CUT % self.limit_b)
        os.close(self.fd)


class Sign:
    """A file that whoever begins writes to. It is held by a descriptor, and nobody sets a change time back."""

    def __init__(self, path: str) -> None:
        self.fd = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        self.before = self.stamp()

    def stamp(self) -> tuple[int, int, int]:
        about = os.fstat(self.fd)
        return about.st_size, about.st_nlink, about.st_ctime_ns

    def close(self) -> bool:
        """Whether it was given, whatever became of the file since."""
        given = self.stamp() != self.before
        os.close(self.fd)
        return given


class Outputs:
    """The output files of a job's processes. A write wakes us once a second at most, and silence never does."""

    def __init__(self, poller: select.poll) -> None:
        self.poller, self.fd, self.look_at = poller, -1, NEVER
        self.deaf = False
        self.files: dict[str, list[File]] = {}

    def hold(self, name: str, paths: list[str], limit_b: int) -> None:
        files = self.files[name] = []
        files.extend(File(path, limit_b) for path in paths)
        if self.fd < 0:
            self.fd = libc().inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        added = [libc().inotify_add_watch(self.fd, f"/proc/self/fd/{file.fd}".encode(), IN_MODIFY) for file in files]
        self.deaf = self.deaf or min(added) < 0
        self.listen()

    def listen(self, again: bool = False) -> None:
        """Wait for the next write; where the user has as many watches as the kernel grants, look without being told."""
        waits = self.files and (again or self.deaf)
        self.look_at = time.monotonic() + EVERY_S if waits else NEVER
        if not waits and self.fd >= 0:
            self.poller.register(self.fd, POLLIN)

    def hear(self) -> None:
        """Something was written: look a little later, and be deaf until then."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.fd, 65536)
        self.poller.unregister(self.fd)
        self.look_at = time.monotonic() + EVERY_S

    def look(self) -> dict[str, str]:
        """Files that are too long, by the names of their processes; they are cut, again and again if need be."""
        over = {name: file.path for name, files in self.files.items() for file in files if file.cut()}
        self.listen(again=bool(over))
        return over

    def let_go(self, name: str) -> str:
        """The file that was too long, if one was."""
        files = self.files.pop(name, [])
        for file in files:
            file.close()
        return next((file.path for file in files if file.over), "")
