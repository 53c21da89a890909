"""The payload's output, sealed in segments as it grows: what was said is on the disk, whatever happens next.

A segment is a file ``sealed/<output>-<offset>-<adler32>`` in the job's control directory, synced before it gets this
name. The last one is written anew with what has come since, until it is full; each output keeps its latest segments.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Final
from zlib import adler32

from attrs import define, field, frozen

from pilot_core.control.said import STDERR, STDOUT, open_said
from pilot_core.io.files import write_atomic
from pilot_core.io.inside import Inside

OUTPUTS: Final = (STDOUT, STDERR)
SEGMENT_B: Final = 1 << 18
_NAME: Final = re.compile(r"(payload\.std(?:out|err))-(\d{15})-([0-9a-f]{8})", re.ASCII)
log = logging.getLogger(__name__)


@frozen
class Segment:
    """A stretch of an output: where it begins, and its sum."""

    path: Path
    output: str
    offset: int
    size_b: int
    sum: int
    at: float
    """When it was sealed, by the wall clock."""

    @property
    def end(self) -> int:
        """The offset behind its last byte."""
        return self.offset + self.size_b

    def read(self) -> bytes:
        """Its bytes; nothing if they are not those that were sealed."""
        data = b""
        with suppress(OSError):
            data = self.path.read_bytes()
        return data if adler32(data) == self.sum else b""


@define(eq=False)
class Sealer:
    """Seals what the payload of one job says. ``seal`` is called in a worker, once at a time."""

    workdir: Path
    folder: Path
    """Where the segments lie."""
    most_b: int
    """Of each output, so much is kept."""
    _outputs: dict[str, _Output] = field(factory=dict)
    _complained: bool = False

    def seal(self) -> None:
        """Seal what has come since; what cannot be sealed now will be the next time."""
        try:
            self._seal()
            self._complained = False
        except OSError as error:
            if not self._complained:
                log.warning("what the payload says is not sealed: %s", error)
            self._complained = True

    def _seal(self) -> None:
        if not self._outputs:
            self.folder.mkdir(mode=0o700, exist_ok=True)
            found = segments(self.folder)
            self._outputs = {name: _Output.after(self.folder, name, found.get(name, ())) for name in OUTPUTS}
        for name, output in self._outputs.items():
            with suppress(FileNotFoundError), open_said(self.workdir, name) as file:
                output.seal(file, self.most_b)


@define(eq=False)
class _Output:
    """One output: its segments, and how far its file was read."""

    folder: Path
    name: str
    segments: list[Segment]
    position: int

    @classmethod
    def after(cls, folder: Path, name: str, found: Sequence[Segment]) -> _Output:
        return cls(folder, name, list(found), found[-1].end if found else 0)

    def seal(self, file: BinaryIO, most_b: int) -> None:
        """Seal what the file holds beyond the last segment; one that has become shorter began anew."""
        size_b = file.seek(0, 2)
        end = self.segments[-1].end if self.segments else 0
        if size_b < self.position:
            self.position = 0
        if (beyond_b := size_b - self.position - most_b) > 0:
            self.position, end = self.position + beyond_b, end + beyond_b
        file.seek(self.position)
        while self.position < size_b:
            end = self._grow(file, end, size_b - self.position)
        self._forget(most_b)

    def _grow(self, file: BinaryIO, end: int, most_b: int) -> int:
        """Fill the last segment up, or begin one; the end of what is sealed then."""
        last = self.segments[-1] if self.segments else None
        begun = last.read() if last and last.end == end and last.size_b < SEGMENT_B else b""
        fresh = file.read(min(SEGMENT_B - len(begun), most_b))
        if not fresh:
            raise OSError(f"{self.name} became shorter while it was read")
        self.segments.append(self._write(end - len(begun), begun + fresh))
        if last and begun:
            self.segments.remove(last)
            last.path.unlink(missing_ok=True)
        self.position += len(fresh)
        return self.segments[-1].end

    def _write(self, offset: int, data: bytes) -> Segment:
        digest = adler32(data)
        path = self.folder / f"{self.name}-{offset:015d}-{digest:08x}"
        write_atomic(path, data, durable=True)
        return Segment(path, self.name, offset, len(data), digest, path.stat().st_mtime)

    def _forget(self, most_b: int) -> None:
        while len(self.segments) > 1 and self.segments[-1].end - self.segments[1].offset >= most_b:
            self.segments.pop(0).path.unlink(missing_ok=True)


def segments(folder: Path) -> dict[str, tuple[Segment, ...]]:
    """What is sealed of each output, from its beginning on; of two that begin alike, the longer one."""
    found: dict[tuple[str, int], Segment] = {}
    for segment in sorted(_found(folder), key=lambda each: each.size_b):
        found[segment.output, segment.offset] = segment
    ordered = sorted(found.values(), key=lambda each: each.offset)
    return {name: each for name in OUTPUTS if (each := tuple(s for s in ordered if s.output == name))}


def _found(folder: Path) -> Iterator[Segment]:
    with suppress(FileNotFoundError):
        for entry in os.scandir(folder):
            if named := _NAME.fullmatch(entry.name):
                about = entry.stat(follow_symlinks=False)
                offset, digest = int(named[2]), int(named[3], 16)
                yield Segment(folder / entry.name, named[1], offset, about.st_size, digest, about.st_mtime)


def told_of(found: Mapping[str, Sequence[Segment]]) -> dict[str, object]:
    """How far each output is sealed, and since when; what a record says of it."""
    return {
        name: {"from_b": each[0].offset, "to_b": each[-1].end, "at": round(each[-1].at, 3)}
        for name, each in found.items()
    }


def stands_in(folder: Inside, name: str, sealed: Sequence[Segment]) -> bool:
    """Whether the output's file still holds every sealed byte in its place."""
    try:
        with folder.open_read(name) as file:
            return all(_same(file, each) for each in sealed)
    except OSError:
        return False


def _same(file: BinaryIO, segment: Segment) -> bool:
    file.seek(segment.offset)
    return adler32(file.read(segment.size_b)) == segment.sum


def joined(sealed: Sequence[Segment]) -> bytes:
    """What is sealed of an output, with a word in place of what is missing within."""
    text = BytesIO()
    end = sealed[0].offset
    for segment in sealed:
        if segment.offset > end:
            text.write(f"\n[{segment.offset - end} B are not sealed]\n".encode())
        data = segment.read()
        text.write(data or f"\n[{segment.size_b} B are damaged]\n".encode())
        end = segment.end
    return text.getvalue()
