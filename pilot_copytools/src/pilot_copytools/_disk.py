"""Files on this node, summed on their way to storage and back."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from attrs import frozen

from pilot_copytools._digests import KIND
from pilot_copytools._side import IN, OUT
from pilot_core.sdk import Checksum, Code, FileSpec, Found, Moved, Moving, PilotError
from pilot_core.sdk.io import Cancelled, Digest, sum_file

BLOCK_B: Final = 1 << 18
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
_KEPT: Final = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW


def kind_of(file: FileSpec) -> str:
    """The kind of checksum that counts for a file."""
    return file.checksum.kind if file.checksum else KIND


# --- arriving -------------------------------------------------------------------------------------------------------


class Arriving:
    """A file that is written and summed; what was kept of an earlier try is summed first."""

    def __init__(self, file: BinaryIO, kind: str, kept_b: int, *further: str) -> None:
        self.kept_b = kept_b
        self._file = file
        self._kind = kind
        self._digest = Digest({kind, *further})
        self._size_b = 0
        while self._size_b < kept_b:
            block = file.read(min(BLOCK_B, kept_b - self._size_b))
            if not block:
                raise OSError(0, f"{kept_b} B were kept, {self._size_b} B are there")
            self._sum(block)

    def write(self, data: bytes | memoryview, /) -> None:
        self._file.write(data)
        self._sum(data)

    def _sum(self, data: bytes | memoryview) -> None:
        self._digest.update(data)
        self._size_b += len(data)

    def moved(self, told: Mapping[str, str], url: str) -> Moved:
        """What arrived, if it is what the storage says that it has."""
        for kind, found in self._digest.hexdigests().items():
            if told.get(kind, found) != found:
                said = f"{url}: {kind}:{found} arrived, {told[kind]} by the server's word"
                raise IN.mismatch(kind, said)
        found = self._digest.hexdigests()[self._kind]
        return Moved(size_b=self._size_b, checksum=Checksum(self._kind, found), summed=True)


class Dropping:
    """What is read back from storage only to be weighed and summed."""

    def __init__(self, kinds: Iterable[str]) -> None:
        self._digest = Digest(kinds)
        self.size_b = 0

    def write(self, data: bytes | memoryview, /) -> None:
        self._digest.update(data)
        self.size_b += len(data)

    @property
    def sums(self) -> Mapping[str, str]:
        return self._digest.hexdigests()


@contextmanager
def arriving(path: Path, file: FileSpec, moving: Moving, *further: str) -> Iterator[Arriving]:
    """A file at ``path``, new or gone on with; of one that was cut off its beginning stays, for another try.

    ``further`` kinds are summed as well.
    """
    kept_b = moving.kept_b if moving.kept_b < (file.size_b or 0) else 0
    with ExitStack() as unless_whole:
        fd = os.open(path, _KEPT if moving.kept_b else _NEW, 0o644)
        unless_whole.callback(path.unlink, missing_ok=True)
        with open(fd, "r+b" if moving.kept_b else "wb") as opened:
            try:
                if moving.kept_b:
                    opened.truncate(kept_b)
                yield Arriving(opened, kind_of(file), kept_b, *further)
            except (PilotError, Cancelled) as failed:
                if _was_cut(failed) and opened.tell():
                    unless_whole.pop_all()
                raise
        unless_whole.pop_all()


def _was_cut(failed: PilotError | Cancelled) -> bool:
    """Whether nothing is wrong with what came until then."""
    return not isinstance(failed, PilotError) or failed.code is Code.COMMUNICATIONFAILURE


# --- leaving --------------------------------------------------------------------------------------------------------


@frozen
class Known:
    """What is known of a file that is to be stored: its size, its checksum and all its sums."""

    size_b: int
    checksum: Checksum
    sums: Mapping[str, str]

    def __str__(self) -> str:
        return describe(self.size_b, self.sums)

    @property
    def moved(self) -> Moved:
        """What to tell when it is stored."""
        return Moved(size_b=self.size_b, checksum=self.checksum, summed=True)

    def is_in(self, size_b: int | None, told: Mapping[str, str]) -> bool | None:
        """Whether what lies in storage is this file; ``None`` if nobody knows."""
        if size_b is not None and size_b != self.size_b:
            return False
        compared = [told[kind] == value for kind, value in self.sums.items() if kind in told]
        return all(compared) if compared else None

    def check(self, there_b: int | None, told: Mapping[str, str], url: str) -> None:
        """Raise unless what lies in storage is this file."""
        same = self.is_in(there_b, told)
        if same is None:
            raise PilotError(Code.CHKSUMNOTSUP, f"{url}: it tells no {' or '.join(self.sums)} of what it stored")
        if not same:
            raise OUT.mismatch(self.checksum.kind, f"{url}: {describe(there_b, told)} are there, {self} here")

    def already(self, there_b: int | None, told: Mapping[str, str], url: str) -> Moved:
        """Accept what lies there if it is this very file."""
        if self.is_in(there_b, told):
            return self.moved
        raise PilotError(Code.FILEEXISTS, f"{url}: {describe(there_b, told)} are there already, {self} here")


def describe(size_b: int | None, sums: Mapping[str, str]) -> str:
    """A size and digests, as people are told."""
    told = ", ".join(f"{kind}:{value}" for kind, value in sums.items()) or "no digest"
    return f"{'unknown' if size_b is None else size_b} B and {told}"


def know(source: Path, file: FileSpec, moving: Moving, *further: str) -> Known:
    """What is known of a file here, read for its sums only where they are not known; ``further`` kinds as well."""
    size_b = source.stat().st_size
    if file.size_b not in (None, size_b):
        raise OUT.mismatch(kind_of(file), f"the file here has {size_b} B, {file.size_b} B expected")
    kind, wanted = kind_of(file), file.checksum
    if wanted and kind == KIND and not further:
        return Known(size_b, wanted, {kind: wanted.value})
    sums = sum_file(source, {KIND, kind, *further}, cancelled=moving.cancel).sums
    found = Checksum(kind, sums[kind])
    if wanted not in (None, found):
        raise OUT.mismatch(kind, f"the file here has {found}, {wanted} expected")
    return Known(size_b, found, sums)


class Leaving:
    """Reads a file to be sent, and keeps back the end of one that is not what it should be."""

    def __init__(self, file: BinaryIO, known: Known) -> None:
        self._file = file
        self._known = known
        self.seek(0)

    def tell(self) -> int:
        return self._file.tell()

    def seek(self, place: int, /) -> None:
        self._file.seek(place)
        self._digest = Digest([self._known.checksum.kind])

    def read(self, size_b: int, /) -> bytes:
        block = self._file.read(size_b)
        self._digest.update(block)
        wanted = self._known.checksum
        if self.tell() >= self._known.size_b and (found := self._digest.hexdigests()[wanted.kind]) != wanted.value:
            raise OUT.mismatch(wanted.kind, f"the file here has {wanted.kind}:{found}, {wanted} expected")
        return block


def found_as(size_b: int | None, told: Mapping[str, str], file: FileSpec) -> Found:
    """What lies in storage, with the digest that can be compared with the file's."""
    kind = kind_of(file) if kind_of(file) in told else next(iter(told), "")
    return Found(size_b=size_b, checksum=Checksum(kind, told[kind]) if kind else None)
