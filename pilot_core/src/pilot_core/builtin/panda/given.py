"""Jobs that somebody left in a file for the pilot of a server, and the numbers of jobs that others look for in one."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path

from attrs import define

from pilot_core.builtin.panda.file import Unreadable, jobs_in
from pilot_core.sdk import Code, PilotError

log = logging.getLogger(__name__)


@define
class Given:
    """A file whose jobs are taken once, all together; then it is called ``.taken.`` and the first one's number."""

    path: Path
    waiting: bool = True

    def jobs(self) -> tuple[Mapping[str, object], ...]:
        """Its jobs, once; a file that is not there has none."""
        if not self.waiting:
            return ()
        self.waiting = False
        try:
            return tuple(jobs_in(self.path))
        except FileNotFoundError:
            return ()
        except (Unreadable, OSError) as error:
            told = f"{self.path}: {error}; it was left as it is"
            raise PilotError(Code.CONVERSIONFAILURE, told, permanent=True) from error

    def taken(self, raw: Mapping[str, object]) -> None:
        """Its first job is in a journal; the file is put aside, so that nobody takes its jobs again."""
        try:
            self.path.rename(f"{self.path}.taken.{raw.get('PandaID')}")
        except FileNotFoundError:
            return
        except OSError as error:
            log.warning("%s could not be put aside: %s", self.path, error.strerror)


def note(path: Path | None, raw: Mapping[str, object]) -> None:
    """Add the number of a job that was taken."""
    if path is None:
        return
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    except OSError as error:
        log.warning("job %s could not be noted in %s: %s", raw.get("PandaID"), path, error.strerror)
        return
    try:
        os.write(file, f"{raw.get('PandaID')}\n".encode())
    finally:
        os.close(file)
