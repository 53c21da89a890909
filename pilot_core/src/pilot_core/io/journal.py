"""Records on disk before they are acted on. Knows records, not jobs.

A journal is a file of lines, each ``crc32 of the text, space, text, newline``. The text is JSON: an
object is a record, the first one says the format, and the string ``"sealed"`` says that nothing follows.
Room is reserved ahead, so an open journal ends in NUL bytes and a full disk does not stop it.
"""

from __future__ import annotations

import errno
import json
import os
import threading
from binascii import crc32
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from attrs import field, frozen

from pilot_core.io.files import sync_folder

if TYPE_CHECKING:
    from pathlib import Path

    from pilot_core.io.box import Box

E = TypeVar("E")
Record = Mapping[str, Any]

FORMAT = 1
OLDEST_READ = 1  # from the second format on: the one before
RESERVE_B = 65536

_SEAL = "sealed"
_encode = json.JSONEncoder(separators=(",", ":")).encode


class JournalError(Exception):
    """A file that cannot be used as a journal."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"{path}: {why}")
        self.path = path
        self.why = why


@frozen
class Story:
    """What a journal tells: the records up to its end or to the first damage."""

    records: tuple[dict[str, Any], ...]
    sealed: bool
    damage_b: int
    """Bytes that follow the last good record and are not reserve: a torn write, or worse."""
    end_b: int = field(repr=False)
    gap: bool = False
    """Whether it is worse: lines follow the damaged one, so this is not the whole story."""


class Journal:
    """One journal, open for appending. Not for two threads at once."""

    def __init__(self, path: Path, fd: int, end_b: int, reserve_b: int) -> None:
        self.path = path
        self.sealed = False
        self.lost: OSError | None = None
        self._fd = fd
        self._end_b = end_b
        self._reserve_b = reserve_b
        self._room_b = os.fstat(fd).st_size
        self._named = False

    @classmethod
    def create(cls, path: Path, reserve_b: int = RESERVE_B) -> Journal:
        """Make a new journal and set its room aside.

        ``OSError`` says that there is no room, or that the file exists; nothing is left behind.
        """
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            return cls._begin(path, fd, reserve_b)
        except OSError:
            os.close(fd)
            path.unlink()
            raise

    @classmethod
    def reopen(cls, path: Path, reserve_b: int = RESERVE_B) -> tuple[Journal, Story]:
        """Go on with the journal of somebody who died, after its last good record."""
        fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            story = _tell(path, _read_all(fd))
            if story.sealed:
                raise JournalError(path, "is sealed: nothing may follow")
            check_whole(path, story)
            if story.end_b == 0:
                return cls._begin(path, fd, reserve_b), story
            _write_at(fd, bytes(story.damage_b), story.end_b)
            return cls(path, fd, story.end_b, reserve_b), story
        except (OSError, JournalError):
            os.close(fd)
            raise

    @classmethod
    def _begin(cls, path: Path, fd: int, reserve_b: int) -> Journal:
        allocate(fd, 0, reserve_b)
        journal = cls(path, fd, 0, reserve_b)
        journal.append({"format": FORMAT})
        return journal

    def append(self, record: Record) -> None:
        self.write(line_of(record))

    def write(self, lines: bytes) -> None:
        """Append what ``line_of`` made, one line or many."""
        _write_at(self._fd, lines, self._end_b)
        self._end_b += len(lines)
        if self._reserve_b and self._room_b - self._end_b < self._reserve_b // 2:
            self._reserve()

    def sync(self) -> None:
        """Return when the disk holds everything appended so far."""
        if not self._named:
            sync_folder(self.path.parent)
            self._named = True
        os.fdatasync(self._fd)

    def seal(self, record: Record | None = None) -> None:
        """Append a last record, give the reserve back, sync, close."""
        if record is not None:
            self.append(record)
        _write_at(self._fd, _line(_SEAL), self._end_b)
        os.ftruncate(self._fd, self._end_b + len(_line(_SEAL)))
        self.sync()
        self.sealed = True
        self.close()

    def leave(self) -> None:
        """Sync and close, unsealed: somebody else will go on with it."""
        self.sync()
        self.close()

    @property
    def closed(self) -> bool:
        """Whether nothing more can be written here."""
        return self._fd < 0

    def close(self) -> None:
        """Close the file as it stands; later appends fail with ``EBADF``."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _reserve(self) -> None:
        with suppress(OSError):  # what is left of the reserve serves until the disk has room again
            allocate(self._fd, self._end_b, self._reserve_b)
            self._room_b = self._end_b + self._reserve_b


