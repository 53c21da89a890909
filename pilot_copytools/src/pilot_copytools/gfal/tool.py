"""The copy tool "gfal": which way it goes, and what the core asks of it."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from pilot_copytools._cli import installed
from pilot_copytools._storage import Copier, fetch, look, store
from pilot_copytools._told import IN, OUT
from pilot_copytools.gfal import bindings, programs
from pilot_copytools.gfal.settings import SCHEMES, GfalOptions
from pilot_core.sdk import Fetches, FileSpec, Found, Isolation, Looks, Moved, Moving, Replica, Settings, Stores


class Gfal(Fetches, Stores, Looks):
    """Moves files of all storage that gfal has a plugin for."""

    name = "gfal"
    needs = "gfal"
    schemes = SCHEMES
    options = GfalOptions

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._options = settings.of(GfalOptions)
        self._bound = _is_bound(self._options)
        self.isolation = Isolation.PROCESS if self._bound else Isolation.THREAD

    @classmethod
    def probe(cls) -> str | None:
        if find_spec("gfal2") is not None or all(map(installed, programs.PROGRAMS)):
            return None
        return (
            "neither the Python bindings of gfal2 nor gfal-copy and its sisters are installed here: install the site's "
            "packages gfal2-util and the gfal2 plugins, or pilot-copytools[gfal] where gfal2 and Boost are"
        )

    def fetch(self, replica: Replica, target: Path, file: FileSpec, moving: Moving) -> Moved:
        """Bring a file."""
        return fetch(self._storage(IN, moving), replica, target, moving)

    def store(self, source: Path, replica: Replica, file: FileSpec, moving: Moving) -> Moved:
        """Store a file under a name of its own, and rename it when the storage has told that it is right."""
        return store(self._storage(OUT, moving), source, replica, file, moving)

    def look(self, replica: Replica, file: FileSpec, moving: Moving) -> Found | None:
        """Ask the storage."""
        return look(self._storage(IN, moving), replica, file)

    def _storage(self, direction: str, moving: Moving) -> Copier:
        if self._bound:
            return bindings.Bound(self._options, direction)
        return programs.Programs(self._options, direction, moving)


def _is_bound(options: GfalOptions) -> bool:
    """Whether to go by the bindings: they know nothing of what a shell file would bring."""
    return options.bindings and not options.setup and find_spec("gfal2") is not None
