"""A directory packed into a tar file, without ever leaving it, whatever happens to the files meanwhile."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from io import BytesIO
from pathlib import Path
from posixpath import dirname, join, normpath, relpath
from stat import S_IMODE, S_ISDIR, S_ISLNK, S_ISREG
from typing import TYPE_CHECKING, BinaryIO, Literal, TypeVar, cast

from pilot_core.io.cancel import Cancelled, Flag
from pilot_core.io.inside import LONGEST_PATH, Inside

if TYPE_CHECKING:
    from tarfile import TarFile, TarInfo

T = TypeVar("T")

LEFT_OUT = "LEFT_OUT"
TAIL_B = 1 << 20
LEVEL = 6
_COMPRESSIONS = {
    ".tar.gz": "gz",
    ".tgz": "gz",
    ".tar.bz2": "bz2",
    ".tbz2": "bz2",
    ".tar.xz": "xz",
    ".txz": "xz",
    ".tar": "",
}
_FOREIGN = (".zst", ".lz4", ".lzma", ".zip", ".7z", ".rar", ".Z")


def compression_of(name: str) -> str:
    """As the name says; an archive without a telling name is taken for gzip, as is the custom."""
    for suffix, kind in _COMPRESSIONS.items():
        if name.endswith(suffix):
            return kind
    if name.endswith(_FOREIGN):
        raise ValueError(f"{name}: its compression is unknown here; known are {', '.join(_COMPRESSIONS)}")
    return "gz"


@contextmanager
def new_tar(path: Path, compression: str) -> Iterator[TarFile]:
    """A tar file to be filled, of this compression: ``gz``, ``bz2``, ``xz`` or none."""
    import tarfile

    with ExitStack() as opened:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        raw = opened.enter_context(os.fdopen(fd, "wb"))
        packed = opened.enter_context(compressed(compression, raw, "wb"))
        yield opened.enter_context(tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT))


def check_tar(path: Path, compression: str, entries: int) -> None:
    """Read the archive to its last byte, as whoever gets it will; ``OSError`` if it is not all there."""
    import tarfile
    from lzma import LZMAError
    from zlib import error as BadZlib  # noqa: N812

    try:
        with path.open("rb") as raw, compressed(compression, raw, "rb") as packed:
            with tarfile.open(fileobj=packed, mode="r:") as tar:
                found = sum(1 for _ in tar)
            while packed.read(TAIL_B):
                pass
    except (tarfile.TarError, EOFError, BadZlib, LZMAError) as broken:
        raise OSError(f"it cannot be read back: {broken}") from None
    if found != entries:
        raise OSError(f"{found} entries of {entries} can be read back")


def compressed(kind: str, raw: BinaryIO, mode: Literal["rb", "wb"]) -> BinaryIO:
    """The bytes in or behind ``raw``, which the caller closes."""
    made: object = raw
    if kind == "gz":
        from gzip import GzipFile

        made = GzipFile("", mode, LEVEL, raw)
    elif kind == "bz2":
        from bz2 import BZ2File

        made = BZ2File(raw, mode, compresslevel=LEVEL)
    elif kind == "xz":
        from lzma import LZMAFile

        made = LZMAFile(raw, mode, preset=LEVEL if mode == "wb" else None)  # noqa: SIM115 the caller closes it
    return cast("BinaryIO", made)


class Packing:
    """A tar file being filled from a folder, everything below ``prefix``.

    ``room_b`` is for all files together; of one that does not fit only the end is taken.
    """

    def __init__(self, tar: TarFile, folder: Inside, prefix: str, room_b: int, cancelled: Flag) -> None:
        self.entries = 0
        """Files and links."""
        self.folders = 0
        self._tar = tar
        self._folder = folder
        self._prefix = prefix
        self._room_b = room_b
        self._cancelled = cancelled
        self._left_out: list[str] = []

    def add_folder(self, excluded: frozenset[str], *, bare: bool = True) -> None:
        """Add what stands in the folder, without these paths and what is below them.

        ``bare`` leaves it at files and links: a directory is what their paths say.
        """
        device = self._folder.root.stat().st_dev
        pending = [""]
        while pending:
            path = pending.pop()
            for name in self._known(path, self._folder.names) or ():
                below = f"{path}/{name}" if path else name
                about = None if below in excluded else self._known(below, self._folder.stat)
                if about is not None and self._add(below, about, device):
                    pending.append(below)
                    if not bare:
                        self._add_directory(below, about)

    def add_text(self, name: str, text: str) -> None:
        """Add a file of our own."""
        self.add_data(name, text.encode(errors="replace"))

    def add_data(self, name: str, data: bytes) -> None:
        """Add a file of our own that is no text, or not ours to look into."""
        self._put(self._entry(name, len(data), time.time()), BytesIO(data))

    def add_left_out(self, scrub: Callable[[str], str]) -> None:
        """Add the list of what is missing, and why."""
        if self._left_out:
            self.add_text(LEFT_OUT, scrub("\n".join(self._left_out) + "\n"))

    def _known(self, path: str, ask: Callable[[str], T]) -> T | None:
        """What the folder says of a path; nothing of what has vanished or cannot be had."""
        try:
            return ask(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            self._leave(path, error.strerror or str(error))
            return None

    def _add(self, path: str, about: os.stat_result, device: int) -> bool:
        """Add one thing; whether it is a directory to look into."""
        if self._cancelled.is_set():
            raise Cancelled(f"given up at {path}")
        if about.st_dev != device:
            self._leave(path, "another file system is mounted there")
        elif len(path) >= LONGEST_PATH:
            self._leave(path[:80], "its path is too long")
        elif S_ISDIR(about.st_mode):
            return True
        elif S_ISLNK(about.st_mode):
            self._add_link(path, about)
        elif S_ISREG(about.st_mode):
            self._add_file(path, about)
        return False

    def _add_link(self, path: str, about: os.stat_result) -> None:
        target = self._known(path, self._folder.readlink)
        if target is None:
            return
        inside = f"{self._folder.root}/"
        if target.startswith(inside):
            target = relpath(target, join(inside, dirname(path)))
        if is_outward(path, target):
            self._leave(path, f"it is a link out of the directory, to {target}")
            return
        entry = self._entry(path, 0, about.st_mtime)
        entry.type, entry.linkname = b"2", target
        self._put(entry, BytesIO())

    def _add_directory(self, path: str, about: os.stat_result) -> None:
        entry = self._entry(path, 0, about.st_mtime)
        entry.type, entry.mode = b"5", S_IMODE(about.st_mode)
        self._tar.addfile(entry)
        self.folders += 1

    def _add_file(self, path: str, about: os.stat_result) -> None:
        file = self._known(path, self._folder.open_read)
        if file is None:
            return
        with file:
            size_b = about.st_size
            if size_b > self._room_b:
                self._leave(path, f"it is too large ({size_b} B); its end is in {path}.tail")
                file.seek(max(size_b - TAIL_B, 0))
                path, size_b = f"{path}.tail", min(TAIL_B, size_b)
            self._room_b -= size_b
            entry = self._entry(path, size_b, about.st_mtime)
            entry.mode = S_IMODE(about.st_mode)
            self._put(entry, cast("BinaryIO", _Steady(file, self._cancelled)))

    def _entry(self, path: str, size_b: int, changed: float) -> TarInfo:
        from tarfile import TarInfo

        entry = TarInfo(f"{self._prefix}/{path}")
        entry.size, entry.mtime = size_b, int(changed)
        return entry

    def _put(self, entry: TarInfo, source: BinaryIO) -> None:
        self._tar.addfile(entry, source)
        self.entries += 1

    def _leave(self, path: str, why: str) -> None:
        self._left_out.append(f"{path or '.'}: {why}")


def is_outward(path: str, target: str) -> bool:
    """Whether a link at a path leads out of the directory, as it is written."""
    return target.startswith("/") or normpath(join(dirname(path), target)).split("/")[0] == ".."


class _Steady:
    """A file that gives as many bytes as it is asked for: zeros where it has become shorter or cannot be read."""

    def __init__(self, file: BinaryIO, cancelled: Flag) -> None:
        self._file = file
        self._cancelled = cancelled

    def read(self, size: int) -> bytes:
        if self._cancelled.is_set():
            raise Cancelled("given up")
        data = b""
        with suppress(OSError):
            data = self._file.read(size)
        return data.ljust(size, b"\0")
