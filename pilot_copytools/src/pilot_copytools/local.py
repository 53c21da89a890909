"""The copy tool "local": files that are reached by a path on the node.

A place is a path or a ``file:`` URL. A copy is summed while it is written, under a name of its own, and gets its final
name when all of it is there. Inputs may be linked or moved instead, and outputs linked, so that they are as good as
moved once the job's directory is gone; where a way does not work between two places (another file system, one that
cannot share blocks) the file is copied.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from stat import S_ISREG
from typing import Final
from urllib.parse import unquote

from attrs import frozen

from pilot_core.sdk import (
    Checksum,
    Code,
    ErrorCode,
    Fetches,
    FileSpec,
    Found,
    Looks,
    Moved,
    Moving,
    PilotError,
    Replica,
    Stores,
    option,
)
from pilot_core.sdk.io import Cancelled, copy_summed, sum_file, sync_folder

KIND: Final = "adler32"
_FICLONE: Final = 0x40049409
_READ: Final = os.O_RDONLY | os.O_CLOEXEC
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_ABSENT: Final = frozenset({errno.ENOENT, errno.ENOTDIR})
Bring = Callable[[Path, Path, FileSpec, Moving], Moved]
_COPY_INSTEAD: Final = frozenset(
    {errno.EXDEV, errno.EOPNOTSUPP, errno.ENOTTY, errno.EINVAL, errno.EPERM, errno.EMLINK, errno.ENOSYS}
)


@frozen(kw_only=True)
class LocalOptions:
    """How the copy tool "local" brings inputs and stores outputs."""

    section = "local"

    inputs: str = option(
        "copy",
        help="How an input comes from its place to the job; what does not work there is copied.",
        choices=("copy", "hardlink", "symlink", "reflink", "move"),
    )
    outputs: str = option(
        "copy",
        help="How an output comes from the job to its place: as a link it is there without a copy.",
        choices=("copy", "hardlink"),
    )


class Local(Fetches, Stores, Looks):
    """Copies between the job and whatever is mounted on the node."""

    name = "local"
    schemes = ("file", "")
    options = LocalOptions

    def fetch(self, replica: Replica, target: Path, file: FileSpec, moving: Moving) -> Moved:
        """Bring a file from its path."""
        source = path_of(replica)
        with _told(Code.MISSINGINPUTFILE, Code.STAGEINFAILED, Code.NOLOCALSPACE):
            _check_regular(source)
            return self._bring(source, target, file, moving)

    def store(self, source: Path, replica: Replica, file: FileSpec, moving: Moving) -> Moved:
        """Copy a file beside its place, have the disk keep it, and rename it into place."""
        place = path_of(replica)
        with _told(Code.NOSUCHFILE, Code.STAGEOUTFAILED, Code.NOREMOTESPACE):
            if os.path.lexists(place) and not file.replace:
                return _same(place, file, moving)
            place.parent.mkdir(parents=True, exist_ok=True)
            linked = self.settings.of(LocalOptions).outputs == "hardlink"
            return _put(source, place, file, moving, _linked if linked else _synced)

    def look(self, replica: Replica, file: FileSpec, moving: Moving) -> Found | None:
        """Weigh and sum what lies there."""
        place = path_of(replica)
        with _told(Code.MISSINGINPUTFILE, Code.STAGEINFAILED, Code.NOLOCALSPACE):
            if not os.path.lexists(place):
                return None
            _check_regular(place)
            size_b, found = _known(place, file, moving)
            return Found(size_b=size_b, checksum=found)

    def _bring(self, source: Path, target: Path, file: FileSpec, moving: Moving) -> Moved:
        mode = self.settings.of(LocalOptions).inputs
        try:
            match mode:
                case "hardlink":
                    os.link(source.resolve(), target)
                case "symlink":
                    target.symlink_to(source.absolute())
                case "reflink":
                    _clone(source, target)
                case "move":
                    return _move(source, target, file, moving)
                case _:
                    return _copy(source, target, file, moving)
        except OSError as error:
            if error.errno not in _COPY_INSTEAD:
                raise
        else:
            return Moved(size_b=target.stat().st_size)
        copied = _copy(source, target, file, moving)
        if mode == "move":
            source.unlink()
        return copied


def path_of(replica: Replica) -> Path:
    """The path of a place, given plainly or as a ``file:`` URL of this host."""
    if "://" not in replica.url:
        return Path(replica.url)
    host, slash, path = replica.url.partition("://")[2].partition("/")
    if host not in ("", "localhost") or not path:
        raise PilotError(Code.NOSUCHFILE, f"{replica.url} names no file of this host: write file:///path")
    return Path(unquote(slash + path))


@contextmanager
def _told(absent: ErrorCode, failed: ErrorCode, full: ErrorCode) -> Iterator[None]:
    try:
        yield
    except Cancelled as given_up:
        raise PilotError(failed, str(given_up)) from None
    except OSError as error:
        code = absent if error.errno in _ABSENT else full if error.errno in _FULL else failed
        where = error.filename2 or error.filename or "copying"
        raise PilotError(code, f"{where}: {error.strerror or error}") from error


def _check_regular(path: Path) -> None:
    """Refuse what would block or never end when it is read."""
    if not S_ISREG(path.stat().st_mode):
        raise PilotError(Code.STAGEINFAILED, f"{path} is no regular file")


def _kind(file: FileSpec) -> str:
    return file.checksum.kind if file.checksum else KIND


def _move(source: Path, target: Path, file: FileSpec, moving: Moving) -> Moved:
    """Move a file that is known to be right: a wrong one is left where it is for somebody to look at."""
    size_b, found = _known(source, file, moving)
    if file.size_b not in (None, size_b) or file.checksum not in (None, found):
        told = f"{source} has {size_b} B and {found}; {file.size_b} B and {file.checksum} expected"
        raise PilotError(Code.GETMD5MISMATCH if found.kind == "md5" else Code.GETADMISMATCH, told)
    source.rename(target)
    return Moved(size_b=size_b, checksum=found, summed=True)


def _clone(source: Path, target: Path) -> None:
    """Let both files share their blocks until one is changed."""
    import fcntl

    with open(os.open(source, _READ), "rb") as reader, _new(target, 0o644) as fd:
        fcntl.ioctl(fd, _FICLONE, reader.fileno())


def _copy(source: Path, target: Path, file: FileSpec, moving: Moving, sync: bool = False) -> Moved:
    """Copy and sum in one pass; ``target`` is not there if this raises."""
    nofollow = os.O_NOFOLLOW if sync else 0
    with open(os.open(source, _READ | nofollow), "rb") as reader:
        mode = os.fstat(reader.fileno()).st_mode & 0o777 | 0o600
        with _new(target, 0o644 if sync else mode) as fd:
            summed = copy_summed(reader.fileno(), fd, [_kind(file)], moving.progress, moving.cancel, sync)
            if os.fstat(fd).st_size != summed.size_b:
                raise OSError(errno.EIO, f"{os.fstat(fd).st_size} B are there of {summed.size_b}", str(target))
    return Moved(size_b=summed.size_b, checksum=Checksum(_kind(file), summed.sums[_kind(file)]), summed=True)


@contextmanager
def _new(path: Path, mode: int) -> Iterator[int]:
    """A new file, gone again if what is done with it fails."""
    fd = os.open(path, _NEW, mode)
    try:
        with ExitStack() as unless_done:
            unless_done.callback(path.unlink, missing_ok=True)
            yield fd
            unless_done.pop_all()
    finally:
        os.close(fd)


def _synced(source: Path, part: Path, file: FileSpec, moving: Moving) -> Moved:
    return _copy(source, part, file, moving, sync=True)


def _linked(source: Path, part: Path, file: FileSpec, moving: Moving) -> Moved:
    """Give the file a second name and sum it under that; one with names that nobody here knows of is copied."""
    try:
        if source.lstat().st_nlink > 1:
            return _synced(source, part, file, moving)
        os.link(source, part, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _COPY_INSTEAD:
            raise
        return _synced(source, part, file, moving)
    with ExitStack() as unless_right:
        unless_right.callback(part.unlink, missing_ok=True)
        with open(os.open(part, _READ | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as there:
            _check_regular(part)
            os.fsync(there.fileno())
        size_b, found = _known(part, file, moving)
        unless_right.pop_all()
    return Moved(size_b=size_b, checksum=found, summed=True)


def _put(source: Path, place: Path, file: FileSpec, moving: Moving, bring: Bring) -> Moved:
    part = place.with_name(f".{os.urandom(6).hex()}.part")
    moved = bring(source, part, file, moving)
    try:
        if file.size_b not in (None, moved.size_b) or file.checksum not in (None, moved.checksum):
            code = Code.PUTMD5MISMATCH if _kind(file) == "md5" else Code.PUTADMISMATCH
            told = f"{moved.size_b} B and {moved.checksum} stored, {file.size_b} B and {file.checksum} expected"
            raise PilotError(code, told)
        _appear(part, place, file.replace)
    except FileExistsError:
        return _same(place, file, moving)
    finally:
        part.unlink(missing_ok=True)
    sync_folder(place.parent)
    return moved


def _appear(part: Path, place: Path, replace: bool) -> None:
    """Give the file its final name, which nobody else may have taken meanwhile, unless it replaces whatever has it."""
    if replace:
        part.rename(place)
        return
    try:
        os.link(part, place)
    except OSError as error:
        if error.errno not in _COPY_INSTEAD:
            raise
        part.rename(place)


def _same(place: Path, file: FileSpec, moving: Moving) -> Moved:
    """Accept what is stored already if it is this very file."""
    if S_ISREG(place.stat().st_mode):
        size_b, found = _known(place, file, moving)
        if (size_b, found) == (file.size_b, file.checksum):
            return Moved(size_b=size_b, checksum=found, summed=True)
    raise PilotError(Code.FILEEXISTS, f"{place} is there already and is not this file")


def _known(path: Path, file: FileSpec, moving: Moving) -> tuple[int, Checksum]:
    summed = sum_file(path, [_kind(file)], moving.progress, moving.cancel)
    return summed.size_b, Checksum(_kind(file), summed.sums[_kind(file)])
