"""The ground under a payload's feet: its directory, and in it what it said, given back where it removed them.

Its two outputs have a second name in the control directory while it runs. So what it said is there for the log, for
whoever looks for what went wrong, and for whoever follows the job, whatever it does to their names.
"""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from pathlib import Path
from stat import S_ISDIR

from pilot_core.control.said import STDERR, STDOUT
from pilot_core.errors import Code, PilotError

log = logging.getLogger(__name__)


def give_back(workdir: Path, control: Path) -> tuple[PilotError, ...]:
    """Have the directory and the outputs of a payload that has ended where they were; what is to be said of it."""
    lost = not _is_folder(workdir)
    try:
        if lost:
            with suppress(FileNotFoundError):
                workdir.unlink()
            workdir.mkdir(mode=0o700)
        for name in (STDOUT, STDERR):
            with suppress(FileNotFoundError):
                _move(control / name, workdir)
    except OSError as error:
        log.warning("what the payload removed cannot be given back: %s", error)
    if not lost:
        return ()
    told = "the payload removed the job's directory"
    return (PilotError(Code.PAYLOADEXECUTIONFAILURE, told, **{"class": "program"}),)


def _move(kept: Path, workdir: Path) -> None:
    """Back to its own name, or beside whatever stands there instead; of two names of one file this one goes."""
    about, target = kept.lstat(), workdir / kept.name
    with suppress(FileNotFoundError):
        if os.path.samestat(about, target.lstat()):
            if kept != target:
                kept.unlink()
            return
        target = workdir / f"{kept.name}.said"
    kept.replace(target)


def _is_folder(path: Path) -> bool:
    try:
        return S_ISDIR(path.lstat().st_mode)
    except OSError:
        return False
