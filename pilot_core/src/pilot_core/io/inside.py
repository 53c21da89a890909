"""A directory, and what may be done in it without ever leaving it.

Every part of a path is opened on its own, from the descriptor of the one before and never through a link.
So it does not matter what a job, a plugin or a payload put there, or puts there meanwhile.
"""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager, suppress
from fnmatch import fnmatchcase
from stat import S_ISDIR, S_ISLNK, S_ISREG
from typing import TYPE_CHECKING, BinaryIO, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import TracebackType

LONGEST_PATH = 4096

_OPEN = os.O_CLOEXEC | os.O_NOFOLLOW
_STEP = _OPEN | os.O_DIRECTORY | getattr(os, "O_PATH", os.O_RDONLY)  # O_PATH passes what may not be read

_BLOCK_B = 1 << 13
"""What is read ahead; where this is not said, each file is asked whether it is a terminal."""
_LIST = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class Outside(PermissionError):
    """A path that leaves, or could leave, the directory it must stay in."""

    def __init__(self, root: Path, path: str, why: str) -> None:
        super().__init__(f"{path!r} is refused in {root}: {why}")
        self.path = path
        self.why = why


class Inside:
    """The directory ``root``; all paths are relative to it. Holds one descriptor until it is closed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._fd = os.open(root, _STEP)

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def open_read(self, path: str) -> BinaryIO:
        """Open a regular file. Anything else, a pipe say, is refused and does not block."""
        with self._parent(path) as (folder, name):
            fd = self._open(folder, name, path, os.O_RDONLY | os.O_NONBLOCK)
        if not S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise Outside(self.root, path, "it is not a regular file")
        return os.fdopen(fd, "rb", _BLOCK_B)

    def open_write(self, path: str, mode: int = 0o644) -> BinaryIO:
        """Make a new file. What stood there is unlinked, not written to: it may have another name outside."""
        with self._parent(path) as (folder, name):
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=folder)
            fd = self._open(folder, name, path, os.O_RDWR | os.O_CREAT | os.O_EXCL, mode)
        return os.fdopen(fd, "w+b")

    def open_unnamed(self, path: str = "", mode: int = 0o644) -> BinaryIO:
        """Make a file in a directory that has no name yet: if it never gets one, nothing of it stays.

        ``OSError`` where the file system knows no such files.
        """
        if not (unnamed := getattr(os, "O_TMPFILE", 0)):
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP), str(self.root / path))
        with self._folder(path, self._parts(path)) as folder:
            return os.fdopen(self._open(folder, ".", path, os.O_RDWR | unnamed, mode), "w+b")

    def open_folder(self, path: str = "") -> int:
        """A descriptor of a directory, to sync the names in it and to link files there by ``give_name``."""
        with self._folder(path, self._parts(path)) as folder:
            return os.open(".", _LIST, dir_fd=folder)

    def stat(self, path: str) -> os.stat_result:
        """About the file itself; of a link, the link."""
        with self._parent(path) as (folder, name):
            return os.stat(name, dir_fd=folder, follow_symlinks=False)

    def exists(self, path: str) -> bool:
        """Whether anything stands there, be it a link to nowhere."""
        try:
            self.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    def names(self, path: str = "") -> list[str]:
        """What a directory holds, sorted."""
        with self._folder(path, self._parts(path)) as folder:
            return sorted(_names(folder))

    def makedirs(self, path: str, mode: int = 0o755) -> None:
        """Make a directory and those above it, as far as they are missing."""
        parts = self._parts(path)
        for depth, part in enumerate(parts):
            with self._folder(path, parts[:depth]) as folder, suppress(FileExistsError):
                os.mkdir(part, mode, dir_fd=folder)
        with self._folder(path, parts):
            return

    def rename(self, old: str, new: str) -> None:
        """Rename within the directory. A file that stood at ``new`` is gone."""
        with self._parent(old) as (source, name), self._parent(new) as (target, new_name):
            os.rename(name, new_name, src_dir_fd=source, dst_dir_fd=target)

    def readlink(self, path: str) -> str:
        """Where a link points to."""
        with self._parent(path) as (folder, name):
            return os.readlink(name, dir_fd=folder)

    def symlink(self, target: str, path: str) -> None:
        """Make a link where nothing stands; ``FileExistsError`` otherwise."""
        with self._parent(path) as (folder, name):
            os.symlink(target, name, dir_fd=folder)

    def remove(self, path: str) -> None:
        """Remove a file, or a link and not what it points to."""
        with self._parent(path) as (folder, name):
            os.unlink(name, dir_fd=folder)

    def remove_tree(self, path: str = "") -> list[str]:
        """Remove what stands at ``path`` and all below it, or the root. Say what would not go, and why.

        Links are removed and never followed, file systems mounted inside are left alone, and what
        vanishes meanwhile is as good as removed. A directory that stays may have been moved up.
        """
        *above, name = self._parts(path) or ("",)
        if not name:
            return self._remove_all()
        with suppress(FileNotFoundError), self._folder(path, tuple(above)) as folder:
            return _Removal(folder).run([name], "/".join(above))
        return []

    def _remove_all(self) -> list[str]:
        _make_passable(self._fd)
        left = _Removal(self._fd).run(_names(self._fd), "")
        if not left:
            with _noting(str(self.root), left):
                self.root.rmdir()
        return left

    def walk(self, path: str = "") -> Iterator[tuple[str, os.stat_result]]:
        """Each regular file below a directory, with what ``stat`` says of it.

        Passes over links, mounted file systems, what may not be read, and what is nested so deeply
        that no program could name it.
        """
        pending = ["/".join(self._parts(path))]
        while pending:
            folder = pending.pop()
            for name, about in self._entries(folder):
                below = _join(folder, name)
                if S_ISREG(about.st_mode):
                    yield below, about
                elif S_ISDIR(about.st_mode) and len(below) < LONGEST_PATH:
                    pending.append(below)

    def glob(self, pattern: str) -> list[str]:
        """What matches, sorted. ``**`` is any number of directories; ``*`` and ``?`` begin no hidden name."""
        parts = self._parts(pattern)
        found: set[str] = set()
        seen = pending = {("", parts)} if parts else set()
        while pending:
            found.update(path for folder, rest in pending for path in self._matches(folder, rest))
            pending = {state for folder, rest in pending for state in self._deeper(folder, rest)} - seen
            seen = seen | pending
        return sorted(found)

    def _matches(self, folder: str, parts: tuple[str, ...]) -> Iterator[str]:
        """Paths right here, where one part is left to match."""
        if len(parts) == 1:
            part = "*" if parts == ("**",) else parts[0]
            yield from (_join(folder, name) for name, _ in self._entries(folder) if _fits(name, part))

    def _deeper(self, folder: str, parts: tuple[str, ...]) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Directories to look into next, each with the parts left to match there."""
        if parts[0] == "**" and parts[1:]:
            yield folder, parts[1:]
        if parts[1:] == () and parts != ("**",):
            return
        for name, about in self._entries(folder):
            below = _join(folder, name)
            if not S_ISDIR(about.st_mode) or len(below) >= LONGEST_PATH:
                continue
            if parts[0] == "**" and _fits(name, "*"):
                yield below, parts
            elif parts[1:] and _fits(name, parts[0]):
                yield below, parts[1:]

    def _entries(self, path: str) -> list[tuple[str, os.stat_result]]:
        """What a directory holds of this file system; nothing if it vanished or may not be read."""
        about = []
        with suppress(OSError), self._folder(path, self._parts(path)) as folder:
            for name in _names(folder):
                with suppress(OSError):
                    about.append((name, os.stat(name, dir_fd=folder, follow_symlinks=False)))
        device = os.fstat(self._fd).st_dev if about else 0
        return [(name, stat) for name, stat in about if stat.st_dev == device]

    def _parts(self, path: str) -> tuple[str, ...]:
        if path.startswith("/"):
            raise Outside(self.root, path, "it is absolute")
        if "\0" in path:
            raise Outside(self.root, path, "it holds a NUL")
        parts = tuple(part for part in path.split("/") if part not in ("", "."))
        if ".." in parts:
            raise Outside(self.root, path, "it holds '..'")
        return parts

    @contextmanager
    def _parent(self, path: str) -> Iterator[tuple[int, str]]:
        *above, name = self._parts(path) or ("",)
        if not name:
            raise Outside(self.root, path, "it is the directory itself")
        if not above:
            yield self._fd, name
            return
        with self._folder(path, tuple(above)) as folder:
            yield folder, name

    @contextmanager
    def _folder(self, path: str, parts: tuple[str, ...]) -> Iterator[int]:
        top = fd = self._fd
        try:
            for part in parts:
                above, fd = fd, self._open(fd, part, path, _STEP)
                if above != top:
                    os.close(above)
            yield fd
        finally:
            if fd != top:
                os.close(fd)

    def _open(self, folder: int, name: str, path: str, flags: int, mode: int = 0) -> int:
        try:
            return os.open(name, flags | _OPEN, mode, dir_fd=folder)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.EMLINK, errno.ENOTDIR) and _is(S_ISLNK, folder, name):
                raise Outside(self.root, path, f"{name!r} is a link") from None
            raise OSError(error.errno, error.strerror, f"{self.root}/{path}") from None


