"""Grid storage by the programs ``gfal-copy``, ``gfal-stat``, ``gfal-sum``, ``gfal-rename`` and ``gfal-rm``."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path
from typing import Final

from pilot_copytools._cli import Ended, Program, cleaning
from pilot_copytools._storage import Copier
from pilot_copytools._told import opened, shown
from pilot_copytools.gfal.settings import NO_CHECKSUM, GfalOptions, seconds, spelled, variables
from pilot_core.sdk import Checksum, Moving
from pilot_core.sdk.transfers import told_error

PROGRAMS: Final = ("gfal-copy", "gfal-stat", "gfal-sum", "gfal-rename", "gfal-rm")
_SIZE: Final = re.compile(r"^\s*Size: (\d+)", re.MULTILINE)


def copy(source: str, target: str, limit_s: int) -> list[str]:
    """The arguments that copy a file, and make the directories above it."""
    return ["gfal-copy", "--force", "--parent", "-t", str(limit_s), "-T", str(limit_s), source, target]


def question(program: str, *words: str, limit_s: int) -> list[str]:
    """The arguments of a question."""
    return [program, "-t", str(limit_s), *words]


class Programs(Copier):
    """The storage as the programs show it, seen for one direction, within the time that ``moving`` has."""

    def __init__(self, options: GfalOptions, direction: str, moving: Moving) -> None:
        self.renames = options.rename
        self._direction = direction
        self._moving = Moving(cancel=moving.cancel, budget_s=moving.budget_s)
        self._program = Program(options, direction, variables())

    def get(self, url: str, target: Path, moving: Moving) -> None:
        argv = copy(spelled(url), target.as_uri(), seconds(moving))
        self._program.run(argv, moving, grows=target).checked(self._direction)

    def put(self, source: Path, url: str, moving: Moving) -> None:
        with opened(source) as fd:
            argv = copy(f"file:///dev/fd/{fd}", spelled(url), seconds(moving))
            self._program.run(argv, moving, keeps=[fd]).checked(self._direction)
            moving.progress(os.fstat(fd).st_size)

    def size(self, url: str) -> int | None:
        ended = self._ask("gfal-stat", url)
        if ended.status == errno.ENOENT:
            return None
        found = _SIZE.search(ended.checked(self._direction))
        if found is None:
            raise told_error(self._direction, f"{shown(url)}: gfal-stat tells no size: {ended.out}")
        return int(found[1])

    def checksum(self, url: str, kind: str) -> Checksum | None:
        ended = self._ask("gfal-sum", url, kind)
        if ended.status in NO_CHECKSUM:
            return None
        return Checksum.parse(f"{kind}:{ended.checked(self._direction).split()[-1]}")

    def rename(self, url: str, to: str) -> None:
        self._ask("gfal-rename", url, spelled(to)).checked(self._direction)

    def remove(self, url: str) -> None:
        calm = cleaning()
        argv = question("gfal-rm", spelled(url), limit_s=seconds(calm))
        self._program.run(argv, calm).checked(self._direction)

    def _ask(self, program: str, url: str, *words: str) -> Ended:
        argv = question(program, spelled(url), *words, limit_s=seconds(self._moving))
        return self._program.run(argv, self._moving)
