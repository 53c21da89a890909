"""A database that fails while the dispatcher runs: said once when that begins, and once when it is over."""

from __future__ import annotations

import logging
import sqlite3
import threading
from typing import Final

_WAYS_OUT: Final = {
    sqlite3.SQLITE_FULL: "make room on its disk",
    sqlite3.SQLITE_READONLY: "let the dispatcher write where its home is",
    sqlite3.SQLITE_CORRUPT: "end the dispatcher, and put a copy of its home in place of it",
    sqlite3.SQLITE_NOTADB: "move the file away, or choose another home",
}
log = logging.getLogger(__name__)


def way_out(error: sqlite3.Error) -> str:
    """What somebody can do about it."""
    number = getattr(error, "sqlite_errorcode", None) or 0
    return _WAYS_OUT.get(number & 0xFF, "look after its disk")


class Trouble:
    """Counts what failed since the database worked last."""

    def __init__(self) -> None:
        self._failed = 0
        self._lock = threading.Lock()

    def hear(self, error: sqlite3.Error) -> None:
        """Something failed."""
        with self._lock:
            self._failed += 1
            if self._failed == 1:
                told = "the database fails, and what needs it is refused until it works again"
                log.error("%s: %s; %s", told, error, way_out(error))

    def end(self) -> None:
        """Something was written."""
        if self._failed:
            with self._lock:
                failed, self._failed = self._failed, 0
            log.warning("the database works again; it had failed %d times", failed)
