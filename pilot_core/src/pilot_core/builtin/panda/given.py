"""Jobs that somebody left in a file for the pilot of a server, and the numbers of jobs that others look for in one."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from attrs import define

from pilot_core.builtin.filebox import is_fresh
from pilot_core.builtin.panda.file import Unreadable, jobs_in
from pilot_core.sdk import Code, Offer, PilotError

LOOK_S: Final = 2.0
log = logging.getLogger(__name__)


@define
class Given:
    """A file whose jobs are taken once, all together; then it is called ``.taken.`` and the first one's number.

    Where it is waited for, there is no other work: before it comes, nor after its jobs.
    """

    path: Path
    wait_s: float = 0.0
    waiting: bool = True
    _began: float | None = None

    def offer(self) -> Offer | None:
        """What it has to say to a request for work; None if that is for the server."""
        if self.waiting and self.wait_s and not self._is_settled():
            return self._not_yet()
        jobs, alone = self.jobs(), self.wait_s > 0
        return Offer(jobs=jobs, over=alone) if jobs or alone else None

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

    def _is_settled(self) -> bool:
        return self.path.exists() and not is_fresh(self.path)

    def _not_yet(self) -> Offer:
        if self._began is None:
            self._began = time.monotonic()
            log.info("waiting for jobs in %s", self.path)
        if time.monotonic() - self._began < self.wait_s:
            return Offer(again_s=LOOK_S, stay=True)
        told = f"nobody put jobs into {self.path} within {self.wait_s:g} s; see panda.jobs_file_s"
        raise PilotError(Code.NOJOBSINPANDA, told, permanent=True)

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
