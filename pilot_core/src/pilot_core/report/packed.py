"""What a log archive tells of its job: read as it stands, a bounded part of it, and never unpacked to a disk."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, cast

from pilot_core.control.archive import JOB_NAME, OWN_NAME, SEALED_NAMES, USAGE_NAME
from pilot_core.control.packing import compressed
from pilot_core.report import account as told
from pilot_core.report.found import LARGEST_B, SAID, TAIL_B, Found, NothingToTell

if TYPE_CHECKING:
    from tarfile import TarFile, TarInfo

MOST_B: Final = 1 << 28
"""So much of an archive is looked through, unpacked; what a report needs stands first."""
MOST_ENTRIES: Final = 100_000
_KINDS: Final = ((b"\x1f\x8b", "gz"), (b"BZh", "bz2"), (b"\xfd7zXZ", "xz"))


class _Enough(OSError):
    """More was asked of an archive than one report may take."""


class _Bounded:
    """A file of which only the beginning can be read, and never much at once."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= 2 * LARGEST_B or self._file.tell() + size > MOST_B:
            raise _Enough
        return self._file.read(size)

    def seek(self, offset: int) -> int:
        if offset > MOST_B:
            raise _Enough
        return self._file.seek(offset)

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._file.tell()


def from_archive(path: Path) -> Found:
    """The account that a pilot put into the archive, its log, and what the payload said."""
    found = Found(source=str(path), named=path.name)
    parts = _parts(found, path)
    if JOB_NAME not in parts:
        why = f" ({'; '.join(found.remarks)})" if found.remarks else ""
        raise NothingToTell(f"{path}: there is no {JOB_NAME} in it: it is no log archive, or of an older pilot{why}")
    job = found.load(JOB_NAME, parts[JOB_NAME])
    found.record, found.asked = told.table(job.get("record")), told.table(job.get("asked"))
    found.message = told.table(job.get("message"))
    found.usage = parts.get(USAGE_NAME, b"")
    found.log = found.tail(parts.get(OWN_NAME, b"")[-TAIL_B:])
    found.said = {name: found.tail(parts[name]) for name in (*SAID, *SEALED_NAMES) if name in parts}
    found.open = True
    found.remarks.insert(0, "This is told by the log archive, which was made before the job was over.")
    return found


def _parts(found: Found, path: Path) -> dict[str, bytes]:
    import tarfile
    from lzma import LZMAError
    from zlib import error as BadZlib  # noqa: N812

    parts: dict[str, bytes] = {}
    try:
        with path.open("rb") as raw, closing(compressed(_kind(raw), raw, "rb")) as file:
            bounded = cast("BinaryIO", _Bounded(file))
            _collect(tarfile.open(fileobj=bounded, mode="r:"), parts)  # noqa: SIM115 it holds nothing of its own
    except _Enough:
        found.remarks.append(f"Only the first {MOST_B >> 20} MiB of the archive were looked through.")
    except (tarfile.TarError, EOFError, ValueError, RecursionError, BadZlib, LZMAError) as broken:
        found.remarks.append(f"the archive is damaged, or none: {broken}")
    except OSError as error:
        if not parts and error.filename is not None:
            raise
        found.remarks.append(f"the archive is damaged: {error}")
    return parts


def _kind(raw: BinaryIO) -> str:
    begins = raw.read(8)
    raw.seek(0)
    return next((kind for magic, kind in _KINDS if begins.startswith(magic)), "")


def _collect(tar: TarFile, parts: dict[str, bytes]) -> None:
    """Take the first of each file that is wanted, from the top of the archive's one folder."""
    wanted = {JOB_NAME, USAGE_NAME, OWN_NAME, *SAID, *SEALED_NAMES}
    for count, entry in enumerate(tar):
        name = entry.name.partition("/")[2]
        if entry.isreg() and name in wanted:
            parts[name] = _content(tar, entry, TAIL_B if name in (*SAID, *SEALED_NAMES) else LARGEST_B)
            wanted.discard(name)
        if not wanted or count > MOST_ENTRIES:
            return


def _content(tar: TarFile, entry: TarInfo, most_b: int) -> bytes:
    """The end of an entry."""
    file = tar.extractfile(entry)
    if file is None:
        return b""
    file.seek(max(entry.size - most_b, 0))
    return file.read(most_b)
