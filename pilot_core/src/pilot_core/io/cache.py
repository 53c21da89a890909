"""Content-addressed files that the pilots of a node share.

A file is fetched once: whoever comes second waits and takes a copy, which shares the blocks where the file
system can and never the file, so what a job does to its input is nobody else's concern. An entry's name holds
its key, size and time of last change, so one rename makes it appear whole, and an entry that no longer looks
like its name is known as spoilt and dropped.
Locks are the kernel's and end with their pilot. Trouble with the cache is a miss and fails no job.
"""

from __future__ import annotations

import fcntl
import os
import re
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from stat import S_ISREG
from typing import TYPE_CHECKING

from attrs import frozen

from pilot_core.io.cancel import CancelFlag, Cancelled
from pilot_core.io.checksum import copy_summed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FIRST_LOOK_S = 0.02
LAST_LOOK_S = 1.0
ROOM_WAIT_S = 60.0
FICLONE = 0x40049409
"""The kernel's order to share blocks, which Python has no name for yet."""

_KEY = re.compile(r"[a-z0-9]+(-[a-z0-9]+)+")
_NAME = re.compile(r"([a-z0-9-]+)\.([0-9]+)\.([0-9]+)")


def content_key(kind: str, checksum: str, size_b: int) -> str:
    """The key of a file whose checksum is known before it is fetched."""
    return _checked(f"{kind}-{checksum}-{size_b}")


def url_key(url: str) -> str:
    """The key of a file known by its address only, which must never come to mean other content."""
    import hashlib

    return f"url-{hashlib.sha256(url.encode()).hexdigest()}"


class Cache:
    """A directory of files, at most `limit_b` together; the one unused for longest makes room."""

    def __init__(self, root: Path, limit_b: int) -> None:
        self._entries = root / "entries"
        self._locks = root / "locks"
        self._partial = root / "partial"
        self._limit_b = limit_b

    def get(self, key: str, dest: Path) -> bool:
        """Make `dest`, which must not exist, the cached file; false when there is none."""
        return any(_give(entry, dest) for entry in self._find(_checked(key)))

    def has(self, key: str) -> bool:
        """Whether the file is there, and looks as it should."""
        return any(entry.is_whole() for entry in self._find(_checked(key)))

    def drop(self, key: str) -> None:
        """Keep this file no longer: what was got is not what it should be."""
        for entry in self._find(_checked(key)):
            entry.drop()

    def put(self, key: str, path: Path) -> bool:
        """Keep a copy of this file; false if it is larger than the limit."""
        name, found = _checked(key), path.lstat()
        if not S_ISREG(found.st_mode):
            raise ValueError(f"{path} is no regular file, and only those are kept")
        if found.st_size > self._limit_b:
            return False
        self._make()
        with _locked(self._locks / "room", ROOM_WAIT_S, CancelFlag()):
            if not self.has(name):
                self._make_room(found.st_size)
                self._take(name, path)
        return True

    def fetch_once(
        self,
        key: str,
        dest: Path,
        fetch: Callable[[Path], object],
        wait_s: float,
        cancelled: CancelFlag | None = None,
    ) -> bool:
        """Make `dest` the file: from the cache (true), or by `fetch(dest)`, while others who want it wait.

        `fetch` verifies what it fetches; what it raises is raised here, and the next in line tries. Who has
        waited for `wait_s` fetches too. `Cancelled` while waiting.
        """
        if self.get(key, dest):
            return True
        with ExitStack() as held:
            with suppress(OSError):
                self._make()
                held.enter_context(_locked(self._locks / key, wait_s, cancelled or CancelFlag()))
            if self.get(key, dest):
                return True
            fetch(dest)
            with suppress(OSError):
                self.put(key, dest)
            return False

    def _make(self) -> None:
        for directory in (self._entries, self._locks, self._partial):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def _find(self, key: str) -> list[_Entry]:
        return [entry for entry in self._all() if entry.key == key]

    def _all(self) -> list[_Entry]:
        with suppress(OSError):
            read = (_Entry.read(path) for path in self._entries.iterdir())
            return [entry for entry in read if entry]
        return []

    def _make_room(self, size_b: int) -> None:
        """Drop what is spoilt or left of a crash, then the entries used longest ago until this much fits."""
        for leftover in self._partial.iterdir():
            leftover.unlink()
        for entry in self._all():
            if not entry.is_whole():
                entry.drop()
        kept = sorted(self._all(), key=_Entry.used_at)
        over_b = sum(entry.size_b for entry in kept) + size_b - self._limit_b
        for entry in kept:
            if over_b <= 0:
                break
            entry.drop()
            over_b -= entry.size_b

    def _take(self, key: str, path: Path) -> None:
        """Let an entry appear, whole and on the disk; under the lock, so the temporary name is ours."""
        temporary = self._partial / key
        _copy(path, temporary)
        try:
            found = _settle(temporary)
            os.rename(temporary, self._entries / f"{key}.{found.st_size}.{found.st_mtime_ns}")
        finally:
            temporary.unlink(missing_ok=True)