class _Removal:
    """Takes trees in the directory ``top`` apart.

    A directory is first moved up into ``top`` and then emptied, so that no depth of nesting costs stack
    or descriptors; and a mount point, which cannot be moved, is never entered.
    """

    def __init__(self, top: int) -> None:
        self._top = top
        self._device = os.fstat(top).st_dev
        self._pending: list[tuple[str, str]] = []
        self._left: list[str] = []

    def run(self, names: list[str], path: str) -> list[str]:
        self._clear(self._top, names, path)
        while self._pending:
            name, path = self._pending.pop()
            with _noting(path, self._left):
                folder = os.open(name, _STEP, dir_fd=self._top)
                try:
                    self._clear(folder, _names(folder), path)
                finally:
                    os.close(folder)
                os.rmdir(name, dir_fd=self._top)
        return self._left

    def _clear(self, folder: int, names: list[str], path: str) -> None:
        for name in names:
            below = _join(path, name)
            with _noting(below, self._left):
                if _is(S_ISDIR, folder, name):
                    self._lift(folder, name, below)
                else:
                    os.unlink(name, dir_fd=folder)

    def _lift(self, folder: int, name: str, path: str) -> None:
        fd = os.open(name, _STEP, dir_fd=folder)
        try:
            if os.fstat(fd).st_dev != self._device:
                raise OSError(errno.EBUSY, "another file system is mounted there")
            _make_passable(fd)
        finally:
            os.close(fd)
        here = f".{os.urandom(8).hex()}.gone"
        os.rename(name, here, src_dir_fd=folder, dst_dir_fd=self._top)
        self._pending.append((here, path))


@contextmanager
def _noting(path: str, left: list[str]) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        return
    except OSError as error:
        left.append(f"{path}: {error.strerror}")


def _make_passable(fd: int) -> None:
    if os.fstat(fd).st_mode & 0o700 != 0o700:
        os.chmod(f"/proc/self/fd/{fd}" if hasattr(os, "O_PATH") else fd, 0o700)


def _names(folder: int) -> list[str]:
    fd = os.open(".", _LIST, dir_fd=folder)
    try:
        return os.listdir(fd)
    finally:
        os.close(fd)


def give_name(file: BinaryIO, folder: int, name: str) -> None:
    """Let an unnamed file stand in a directory under a name; ``FileExistsError`` if anything stands there."""
    os.link(f"/proc/self/fd/{file.fileno()}", name, dst_dir_fd=folder)


def _is(kind: Callable[[int], bool], folder: int, name: str) -> bool:
    return kind(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _fits(name: str, part: str) -> bool:
    return fnmatchcase(name, part) and (name[0] != "." or part[0] == ".")
