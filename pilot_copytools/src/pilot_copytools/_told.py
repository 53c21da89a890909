"""What copy tools for grid storage say: places, and what went wrong on the disk here."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from pilot_core.sdk import Code, ErrorCode, FileSpec, Moving, PilotError
from pilot_core.sdk.io import Cancelled

IN: Final = "in"
OUT: Final = "out"
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


def failed(direction: str) -> ErrorCode:
    """The code of a failure of which no more is known."""
    return Code.STAGEINFAILED if direction == IN else Code.STAGEOUTFAILED


def mismatch(direction: str, file: FileSpec) -> ErrorCode:
    """The code of a file that is not what it should be."""
    if file.checksum is not None and file.checksum.kind == "md5":
        return Code.GETMD5MISMATCH if direction == IN else Code.PUTMD5MISMATCH
    return Code.GETADMISMATCH if direction == IN else Code.PUTADMISMATCH


@contextmanager
def told(direction: str) -> Iterator[None]:
    """Say in the words of a transfer what went wrong with the disk here, or that it was given up."""
    try:
        yield
    except Cancelled as given_up:
        raise PilotError(failed(direction), str(given_up)) from None
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise PilotError(_code_of(direction, error), f"{where}{error.strerror or error}") from error


def _code_of(direction: str, error: OSError) -> ErrorCode:
    if direction == OUT:
        return Code.NOSUCHFILE if isinstance(error, FileNotFoundError) else Code.STAGEOUTFAILED
    return Code.NOLOCALSPACE if error.errno in _FULL else Code.STAGEINFAILED


@contextmanager
def opened(source: Path) -> Iterator[int]:
    """A file of the job to be read; no link leads anywhere else."""
    fd = os.open(source, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def removed_on_failure(path: Path) -> Iterator[None]:
    """Have nothing be there if what is done within fails."""
    with ExitStack() as unless_done:
        unless_done.callback(path.unlink, missing_ok=True)
        yield
        unless_done.pop_all()


def go_on(moving: Moving) -> None:
    """Raise if the work is to end."""
    if moving.cancel.is_set():
        raise Cancelled("given up")


def checked(url: str) -> str:
    """The URL, unless it holds what no name may hold."""
    if url.isprintable():
        return url
    raise PilotError(Code.BADOUTPUTFILENAME, f"{url!r} holds a control character")


def shown(url: str) -> str:
    """A URL without what may be a signature or a token."""
    return url.partition("?")[0]


def part_of(url: str) -> str:
    """A name beside this one, for what is still on its way."""
    path, mark, query = url.partition("?")
    folder, _, _ = path.rpartition("/")
    return f"{folder}/.{os.urandom(6).hex()}.part{mark}{query}"
