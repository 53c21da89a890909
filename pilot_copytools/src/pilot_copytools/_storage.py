"""How a file becomes final in a storage that can be asked and can rename, whatever client talks to it.

It is put there under a name of its own, the storage is asked for its size and its checksum, and only then does it get
its final name. No client is believed that something is done.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from functools import cached_property
from pathlib import Path
from typing import Final

from pilot_copytools._told import IN, OUT, checked, go_on, mismatch, part_of, removed_on_failure, shown, told
from pilot_core.sdk import Checksum, Code, ErrorCode, FileSpec, Found, Moved, Moving, PilotError, Replica
from pilot_core.sdk.io import sum_file

KIND: Final = "adler32"


class Storage(ABC):
    """A storage as one client sees it. ``PilotError`` says why there is no answer."""

    renames: bool = True
    """Whether it can rename; otherwise a file is put straight under its final name, and removed if it is wrong."""

    @abstractmethod
    def size(self, url: str) -> int | None:
        """How many bytes lie there; ``None`` if nothing does."""

    @abstractmethod
    def checksum(self, url: str, kind: str) -> Checksum | None:
        """The checksum of what lies there, by the storage's own word; ``None`` if it knows none of this kind."""

    @abstractmethod
    def put(self, source: Path, url: str, moving: Moving) -> None:
        """Bring the file there, with the directories above it; what lies there is replaced."""

    @abstractmethod
    def rename(self, url: str, to: str) -> None:
        """Give what lies there another name, in one step."""

    @abstractmethod
    def remove(self, url: str) -> None:
        """Remove what lies there."""


class Copier(Storage):
    """A client that copies a whole file in one call."""

    @abstractmethod
    def get(self, url: str, target: Path, moving: Moving) -> None:
        """Bring what lies there to ``target``, or at least say so."""


def fetch(storage: Copier, replica: Replica, target: Path, moving: Moving) -> Moved:
    """Have a file brought; whether all of it came is seen from what lies there and what lies here."""
    url = checked(replica.url)
    with told(IN), removed_on_failure(target):
        storage.get(url, target, moving)
        size_b = storage.size(url)
        if size_b is None:
            raise PilotError(Code.MISSINGINPUTFILE, f"{shown(url)} was there, and is no more")
        moving.progress(target.stat().st_size)
        go_on(moving)
    return Moved(size_b=size_b)


def store(storage: Storage, source: Path, replica: Replica, file: FileSpec, moving: Moving) -> Moved:
    """Put ``source`` under its final name when it is known to be right at the far end."""
    with told(OUT):
        known, url = Known(source, file, moving), checked(replica.url)
        lying_b = storage.size(url)
        if lying_b is not None:
            if lying_b == known.size_b and known.differs(storage, url) is None:
                return known.moved
            if not file.replace:
                raise PilotError(
                    Code.FILEEXISTS, f"{shown(url)} is there already, with {lying_b} B, and is not this file"
                )
            if not storage.renames:
                storage.remove(url)
        _put(storage, known, url, moving)
        return known.moved


def _put(storage: Storage, known: Known, url: str, moving: Moving) -> None:
    """Bring it there under a name of its own, look whether it is right, and rename it."""
    part = part_of(url) if storage.renames else url
    with ExitStack() as unless_right:
        unless_right.callback(_clear, storage, part)
        storage.put(known.source, part, moving)
        size_b = storage.size(part)
        if size_b != known.size_b:
            raise PilotError(known.mismatch, f"{shown(url)}: {size_b or 0} B at the far end, {known.size_b} B here")
        if differs := known.differs(storage, part):
            raise differs
        go_on(moving)
        if storage.renames:
            storage.rename(part, url)
        unless_right.pop_all()


def _clear(storage: Storage, url: str) -> None:
    with suppress(PilotError):
        storage.remove(url)


def look(storage: Storage, replica: Replica, file: FileSpec) -> Found | None:
    """What lies there, with its checksum of the file's kind if the storage knows it."""
    url = checked(replica.url)
    size_b = storage.size(url)
    if size_b is None:
        return None
    return Found(size_b=size_b, checksum=storage.checksum(url, file.checksum.kind if file.checksum else KIND))


class Known:
    """What is known of a file here."""

    def __init__(self, source: Path, file: FileSpec, moving: Moving) -> None:
        self.source = source
        self.file = file
        self.size_b = source.stat().st_size
        self._cancel = moving.cancel
        if file.size_b not in (None, self.size_b):
            raise PilotError(self.mismatch, f"the file here has {self.size_b} B, {file.size_b} B expected")

    @property
    def mismatch(self) -> ErrorCode:
        """The code of a file that is not what it should be."""
        return mismatch(OUT, self.file)

    @property
    def moved(self) -> Moved:
        """What is told of it when it is stored."""
        return Moved(size_b=self.size_b, checksum=self.file.checksum or self._sums[KIND], summed=True)

    def differs(self, storage: Storage, url: str) -> PilotError | None:
        """What is wrong with what lies there, by the checksum that the storage tells."""
        for kind in dict.fromkeys((self.file.checksum.kind if self.file.checksum else KIND, KIND)):
            lying = storage.checksum(url, kind)
            if lying is not None:
                here = self.of_kind(kind)
                return None if lying == here else PilotError(self.mismatch, f"{lying} at the far end, {here} here")
        return PilotError(Code.CHKSUMNOTSUP, f"{shown(url)}: the storage tells no {KIND} of it")

    def of_kind(self, kind: str) -> Checksum:
        """Its checksum of this kind."""
        told = self.file.checksum
        return told if told is not None and told.kind == kind else self._sums[kind]

    @cached_property
    def _sums(self) -> Mapping[str, Checksum]:
        """Checksums of the file here, where the one that is told is of no use to the storage."""
        told = self.file.checksum
        kinds = {KIND, told.kind} if told else {KIND}
        found = sum_file(self.source, kinds, cancelled=self._cancel).sums
        if told is not None and found[told.kind] != told.value:
            raise PilotError(self.mismatch, f"the file here has {told.kind}:{found[told.kind]}, {told} expected")
        return {kind: Checksum(kind, value) for kind, value in found.items()}
