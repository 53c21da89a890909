"""A file that several write and all want on the disk: one sync for those who wait for one at the same time."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Final

from pilot_core.io.files import sync_folder

if TYPE_CHECKING:
    from pathlib import Path

_SYNC: Final = getattr(os, "fdatasync", os.fsync)


class Synced:
    """The file at ``path``, which is there already and stays as long as this does."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self._lock = threading.Lock()
        self._written = self._synced = 0
        sync_folder(path.parent)

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def written(self) -> None:
        """Hear that something was written. One thread at a time says so."""
        self._written += 1

    def sync(self) -> None:
        """Return when the disk holds what was written before; ``OSError`` if it does not take it."""
        wanted = self._written
        with self._lock:
            if self._synced < wanted:
                known = self._written
                _SYNC(self._fd)
                self._synced = known
