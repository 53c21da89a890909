"""Files: written whole or not at all, locked; and the room that is left for them."""

from __future__ import annotations

import fcntl
import json
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

_OPEN = os.O_CLOEXEC | os.O_NOFOLLOW


class NotJson(ValueError):
    """A file that should hold JSON and does not."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"{path}: {why}")
        self.path = path
        self.why = why


class Taken(RuntimeError):
    """Somebody else holds the lock."""

    def __init__(self, path: Path, pid: int | None) -> None:
        super().__init__(f"{path} is held by {f'process {pid}' if pid else 'another process'}")
        self.path = path
        self.pid = pid


def write_atomic(
    path: Path, data: bytes | str, mode: int = 0o600, durable: bool = False, room: Path | None = None
) -> None:
    """Put ``data`` where readers see the old content or the new, never a part.

    ``durable`` returns when the disk holds it. ``room`` is a file beside it that was set aside for it, and becomes it;
    where it is not there, ``data`` finds its own room.
    """
    part, fd = _begin_part(path, mode, room)
    try:
        try:
            os.fchmod(fd, mode)
            _write_all(fd, data.encode() if isinstance(data, str) else data)
            if room is not None:
                os.ftruncate(fd, os.lseek(fd, 0, os.SEEK_CUR))
            if durable:
                os.fsync(fd)
        finally:
            os.close(fd)
        os.replace(part, path)
    except OSError:
        with suppress(OSError):
            part.unlink()
        raise
    if durable:
        sync_folder(path.parent)


def _begin_part(path: Path, mode: int, room: Path | None) -> tuple[Path, int]:
    """What is to become the file, and its descriptor."""
    if room is not None:
        with suppress(FileNotFoundError):
            return room, os.open(room, _OPEN | os.O_WRONLY)
    part = path.with_name(f".{os.urandom(6).hex()}.part")
    return part, os.open(part, _OPEN | os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)


def _write_all(fd: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(fd, left) :]


def sync_folder(path: Path) -> None:
    """Return when the disk holds the names in a directory."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def read_json(path: Path) -> Any:
    """What a JSON file holds; ``NotJson`` says where it is wrong."""
    data = path.read_bytes()
    try:
        return json.loads(data)
    except json.JSONDecodeError as error:
        raise NotJson(path, f"line {error.lineno}, column {error.colno}: {error.msg}") from None
    except UnicodeDecodeError as error:
        raise NotJson(path, f"byte {error.start} is not {error.encoding}") from None


def free_bytes(path: Path) -> int:
    """What an ordinary user may still write on the file system of ``path``."""
    room = os.statvfs(path)
    return room.f_bavail * room.f_frsize


class Lock:
    """A lock on a file, held until released or until the process ends, however it ends.

    The file stays, since removing it would let two hold it; it says who holds it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd = -1

    def take(self) -> Self:
        """Hold the lock, or raise ``Taken`` at once."""
        fd = os.open(self.path, _OPEN | os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(fd, 0)
            os.pwrite(fd, b"%d\n" % os.getpid(), 0)
        except BlockingIOError:
            holder = os.pread(fd, 32, 0).strip()
            os.close(fd)
            raise Taken(self.path, int(holder) if holder.isdigit() else None) from None
        except OSError:
            os.close(fd)
            raise
        self._fd = fd
        return self

    def release(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __enter__(self) -> Self:
        return self.take()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.release()