def read_back(path: Path) -> Story:
    """Read a journal as far as it is good. One that was never begun tells an empty story."""
    return _tell(path, _read(path))


def records_in(path: Path, most_b: int | None = None) -> Iterator[Record]:
    """The good records of a journal, or of its beginning, each read when it is asked for."""
    values = (value for value, _ in _good_values(_read(path, most_b)) if value != _SEAL)
    for header in values:
        _check_format(path, header)
        yield from values


def check_whole(path: Path, story: Story) -> None:
    """``JournalError`` where more was written than can be read, so that nobody may go by this story."""
    if story.gap:
        raise JournalError(path, f"is damaged at byte {story.end_b}, and what was written behind that is not known")


def line_of(record: Record) -> bytes:
    """A record as it stands in the file. ``TypeError`` if JSON has no word for something in it."""
    return _line(dict(record))


class JournalWriter(Generic[E]):
    """The way to the loop: events reach the box when their records are written.

    Whoever may wait for the disk writes all that waits, be it others'; for those who may not there is a thread. A
    journal that cannot be written is told to ``on_lost`` once, before the event concerned is posted; its job goes on in
    memory. ``on_lost`` must neither raise nor wait for anything to be written.
    """

    def __init__(self, box: Box[E], on_lost: Callable[[Journal, OSError], None]) -> None:
        self._box = box
        self._on_lost = on_lost
        self._waiting: deque[_Entry[E]] = deque()
        self._writing = threading.Lock()
        self._calls: SimpleQueue[bool] = SimpleQueue()
        self._open = True
        self._door = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    def submit(self, journal: Journal, record: Record, event: E) -> None:
        """Have ``record`` written, then ``event`` posted.

        Events are posted in the order submitted, whatever journal they belong to.
        """
        self._submit(_Entry(journal, line_of(record), event))

    def write(self, journal: Journal, record: Record, event: E, timeout_s: float = -1) -> bool:
        """The same by this very thread; False if somebody else has been writing for so long."""
        self._put(_Entry(journal, line_of(record), event))
        return self.flush(timeout_s)

    def begin(self, journal: Journal, record: Record, event: E) -> None:
        """Post an event when the disk holds its record, by this very thread."""
        with self._writing:
            self._write([_Entry(journal, line_of(record), event)])
            self.sync(journal)
            self._box.post(event)

    def sync(self, journal: Journal) -> None:
        """Return when the disk holds what is written of this journal; others are written meanwhile."""
        if not journal.closed and not journal.lost:
            self._keep(journal, journal.sync)

    def seal(self, journal: Journal, record: Record, event: E) -> None:
        """The same as ``submit`` for a journal's last record. Later events of this journal are posted unwritten."""
        self._submit(_Entry(journal, line_of(record), event, last=Journal.seal))

    def leave(self, journal: Journal, event: E) -> None:
        """Post an event when everything before it is on disk, and the journal is closed as it stands, unsealed."""
        self._submit(_Entry(journal, b"", event, last=Journal.leave))

    def flush(self, timeout_s: float = -1) -> bool:
        """Write and post what waits; False if somebody else has been writing for so long."""
        if not self._writing.acquire(timeout=timeout_s):
            return False
        try:
            self._write_waiting()
        finally:
            self._writing.release()
        return True

    def close(self, timeout_s: float | None = None) -> bool:
        """Write what waits and end the thread; False if it has not ended in time (a disk that hangs).

        Later events are posted unwritten. Journals stay open.
        """
        with self._door:
            self._open = False
        self._calls.put(False)
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _submit(self, entry: _Entry[E]) -> None:
        self._put(entry)
        self._calls.put(True)

    def _put(self, entry: _Entry[E]) -> None:
        with self._door:
            if self._open:
                self._waiting.append(entry)
                return
        self._box.post(entry.event)

    def _run(self) -> None:
        going_on = True
        while going_on:
            going_on = self._calls.get()
            self.flush()

    def _write_waiting(self) -> None:
        batch = [self._waiting.popleft() for _ in range(len(self._waiting))]
        try:
            self._write(batch)
        finally:
            for entry in batch:
                self._box.post(entry.event)

    def _write(self, batch: list[_Entry[E]]) -> None:
        of: dict[Journal, list[_Entry[E]]] = {}
        for entry in batch:
            of.setdefault(entry.journal, []).append(entry)
        for journal, entries in of.items():
            if not journal.closed and not journal.lost:
                self._keep(journal, partial(_write_entries, journal, entries))

    def _keep(self, journal: Journal, do: Callable[[], None]) -> None:
        try:
            do()
        except (OSError, ValueError) as error:  # an fd of -1 is a ValueError to fdatasync
            journal.lost = error if isinstance(error, OSError) else OSError(errno.EBADF, str(error))
            self._on_lost(journal, journal.lost)


