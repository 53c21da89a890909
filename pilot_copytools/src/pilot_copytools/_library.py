"""What the tools with a library have in common: files as its bodies, credentials by place, its failures in a word."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import BinaryIO, Final

from pilot_core.sdk import Code, Moving, PilotError
from pilot_core.sdk.io import Cancelled, Digest

BLOCK_B: Final = 1 << 18


def lacking(module: str, extra: str) -> str | None:
    """Why a tool can't work without its library, and the way out."""
    try:
        found = find_spec(module)
    except ImportError:
        found = None
    return None if found else f"{module} is not installed here: pip install 'pilot-copytools[{extra}]'"


@contextmanager
def same_signals() -> Iterator[None]:
    """Has the thread's mask of signals as it was before: gfal leaves nearly all of them blocked."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def file_for(files: Mapping[str, Path], *names: str) -> Path | None:
    """The file that is named for the first of these names that has one, or for all (``*``)."""
    return next((files[name] for name in (*names, "*") if name in files), None)


def read_secret(path: Path, option: str) -> str:
    """What a file with credentials holds, if nobody else may read it."""
    try:
        mode = path.stat().st_mode
        text = path.read_text(errors="replace")
    except OSError as error:
        raise broken(f"{path} can't be read ({error.strerror}); name the right file with {option}", "keys") from None
    if mode & 0o007:
        raise broken(f"{path}: others may read it; let only its owner: chmod 600", "keys")
    return text


def broken(told: str, word: str) -> PilotError:
    """A call that came to nothing, for a reason that has a word."""
    return PilotError(Code.COMMUNICATIONFAILURE, told, cause=word)


class Slice:
    """A part of a file, as libraries want a body to be; reading it ends when the transfer is to end."""

    def __init__(self, file: BinaryIO, start_b: int, size_b: int, moving: Moving) -> None:
        self._file = file
        self._start_b = start_b
        self._size_b = size_b
        self._moving = moving
        self._at_b = self._most_b = 0

    def __len__(self) -> int:
        return self._size_b

    def tell(self) -> int:
        return self._at_b

    def seek(self, place: int, whence: int = 0) -> int:
        self._at_b = place + {0: 0, 1: self._at_b, 2: self._size_b}[whence]
        return self._at_b

    def read(self, size_b: int | None = -1) -> bytes:
        left_b = self._size_b - self._at_b
        end_b = self._at_b + (left_b if size_b is None or size_b < 0 else min(size_b, left_b))
        self._file.seek(self._start_b + self._at_b)
        blocks = []
        while self._at_b < end_b:
            blocks.append(self._read_block(end_b - self._at_b))
        return b"".join(blocks)

    def _read_block(self, left_b: int) -> bytes:
        check(self._moving)
        block = self._file.read(min(BLOCK_B, left_b))
        if not block:
            raise OSError(0, f"the file ended {left_b} B too early")
        self._at_b += len(block)
        if self._at_b > self._most_b:
            self._most_b = self._at_b
            self._moving.progress(self._start_b + self._at_b)
        return block

    def sum(self, *digests: Digest) -> None:
        """Let these sum it; its beginning is where it stands again."""
        self._file.seek(self._start_b)
        left_b = self._size_b
        while left_b and (block := self._file.read(min(BLOCK_B, left_b))):
            check(self._moving)
            left_b -= len(block)
            for digest in digests:
                digest.update(block)
        self._at_b = 0


def check(moving: Moving) -> None:
    """Raise where a transfer is to end."""
    if moving.cancel.is_set():
        raise Cancelled("given up, as it was asked to")