@frozen
class _Entry:
    path: Path
    key: str
    size_b: int
    changed_ns: int

    @classmethod
    def read(cls, path: Path) -> _Entry | None:
        match = _NAME.fullmatch(path.name)
        return match and cls(path, match[1], int(match[2]), int(match[3]))

    def is_whole(self) -> bool:
        try:
            found = self.path.lstat()
        except OSError:
            return False
        return (found.st_size, found.st_mtime_ns) == (self.size_b, self.changed_ns) and S_ISREG(found.st_mode)

    def used_at(self) -> int:
        try:
            return self.path.lstat().st_atime_ns
        except OSError:
            return 0

    def touch(self) -> None:
        """Count as used now; mount options may keep a read from doing so."""
        with suppress(OSError):
            os.utime(self.path, ns=(time.time_ns(), self.changed_ns))

    def drop(self) -> None:
        with suppress(OSError):
            self.path.unlink()


def _give(entry: _Entry, dest: Path) -> bool:
    if not entry.is_whole():
        entry.drop()
        return False
    try:
        _copy(entry.path, dest)
    except FileExistsError:
        raise
    except OSError:
        return False
    if dest.stat().st_size != entry.size_b:
        dest.unlink()
        return False
    entry.touch()
    return True


def _copy(source: Path, dest: Path) -> None:
    with (
        open(os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as reader,
        open(dest, "xb") as writer,
    ):
        try:
            if not _share_blocks(reader.fileno(), writer.fileno()):
                copy_summed(reader.fileno(), writer.fileno(), ())
        except OSError:
            dest.unlink()
            raise


def _share_blocks(source_fd: int, dest_fd: int) -> bool:
    """Make one file of the blocks of another, each written anew when it changes; whether the file system can."""
    try:
        fcntl.ioctl(dest_fd, FICLONE, source_fd)
    except OSError:
        return False
    return True


def _settle(path: Path) -> os.stat_result:
    """Read-only and on the disk, so that its size is not there before its content after a crash."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fchmod(fd, 0o444)
        os.fsync(fd)
        return os.fstat(fd)
    finally:
        os.close(fd)


@contextmanager
def _locked(path: Path, wait_s: float, cancelled: CancelFlag) -> Iterator[None]:
    """Hold a lock file. Who waits in the kernel for a lock cannot be cancelled, so this looks, ever rarer."""
    look_s, end = FIRST_LOOK_S, time.monotonic() + wait_s
    while (fd := _try_lock(path)) is None:
        if time.monotonic() > end:
            raise TimeoutError(f"{path} was locked by somebody else for {wait_s:g} s")
        if cancelled.wait(look_s):
            raise Cancelled(f"given up while {path} was locked by somebody else")
        look_s = min(2 * look_s, LAST_LOOK_S)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(fd)


def _try_lock(path: Path) -> int | None:
    """Lock the file that has this name now, not one whose last holder has just removed it."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with ExitStack() as unless_ours:
        unless_ours.callback(os.close, fd)
        with suppress(BlockingIOError, FileNotFoundError):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(fd), path.stat()):
                unless_ours.pop_all()
                return fd
    return None


def _checked(key: str) -> str:
    if len(key) > 160 or not _KEY.fullmatch(key):
        raise ValueError(f"{key!r} is no cache key: lower-case letters and digits in parts joined by '-'")
    return key
