"""What a payload said: the ends of its logs, line by line, printable and without secrets, however much there is."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path
from typing import BinaryIO, Final

from attrs import frozen

from pilot_core.control.checks import CONTROL
from pilot_core.io.inside import Inside
from pilot_core.model.texts import clean
from pilot_core.redact import Redactor

STDERR: Final = "payload.stderr"
STDOUT: Final = "payload.stdout"
LOOKED_AT_B: Final = 65536
LONGEST_SECRET_B: Final = 8192
COUNTED_B: Final = 1 << 26
"""In a longer gap between the two ends of a log lines are not counted."""
MOST_LOGS: Final = 20
TAIL_LINES: Final = 20
TAIL_CHARS: Final = 2000


@frozen
class Line:
    """A line of a log; a negative number counts from its end, where the log is too long to be counted."""

    file: str
    number: int
    text: str


class Said:
    """The logs of one job, each read when it is first asked for."""

    def __init__(self, workdir: Path, redactor: Redactor) -> None:
        self._workdir = workdir
        self._redactor = redactor
        self._lines: dict[str, list[Line]] = {}

    def lines(self, name: str) -> list[Line]:
        """The lines of one log that say something; none if it is no plain file."""
        if name not in self._lines:
            self._lines[name] = self._read(name)
        return self._lines[name]

    def names(self, wanted: Iterable[str]) -> list[str]:
        """The logs that are there of those wanted, where ``*`` stands for anything."""
        names: list[str] = []
        for pattern in wanted:
            found = self._there() if "*" in pattern else [pattern]
            names += [name for name in found if name not in names and fnmatchcase(name, pattern)]
        return names[:MOST_LOGS]

    def _there(self) -> list[str]:
        with suppress(OSError), Inside(self._workdir) as inside:
            return sorted(inside.names())
        return []

    def tail(self, name: str = "") -> str:
        """The last lines of a log, or of what the payload said last."""
        lines = self.lines(name) if name else self.lines(STDERR) or self.lines(STDOUT)
        return "\n".join(line.text for line in lines[-TAIL_LINES:])[-TAIL_CHARS:]

    def _read(self, name: str) -> list[Line]:
        try:
            with Inside(self._workdir) as inside, inside.open_read(name) as file:
                return list(self._told(name, *_ends(file)))
        except OSError:
            return []

    def _told(self, name: str, head: str, gap: int | None, end: str) -> Iterator[Line]:
        first, last = (self._redactor.scrub(text).split("\n") for text in (head, end))
        yield from _numbered(name, first, 1)
        if end:
            yield from _numbered(name, last, -len(last) if gap is None else len(first) + gap)


def open_said(workdir: Path, name: str) -> BinaryIO:
    """The file of what a payload says, beside the job's directory if it is kept there; ``OSError`` if it is gone."""
    for root in (workdir.with_name(f"{workdir.name}{CONTROL}"), workdir):
        with suppress(FileNotFoundError), Inside(root) as folder:
            return folder.open_read(name)
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(workdir / name))


def tail_of(workdir: Path, limit_b: int, redactor: Redactor) -> str:
    """The end of what the payload said, its complaints if it has any, with nothing secret in it.

    More is read than is shown: the second half of a secret looks like no secret.
    """
    for name in (STDERR, STDOUT) if limit_b > 0 else ():
        with suppress(OSError), open_said(workdir, name) as file:
            file.seek(max(file.seek(0, os.SEEK_END) - limit_b - LONGEST_SECRET_B, 0))
            data = file.read(limit_b + LONGEST_SECRET_B)
            text = redactor.scrub(data.decode(errors="replace")).encode()[-limit_b:]
            if text.strip():
                return text.decode(errors="ignore")
    return ""


def lines_of(path: Path, redactor: Redactor) -> list[Line]:
    """The lines of one log anywhere."""
    return Said(path.parent, redactor).lines(path.name)


def _numbered(name: str, lines: list[str], start: int) -> Iterator[Line]:
    for number, line in enumerate(lines, start):
        text = line.strip()
        if not text.isprintable():
            text = "".join(c if c.isprintable() else " " for c in clean(text)).strip()
        if text:
            yield Line(name, number, text)


def _ends(file: BinaryIO) -> tuple[str, int | None, str]:
    """The head of a file, how many line ends are left out, and its tail."""
    head = file.read(LOOKED_AT_B)
    begin = max(file.seek(0, os.SEEK_END) - LOOKED_AT_B, len(head))
    gap = _line_ends(file, len(head), begin)
    file.seek(begin)
    end = file.read(LOOKED_AT_B)
    if gap == 0 and begin == len(head):
        return (head + end).decode(errors="replace"), 0, ""
    return head.decode(errors="replace"), gap, end.decode(errors="replace")


def _line_ends(file: BinaryIO, start: int, stop: int) -> int | None:
    if stop - start > COUNTED_B:
        return None
    file.seek(start)
    return sum(file.read(min(LOOKED_AT_B, stop - at)).count(b"\n") for at in range(start, stop, LOOKED_AT_B))
