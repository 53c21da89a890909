"""Copy tools: what moves files, and what it can do."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from attrs import frozen

from pilot_core.errors import PilotError
from pilot_core.model.files import Checksum, FileSpec, Replica
from pilot_core.spec.driver import Driver
from pilot_core.spec.work import Cancel


@frozen(kw_only=True)
class Moved:
    """What a tool says of a transfer. ``summed`` if the digest was made of the very bytes that were moved.

    After a tool went on with what an earlier try left, the bytes that lay there already count as well.
    """

    size_b: int
    checksum: Checksum | None = None
    summed: bool = False


@frozen(kw_only=True)
class Found:
    """What lies in storage, as far as the storage tells."""

    size_b: int | None = None
    checksum: Checksum | None = None


@frozen(kw_only=True)
class Moving:
    """What a tool may use while it moves files: how long, whether to go on, and whom to tell of bytes.

    ``cancel`` is set when the job ends, when ``budget_s`` is over and when no byte has moved for too long; a tool must
    come back within 5 s then, and one that cannot promise this says ``isolation = PROCESS``. ``progress`` takes all
    bytes that have moved in this call so far, every second or oftener; for a tool that never tells, being a program,
    the growth of its targets counts. ``kept_b`` is what an earlier try of the same replica left at the target,
    ``proxy`` what the owner of the job shows to storage, where that is not the pilot's own.
    """

    cancel: Cancel
    budget_s: float | None = None
    progress: Callable[[int], None] = lambda _: None
    kept_b: int = 0
    proxy: Path | None = None


@frozen
class Wanted:
    """One of many files: its place in storage, its path here, and what is known of it."""

    replica: Replica
    path: Path
    file: FileSpec


class CopyTool(Driver):
    """Moves files. A tool is one or more of ``Fetches``, ``Stores`` and ``Looks``; called from several threads.

    It tries once and tells why that failed: choosing another place, waiting and trying again is not its business.
    """

    schemes: ClassVar[tuple[str, ...]] = ()

    def takes(self, replica: Replica) -> bool:
        """Whether this tool can move to or from this place."""
        scheme = replica.url.partition("://")[0] if "://" in replica.url else ""
        return scheme in self.schemes


class Fetches(CopyTool):
    """Brings files to the node.

    A tool that ``resumes`` may leave a true beginning of the file at the target when it fails. If the same place is
    tried once more, ``moving.kept_b`` bytes lie there: the tool goes on behind them or, where the storage can't, anew.
    """

    resumes: ClassVar[bool] = False

    @abstractmethod
    def fetch(self, replica: Replica, target: Path, file: FileSpec, moving: Moving) -> Moved:
        """Put the file at ``target``, where nothing is but ``moving.kept_b`` bytes, in a directory that is there.

        Returns when all of it is there. Raises ``PilotError`` otherwise, and leaves nothing behind.
        """


class FetchesMany(Fetches):
    """Brings many files of one host in a single call, where that is faster than as many calls."""

    @abstractmethod
    def fetch_many(self, wanted: Sequence[Wanted], moving: Moving) -> Iterator[tuple[Wanted, Moved | PilotError]]:
        """Put each file at its path, where nothing is, and yield its answer as soon as it is known, in any order.

        A file without an answer has failed, all of those by what is raised, if anything is. Nothing of a file that
        failed is left behind. When the iterator is closed the rest is given up. ``moving`` is about all of them.
        """


class Stores(CopyTool):
    """Puts files into storage."""

    @abstractmethod
    def store(self, source: Path, replica: Replica, file: FileSpec, moving: Moving) -> Moved:
        """Put ``source`` under the place's final name, only after size and digest at the far end are those of ``file``.

        Storing the same file again does no harm; a different one under that name is replaced in one step if
        ``file.replace`` says so, and else is an error. Raises ``PilotError``
        when it could not be done, and leaves nothing under the final name then.
        """


class StoresMany(Stores):
    """Puts many files to one host in a single call, where that is faster than as many calls."""

    @abstractmethod
    def store_many(self, wanted: Sequence[Wanted], moving: Moving) -> Iterator[tuple[Wanted, Moved | PilotError]]:
        """Store each file as ``store`` does, and yield its answer as soon as it is known, in any order.

        A file without an answer has failed, all of those by what is raised, if anything is. When the iterator is
        closed the rest is given up.
        """


class Looks(CopyTool):
    """Tells what lies in storage without moving it."""

    @abstractmethod
    def look(self, replica: Replica, file: FileSpec, moving: Moving) -> Found | None:
        """What lies there, ``None`` for nothing; its checksum of the kind that ``file`` has, if the storage knows it.

        Raises ``PilotError`` where nobody can tell: out of reach, or no access.
        """
