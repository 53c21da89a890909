"""The copy tool "xrootd": which way it goes, and what the core asks of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

from pilot_copytools._cli import installed
from pilot_copytools._lanes import move_many
from pilot_copytools._storage import Storage, fetch, look, store
from pilot_copytools._told import IN, OUT, removed_on_failure
from pilot_copytools.xrootd import bindings, programs
from pilot_copytools.xrootd.settings import XrootdOptions
from pilot_core.sdk import (
    FetchesMany,
    FileSpec,
    Found,
    Isolation,
    Looks,
    Moved,
    Moving,
    PilotError,
    Replica,
    Settings,
    StoresMany,
    Wanted,
)

Answers = Iterator[tuple[Wanted, Moved | PilotError]]


class Xrootd(FetchesMany, StoresMany, Looks):
    """Moves files of XRootD servers, and of all that speak their protocol."""

    name = "xrootd"
    needs = "xrootd"
    schemes = ("root", "roots", "xroot", "xroots")
    resumes = True
    options = XrootdOptions

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._options = settings.of(XrootdOptions)
        self._bound = _is_bound(self._options)
        self.isolation = Isolation.PROCESS if self._bound else Isolation.THREAD

    @classmethod
    def probe(cls) -> str | None:
        if find_spec("XRootD") is not None or all(map(installed, programs.PROGRAMS)):
            return None
        return (
            "neither the Python bindings of XRootD nor xrdcp and xrdfs are installed here: install "
            "pilot-copytools[xrootd], or the site's package of XRootD clients"
        )

    def fetch(self, replica: Replica, target: Path, file: FileSpec, moving: Moving) -> Moved:
        """Bring a file; with the bindings, behind what an earlier try left."""
        if self._bound:
            return bindings.Bound(self._options, IN).fetch(replica, target, file, moving)
        return fetch(programs.Programs(self._options, IN, moving), replica, target, moving)

    def store(self, source: Path, replica: Replica, file: FileSpec, moving: Moving) -> Moved:
        """Store a file under a name of its own, and rename it when the server has told that it is right."""
        return store(self._storage(OUT, moving), source, replica, file, moving)

    def fetch_many(self, wanted: Sequence[Wanted], moving: Moving) -> Answers:
        """Bring files, a few at a time over one connection."""
        bound = bindings.Bound(self._options, IN) if self._bound else self

        def move(each: Wanted, own: Moving) -> Moved:
            with removed_on_failure(each.path):
                return bound.fetch(each.replica, each.path, each.file, own)

        return move_many(move, wanted, moving, self._options.lanes)

    def store_many(self, wanted: Sequence[Wanted], moving: Moving) -> Answers:
        """Store files, a few at a time over one connection."""
        storage = self._storage(OUT, moving)

        def move(each: Wanted, own: Moving) -> Moved:
            return store(storage, each.path, each.replica, each.file, own)

        return move_many(move, wanted, moving, self._options.lanes)

    def look(self, replica: Replica, file: FileSpec, moving: Moving) -> Found | None:
        """Ask the storage."""
        return look(self._storage(IN, moving), replica, file)

    def _storage(self, direction: str, moving: Moving) -> Storage:
        if self._bound:
            return bindings.Bound(self._options, direction)
        return programs.Programs(self._options, direction, moving)


def _is_bound(options: XrootdOptions) -> bool:
    """Whether to go by the bindings: they know nothing of what a shell file would bring."""
    return options.bindings and not options.setup and find_spec("XRootD") is not None
