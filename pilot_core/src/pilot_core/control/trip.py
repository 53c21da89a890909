"""One file on its way: by which ways, why each of them failed so far, and what is left of that to go on with."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from stat import S_ISREG

from attrs import define, field, frozen

from pilot_core.control.calls import Way
from pilot_core.control.sides import IN, Side
from pilot_core.errors import Code, PilotError, Retry
from pilot_core.io.inside import Inside
from pilot_core.model.files import FileSpec
from pilot_core.spec.drivers import Fetches

_USELESS = frozenset({Code.MISSINGINPUTFILE, Code.REPLICANOTFOUND, Code.NOSUCHFILE, Code.PANDAKILL})
_AWAY = frozenset({Code.COMMUNICATIONFAILURE, Code.SERVICENOTAVAILABLE, Code.UNREACHABLENETWORK})
_HOPELESS = frozenset({Retry.NEVER, Retry.COUNTED, Retry.CHANGED})


@frozen
class Kept:
    """What a failed try left of a file, put away under a name of its own."""

    way: Way
    path: Path
    size_b: int


@define(eq=False)
class Trip:
    """A file, where it is to be or is, and what is known of its ways."""

    side: Side
    file: FileSpec
    path: Path
    ways: Sequence[Way]
    first: Sequence[Way] = ()
    """Where the file may lie already, as somebody died while he put it there: no other is tried before."""
    reasons: dict[Way, PilotError] = field(factory=dict)
    tries: int = 0
    kept: Kept | None = None

    def has_chance(self, way: Way, number: int) -> bool:
        """Whether a way may work in round ``number``: in the first if it was not tried, later if it may work then."""
        return way not in self.reasons or (number > 0 and _is_hopeful(self.reasons[way]))

    def take_up(self, way: Way) -> int:
        """Have what was kept of this very way lie at the target, and nothing otherwise; how much that is."""
        kept = self.kept
        if kept is None or kept.way is not way:
            return 0
        self.kept = None
        kept.path.rename(self.path)
        return kept.size_b

    def keep(self, way: Way, error: PilotError) -> None:
        """Put away the beginning of an input if it can be gone on with, and remove what else a try left."""
        if self.side is not IN:
            return
        resumes = isinstance(way.tool, Fetches) and way.tool.resumes
        useful = resumes and _is_hopeful(error) and not self.side.is_mismatch(error)
        size_b = _size(self.path) if useful else 0
        if size_b and (self.file.size_b is None or size_b <= self.file.size_b):
            self.forget()
            self.kept = Kept(way, self.path.with_name(part_name()), size_b)
            self.path.rename(self.kept.path)
        else:
            remove(self.path)

    def forget(self) -> None:
        """Remove what was kept."""
        if self.kept is not None:
            remove(self.kept.path)
            self.kept = None


def passes(error: PilotError) -> bool:
    """Whether a failure is one that a storage comes back from, or that somebody is about to mend."""
    return error.code in _AWAY or bool(error.facts.get("passes"))


def _is_hopeful(error: PilotError) -> bool:
    """Whether the same way may still work later."""
    return error.code not in _USELESS and error.code.retry not in _HOPELESS


def _size(path: Path) -> int:
    """The size of a regular file, 0 of anything else."""
    with suppress(OSError):
        about = path.lstat()
        return about.st_size if S_ISREG(about.st_mode) else 0
    return 0


def remove(path: Path) -> None:
    """Remove whatever a tool left under this name."""
    with Inside(path.parent) as folder:
        folder.remove_tree(path.name)


def part_name() -> str:
    """A name for what is still on its way."""
    return f".{os.urandom(6).hex()}.part"
