"""The copy tool "drawer": files in a directory of this node, under ``drawer:///path``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote

from pilot_core.sdk import Checksum, Code, ErrorCode, Fetches, FileSpec, Moved, Moving, PilotError, Replica, Stores
from pilot_core.sdk.io import Cancelled, copy_summed, sum_file


class Drawer(Fetches, Stores):
    """Copies; what was fetched is compared by the core, what is stored here."""

    name = "drawer"
    schemes = ("drawer",)

    def fetch(self, replica: Replica, target: Path, file: FileSpec, moving: Moving) -> Moved:
        """Copy out of the drawer."""
        with _part(target, Code.STAGEINFAILED) as part:
            return _copy(_path(replica), part, file, moving)

    def store(self, source: Path, replica: Replica, file: FileSpec, moving: Moving) -> Moved:
        """Copy into the drawer, unless this very file lies there already."""
        place = _path(replica)
        if place.exists() and not file.replace:
            return _same(_known(place, file), file, Code.FILEEXISTS)
        place.parent.mkdir(parents=True, exist_ok=True)
        with _part(place, Code.STAGEOUTFAILED) as part:
            return _same(_copy(source, part, file, moving), file, Code.STAGEOUTFAILED)


def _path(replica: Replica) -> Path:
    return Path(unquote(replica.url.removeprefix("drawer://")))


def _kind(file: FileSpec) -> str:
    return file.checksum.kind if file.checksum else "adler32"


@contextmanager
def _part(target: Path, failed: ErrorCode) -> Iterator[Path]:
    """A temporary name that becomes ``target`` if all goes well and is gone otherwise."""
    part = target.with_name(f".{os.urandom(6).hex()}.part")
    try:
        yield part
        part.rename(target)
    except (OSError, Cancelled) as error:
        raise PilotError(failed, f"{target.name}: {error}") from error
    finally:
        part.unlink(missing_ok=True)


def _copy(source: Path, target: Path, file: FileSpec, moving: Moving) -> Moved:
    kind = _kind(file)
    with source.open("rb") as reader, target.open("xb") as writer:
        summed = copy_summed(reader.fileno(), writer.fileno(), [kind], moving.progress, moving.cancel, sync=True)
    return Moved(size_b=summed.size_b, checksum=Checksum(kind, summed.sums[kind]), summed=True)


def _known(path: Path, file: FileSpec) -> Moved:
    kind = _kind(file)
    summed = sum_file(path, [kind])
    return Moved(size_b=summed.size_b, checksum=Checksum(kind, summed.sums[kind]), summed=True)


def _same(moved: Moved, file: FileSpec, otherwise: ErrorCode) -> Moved:
    if file.size_b not in (None, moved.size_b) or file.checksum not in (None, moved.checksum):
        told = f"{file.lfn} is {moved.size_b} B, {moved.checksum}; expected {file.size_b} B, {file.checksum}"
        raise PilotError(otherwise, told)
    return moved
