"""Control directories of past jobs, which are kept a while and then go."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

from pilot_core.control.outbox import WAITING
from pilot_core.io.files import Lock, Taken
from pilot_core.io.inside import Inside
from pilot_core.io.journal import JournalError, read_back

DAY_S = 86400.0
log = logging.getLogger(__name__)


def forget_past(root: Path, keep_days: float, now: float) -> list[Path]:
    """Remove the control directories below ``root`` whose jobs were over so long ago; which they were.

    Only what is sealed goes, and nothing that somebody holds, that another user owns or where a letter waits.
    """
    return [control for control in _old(root, now - keep_days * DAY_S) if _remove(control)]


def _old(root: Path, before: float) -> Iterator[Path]:
    for control in sorted(root.glob("PanDA_Pilot-*.control*")):
        try:
            journal, about = (control / "journal").lstat(), control.lstat()
        except OSError:
            continue
        if about.st_uid == os.geteuid() and not control.is_symlink() and journal.st_mtime < before:
            yield control


def _remove(control: Path) -> bool:
    try:
        if (control / WAITING).exists() or not read_back(control / "journal").sealed:
            return False
        with Lock(control / "lock"), Inside(control) as inside:
            left = inside.remove_tree()
    except (Taken, JournalError):
        return False
    except OSError as error:
        left = [str(error)]
    for each in left:
        log.warning("%s could not be removed: %s", control, each)
    return not left