@frozen(eq=False)
class _Entry(Generic[E]):
    journal: Journal
    line: bytes
    event: E
    last: Callable[[Journal], None] | None = None
    """What is done with the journal when nothing follows in it."""


def _write_entries(journal: Journal, entries: list[_Entry[Any]]) -> None:
    ends = next((number for number, entry in enumerate(entries, 1) if entry.last), len(entries))
    journal.write(b"".join(entry.line for entry in entries[:ends]))
    last = entries[ends - 1].last
    if last is not None:
        last(journal)


def _line(value: object) -> bytes:
    text = _encode(value).encode()
    return b"%08x %s\n" % (crc32(text), text)


def _tell(path: Path, data: bytes) -> Story:
    good = list(_good_values(data))
    values, end_b = [value for value, _ in good], good[-1][1] if good else 0
    damage = data[end_b:].rstrip(b"\0")
    sealed = values[-1:] == [_SEAL]
    if values:
        _check_format(path, values[0])
    elif damage:
        raise JournalError(path, "does not begin as a journal does")
    gap = not sealed and b"\n" in damage[:-1]
    return Story(tuple(values[1 : len(values) - sealed]), sealed, len(damage), end_b, gap)


def _good_values(data: bytes) -> Iterator[tuple[Any, int]]:
    """Each line's value and where it ends, up to the seal or to what is damaged."""
    value, start = None, 0
    while value != _SEAL and (end := data.find(b"\n", start)) >= 0:
        value = _parse(data[start:end])
        if not isinstance(value, dict) and value != _SEAL:
            return
        start = end + 1
        yield value, start


def _parse(line: bytes) -> object:
    """The line's value, or None where sum and text disagree."""
    text = line[9:]
    if line[:9] != b"%08x " % crc32(text):
        return None
    try:
        return json.loads(text)
    except ValueError:
        return None


def _check_format(path: Path, header: object) -> None:
    number = header.get("format") if isinstance(header, dict) else None
    if not isinstance(number, int):
        raise JournalError(path, "does not begin as a journal does")
    if number > FORMAT:
        raise JournalError(path, f"has format {number}, newer than this pilot's {FORMAT}: use a newer pilot")
    if number < OLDEST_READ:
        raise JournalError(path, f"has format {number}, too old for this pilot: it reads {OLDEST_READ} to {FORMAT}")


def _read(path: Path, most_b: int | None = None) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        return _read_all(fd) if most_b is None else os.read(fd, most_b)
    finally:
        os.close(fd)


def _read_all(fd: int) -> bytes:
    with os.fdopen(fd, "rb", closefd=False) as file:
        return file.read()


def _write_at(fd: int, data: bytes, offset_b: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, offset_b)
        view, offset_b = view[written:], offset_b + written


def allocate(fd: int, offset_b: int, size_b: int) -> None:
    """Have the disk set room aside for a file."""
    if size_b and hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(fd, offset_b, size_b)
            return
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                raise
    _write_at(fd, bytes(size_b), offset_b)
