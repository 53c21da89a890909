"""``root://`` by the programs ``xrdcp`` and ``xrdfs``, where the bindings are not installed."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from pilot_copytools._cli import Ended, Program, cleaning
from pilot_copytools._storage import Copier
from pilot_copytools._told import opened, shown
from pilot_copytools.xrootd.settings import XrootdOptions, limit_variables
from pilot_copytools.xrootd.words import path_of, program_error, read_checksum, server_of, with_query
from pilot_core.sdk import Checksum, Code, Moving, PilotError

PROGRAMS: Final = ("xrdcp", "xrdfs")
_SIZE: Final = re.compile(r"^Size:\s+(\d+)", re.MULTILINE)
_NOTHING: Final = re.compile(r"\[3011\]|no such file or directory", re.IGNORECASE)
_NO_CHECKSUM: Final = re.compile(r"\[30(00|12|13|19)\]|not supported", re.IGNORECASE)


def download(url: str, target: Path) -> list[str]:
    """The arguments that bring a file; a checksum asked for here would be that of what came, not of what lies here."""
    return ["xrdcp", "--nopbar", "--force", url, str(target)]


def upload(fd: int, url: str, *, final: bool) -> list[str]:
    """The arguments that store a file. Under a final name it stays only if it was closed well.

    The file is given by its descriptor: the program takes a question mark in a name for the end of it.
    """
    return ["xrdcp", "--nopbar", "--force", *(["--posc"] if final else []), f"/dev/fd/{fd}", url]


def question(url: str, *words: str) -> list[str]:
    """The arguments that ask a server."""
    return ["xrdfs", server_of(url), *words]


class Programs(Copier):
    """The storage as the programs show it, seen for one direction, within the time that ``moving`` has."""

    def __init__(self, options: XrootdOptions, direction: str, moving: Moving) -> None:
        self.renames = options.rename
        self._direction = direction
        self._moving = Moving(cancel=moving.cancel, budget_s=moving.budget_s)
        self._program = Program(options, direction, limit_variables(options))

    def get(self, url: str, target: Path, moving: Moving) -> None:
        self._done(self._program.run(download(url, target), moving, grows=target))

    def size(self, url: str) -> int | None:
        ended = self._ask(url, "stat", path_of(url))
        if ended.status and _NOTHING.search(ended.err):
            return None
        found = _SIZE.search(self._done(ended))
        if found is None:
            raise PilotError(Code.XRDCPERROR, f"{shown(url)}: xrdfs tells no size: {ended.out}")
        return int(found[1])

    def checksum(self, url: str, kind: str) -> Checksum | None:
        ended = self._ask(url, "query", "checksum", with_query(path_of(url), f"cks.type={kind}"))
        if ended.status and _NO_CHECKSUM.search(ended.err):
            return None
        return read_checksum(self._done(ended), kind)

    def put(self, source: Path, url: str, moving: Moving) -> None:
        with opened(source) as fd:
            argv = upload(fd, url, final=not self.renames)
            self._done(self._program.run(argv, moving, keeps=[fd]))
            moving.progress(os.fstat(fd).st_size)

    def rename(self, url: str, to: str) -> None:
        self._done(self._ask(url, "mv", path_of(url), path_of(to)))

    def remove(self, url: str) -> None:
        self._done(self._program.run(question(url, "rm", path_of(url)), cleaning()))

    def _ask(self, url: str, *words: str) -> Ended:
        return self._program.run(question(url, *words), self._moving)

    def _done(self, ended: Ended) -> str:
        """What a program printed, if it says that all went well."""
        if ended.status:
            raise program_error(self._direction, ended)
        return ended.out
