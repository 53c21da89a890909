"""Outputs that are archives of other outputs: made before they are stored, so that one file leaves for many.

The same files always give the same archive, byte by byte, whenever and by whichever pilot it is made.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from functools import partial
from typing import TYPE_CHECKING, BinaryIO, cast

from pilot_core.control.sides import FULL
from pilot_core.control.trip import part_name
from pilot_core.errors import Code, PilotError
from pilot_core.io.checksum import BLOCK_B
from pilot_core.io.inside import Inside
from pilot_core.model.files import FileSpec
from pilot_core.spec.work import Cancel

if TYPE_CHECKING:
    from tarfile import TarFile
    from zipfile import ZipFile

EARLIEST = 315532800.0
"""When time begins for archives of the kind "zip"."""
LARGE_B = 1 << 30


class _Until:
    """A file that is read until somebody asks to end."""

    def __init__(self, source: BinaryIO, cancel: Cancel) -> None:
        self._source = source
        self._cancel = cancel

    def read(self, size_b: int = -1, /) -> bytes:
        if self._cancel.is_set():
            raise InterruptedError("given up, the job is to end")
        return self._source.read(size_b)


Add = Callable[[str, os.stat_result, _Until], None]


def bundle(
    folder: Inside, wanted: Sequence[FileSpec], stored: Container[str], cancel: Cancel
) -> tuple[list[FileSpec], list[PilotError]]:
    """What is to be stored yet once all archives are made: they take the place of what is in them.

    An archive that cannot be made is an error, and what should be in it is stored by itself.
    """
    gone: set[str] = {file.lfn for file in wanted if file.lfn in stored}
    errors: dict[str, PilotError] = {}
    for archive in wanted:
        members = [name for name in members_of(archive, wanted) if name not in gone and _is_there(folder, name)]
        if archive.lfn not in stored and members:
            error = _made(folder, archive.lfn, members, cancel)
            if error is not None:
                errors[archive.lfn] = error
                continue
        gone.update(members)
    return [file for file in wanted if file.lfn not in gone and file.lfn not in errors], list(errors.values())


def members_of(archive: FileSpec, wanted: Sequence[FileSpec]) -> list[str]:
    """The names of the outputs that an archive is made of, sorted, none of them an archive."""
    names = sorted(file.lfn for file in wanted if not file.members)
    return [name for name in names if any(fnmatchcase(name, pattern) for pattern in archive.members)]


def _is_there(folder: Inside, name: str) -> bool:
    try:
        with folder.open_read(name):
            return True
    except OSError:
        return False


def _made(folder: Inside, name: str, members: Sequence[str], cancel: Cancel) -> PilotError | None:
    try:
        _make(folder, name, members, cancel)
    except OSError as failed:
        code = Code.NOLOCALSPACE if failed.errno in FULL else Code.FILEHANDLINGFAILURE
        return PilotError(code, f"{name} cannot be made: {failed.strerror or failed}")
    return None


def _make(folder: Inside, name: str, members: Sequence[str], cancel: Cancel) -> None:
    """Have the archive appear under its name when it is whole."""
    part = part_name()
    try:
        with folder.open_write(part) as target, _opened(name, target) as add:
            for member in members:
                with folder.open_read(member) as source:
                    add(member, os.fstat(source.fileno()), _Until(source, cancel))
        folder.rename(part, name)
    finally:
        folder.remove_tree(part)


@contextmanager
def _opened(name: str, target: BinaryIO) -> Iterator[Add]:
    """What adds to an archive of the kind that its name says: a tar, or else a zip whose members are not compressed."""
    if name.endswith(".tar"):
        import tarfile

        with tarfile.open(fileobj=target, mode="w", format=tarfile.PAX_FORMAT) as tar:
            yield partial(_add_to_tar, tar)
    else:
        from zipfile import ZipFile

        with ZipFile(target, "w") as packed:
            yield partial(_add_to_zip, packed)


def _add_to_tar(tar: TarFile, name: str, about: os.stat_result, source: _Until) -> None:
    from tarfile import TarInfo

    entry = TarInfo(name)
    entry.size, entry.mtime, entry.mode = about.st_size, int(about.st_mtime), 0o644
    tar.addfile(entry, cast("BinaryIO", source))


def _add_to_zip(packed: ZipFile, name: str, about: os.stat_result, source: _Until) -> None:
    from zipfile import ZipInfo

    changed = time.gmtime(max(about.st_mtime, EARLIEST))
    entry = ZipInfo(name, changed[:6])
    entry.external_attr = 0o100644 << 16
    with packed.open(entry, "w", force_zip64=about.st_size >= LARGE_B) as target:
        while block := source.read(BLOCK_B):
            target.write(block)
