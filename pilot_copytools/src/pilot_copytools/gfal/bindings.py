"""Grid storage by gfal's Python bindings. They wait in C, and some of their plugins crash: they belong into a child."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from pilot_copytools._cli import credentials
from pilot_copytools._library import same_signals
from pilot_copytools._storage import Copier
from pilot_copytools._told import go_on, opened, shown
from pilot_copytools.gfal.settings import NO_CHECKSUM, GfalOptions, seconds, spelled, variables
from pilot_core.sdk import Checksum, Moving, PilotError
from pilot_core.sdk.transfers import told_error


class Bound(Copier):
    """The storage as the bindings show it, seen for one direction."""

    def __init__(self, options: GfalOptions, direction: str) -> None:
        self.renames = options.rename
        self._direction = direction
        os.environ.update({**variables(), **credentials(options)})
        self._gfal: Any = import_module("gfal2")
        with same_signals():
            self._context = self._gfal.creat_context()

    def get(self, url: str, target: Path, moving: Moving) -> None:
        self._copy(spelled(url), target.as_uri(), moving)
        moving.progress(target.stat().st_size)

    def put(self, source: Path, url: str, moving: Moving) -> None:
        with opened(source) as fd:
            self._copy(f"file:///dev/fd/{fd}", spelled(url), moving)
            moving.progress(os.fstat(fd).st_size)

    def size(self, url: str) -> int | None:
        found = self._answer(url, {errno.ENOENT}, self._context.stat, spelled(url))
        return None if found is None else int(found.st_size)

    def checksum(self, url: str, kind: str) -> Checksum | None:
        found = self._answer(url, NO_CHECKSUM, self._context.checksum, spelled(url), kind)
        return None if found is None else Checksum.parse(f"{kind}:{found}")

    def rename(self, url: str, to: str) -> None:
        with self._told(url):
            self._context.rename(spelled(url), spelled(to))

    def remove(self, url: str) -> None:
        with self._told(url):
            self._context.unlink(spelled(url))

    def _copy(self, source: str, target: str, moving: Moving) -> None:
        """Copy to the end: it can't be broken off from where it tells of bytes, so whoever waits ends the process."""
        how = self._context.transfer_parameters()
        how.overwrite, how.create_parent, how.timeout = True, True, seconds(moving)

        def hear(_source: str, _target: str, _average: int, _now: int, moved_b: int, _elapsed_s: int) -> None:
            moving.progress(moved_b)

        how.monitor_callback = hear
        go_on(moving)
        with self._told(source):
            self._context.filecopy(how, source, target)

    def _answer(self, url: str, nothing: Collection[int], ask: Callable[..., Any], *words: str) -> Any:
        """What it answers; nothing where it fails with one of these numbers."""
        try:
            return ask(*words)
        except self._gfal.GError as error:
            if error.code in nothing:
                return None
            raise self._error(url, error) from None

    @contextmanager
    def _told(self, url: str) -> Iterator[None]:
        try:
            yield
        except self._gfal.GError as error:
            raise self._error(url, error) from None

    def _error(self, url: str, error: Any) -> PilotError:
        return told_error(self._direction, f"{shown(url)}: {error.message}", error.code)
