"""Checksums of streams: several kinds in one pass, by the fastest library installed.

Values are lower-case hexadecimal text; adler32 and crc32c always have eight digits.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Protocol

from attrs import frozen

from pilot_core.io.cancel import Cancelled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future

    from pilot_core.io.cancel import Flag

    Roll = Callable[[bytes | bytearray | memoryview, int], int]

KINDS = ("adler32", "md5", "sha256", "crc32c")
SMALLEST_BLOCK_B = 1 << 12
BLOCK_B = 1 << 18
"""Small enough to be summed while it is still near the processor."""
LARGE_B, BLOCK_BESIDE_B, BLOCKS_BESIDE = 1 << 25, 1 << 20, 4
"""From that size on a file is summed by a thread of its own, in larger blocks, of which so many may be under way."""


@frozen
class Summed:
    """What went by: how many bytes, and their checksums by kind."""

    size_b: int
    sums: Mapping[str, str]


class Digest:
    """The checksums of the bytes given so far."""

    def __init__(self, kinds: Iterable[str]) -> None:
        self._sums = {kind: _start(kind) for kind in kinds}

    def update(self, data: bytes | bytearray | memoryview) -> None:
        for one in self._sums.values():
            one.update(data)

    def hexdigests(self) -> dict[str, str]:
        return {kind: one.hexdigest() for kind, one in self._sums.items()}


def sum_file(
    file: str | os.PathLike[str] | int,
    kinds: Iterable[str],
    on_progress: Callable[[int], None] | None = None,
    cancelled: Flag | None = None,
) -> Summed:
    """Read a file to its end: a path, or a descriptor from where it stands, which stays open."""
    if isinstance(file, int):
        return _pass(file, None, Digest(kinds), on_progress, cancelled)
    digest = Digest(kinds)
    fd = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return _pass(fd, None, digest, on_progress, cancelled)
    finally:
        os.close(fd)


def copy_summed(
    source_fd: int,
    destination_fd: int,
    kinds: Iterable[str],
    on_progress: Callable[[int], None] | None = None,
    cancelled: Flag | None = None,
    sync: bool = False,
) -> Summed:
    """Copy from where both stand to the source's end and sum what was written.

    A large file is summed in a thread beside, block by block from the very memory it is written from. `on_progress`
    gets the bytes so far, once a block. What a cancelled or failed copy wrote is the caller's.
    """
    large = os.fstat(source_fd).st_size >= LARGE_B
    copy = _pass_beside if large else _pass
    summed = copy(source_fd, destination_fd, Digest(kinds), on_progress, cancelled)
    if sync:
        os.fsync(destination_fd)
    return summed


def _pass(
    source_fd: int,
    destination_fd: int | None,
    digest: Digest,
    on_progress: Callable[[int], None] | None,
    cancelled: Flag | None,
) -> Summed:
    size_b = 0
    for block in _blocks(source_fd):
        if cancelled is not None and cancelled.is_set():
            raise Cancelled(f"given up after {size_b} bytes")
        if destination_fd is not None:
            _write_all(destination_fd, block)
        digest.update(block)
        size_b += len(block)
        if on_progress is not None:
            on_progress(size_b)
    return Summed(size_b, digest.hexdigests())


def _pass_beside(
    source_fd: int,
    destination_fd: int,
    digest: Digest,
    on_progress: Callable[[int], None] | None,
    cancelled: Flag | None,
) -> Summed:
    """The same pass by two threads: this one reads and writes, the other sums. The libraries let both run at once."""
    from collections import deque
    from concurrent.futures import ThreadPoolExecutor

    size_b = 0
    ring: deque[tuple[memoryview, Future[None] | None]] = deque()
    ring.extend((memoryview(bytearray(BLOCK_BESIDE_B)), None) for _ in range(BLOCKS_BESIDE))
    with ThreadPoolExecutor(1, "checksum") as beside:
        while size := os.readv(source_fd, [block := _summed(*ring.popleft())]):
            if cancelled is not None and cancelled.is_set():
                raise Cancelled(f"given up after {size_b} bytes")
            _write_all(destination_fd, block[:size])
            ring.append((block, beside.submit(digest.update, block[:size])))
            size_b += size
            if on_progress is not None:
                on_progress(size_b)
    for each in ring:
        _summed(*each)
    return Summed(size_b, digest.hexdigests())


def _summed(block: memoryview, summing: Future[None] | None) -> memoryview:
    """The block, when all that was in it is part of the sum."""
    if summing is not None:
        summing.result()
    return block


def _blocks(fd: int) -> Iterator[memoryview]:
    block = memoryview(bytearray(min(BLOCK_B, max(os.fstat(fd).st_size + 1, SMALLEST_BLOCK_B))))
    while size := os.readv(fd, [block]):
        yield block[:size]


def _write_all(fd: int, data: memoryview) -> None:
    while data:
        data = data[os.write(fd, data) :]


class _Sum(Protocol):
    def update(self, data: bytes | bytearray | memoryview, /) -> None: ...

    def hexdigest(self) -> str: ...


class _Rolling:
    """A 32 bit sum in the shape of a hashlib object."""

    __slots__ = ("_roll", "_value")

    def __init__(self, roll: Roll, value: int) -> None:
        self._roll = roll
        self._value = value

    def update(self, data: bytes | bytearray | memoryview, /) -> None:
        self._value = self._roll(data, self._value)

    def hexdigest(self) -> str:
        return f"{self._value & 0xFFFFFFFF:08x}"


def _start(kind: str) -> _Sum:
    match kind:
        case "adler32":
            return _Rolling(_fastest_adler32(), 1)
        case "crc32c":
            return _Rolling(_fastest_crc32c(), 0)
        case "md5" | "sha256":
            import hashlib

            return hashlib.new(kind, usedforsecurity=False)
    raise ValueError(f"unknown kind of checksum {kind!r}; known are {', '.join(KINDS)}")


@cache
def _fastest_adler32() -> Roll:
    for module in ("zlib_ng.zlib_ng", "isal.isal_zlib", "zlib"):
        try:
            roll: Roll = import_module(module).adler32
        except ImportError:
            continue
        return roll
    raise ImportError("this Python was built without zlib")


@cache
def _fastest_crc32c() -> Roll:
    try:
        extend = import_module("google_crc32c").extend
    except ImportError:
        return _plain_crc32c

    def roll(data: bytes | bytearray | memoryview, crc: int) -> int:
        return int(extend(crc, bytes(data)))

    return roll


def _plain_crc32c(data: bytes | bytearray | memoryview, crc: int) -> int:
    table = _crc32c_table()
    crc ^= 0xFFFFFFFF
    for byte in bytes(data):
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


@cache
def _crc32c_table() -> tuple[int, ...]:
    def entry(value: int) -> int:
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
        return value

    return tuple(entry(byte) for byte in range(256))
