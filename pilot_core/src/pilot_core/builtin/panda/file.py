"""The communicator "pandafile": jobs of PanDA that somebody else fetched and left in a file.

The file is a form (``pandaJobData.out``), or JSON: one job, a list of jobs, or jobs by their numbers
(``HPCJobs.json``). It is never changed and never removed. What is told of a job stays in its control directory, in the
words of a server.
"""

from __future__ import annotations

import json
import logging
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from attrs import frozen

from pilot_core import __version__
from pilot_core.builtin.filebox import FromFile, is_fresh, named
from pilot_core.builtin.panda.extras import limited
from pilot_core.builtin.panda.reading import read_job
from pilot_core.builtin.panda.updating import Identity, fields_of
from pilot_core.builtin.panda.words import TELLS, fitted
from pilot_core.sdk import (
    Code,
    Job,
    Letter,
    Offer,
    PilotError,
    PilotOptions,
    Reply,
    Settings,
    Update,
    option,
)
from pilot_core.sdk.io import write_atomic

LARGEST_B: Final = 1 << 28
log = logging.getLogger(__name__)


@frozen(kw_only=True)
class PandaFileOptions:
    """The communicator "pandafile"."""

    section = "pandafile"

    path: Path | None = option(None, help="The file with PanDA's jobs: a form such as pandaJobData.out, or JSON.")
    ids_file: Path | None = option(None, help="Where the numbers of jobs are noted that were taken, one a line.")
    told: Path | None = option(None, help="Where the last of what is told of jobs is kept as well, in JSON.")
    limit_wall: str = option(
        "queue",
        help="Whether a job's maxWalltime is a limit; queue: if the queue's params.job_maxwalltime says so.",
        choices=("queue", "yes", "no"),
    )


class Unreadable(ValueError):
    """A file that holds no jobs; the message says why."""


class PandaFile(FromFile):
    """Jobs from a file, one after another."""

    name = "pandafile"
    options = PandaFileOptions

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._path = named(settings.of(PandaFileOptions).path, "pandafile.path names no file with jobs")
        self._limit_wall = settings.of(PandaFileOptions).limit_wall
        self._site = settings.of(PilotOptions).queue
        self._ids = settings.of(PandaFileOptions).ids_file
        self._told = settings.of(PandaFileOptions).told
        self._left: deque[dict[str, object]] | None = None

    def acquire(self, request: Mapping[str, object]) -> Offer:
        """The next job of the file; soon, if somebody may still be writing it."""
        if self._left is None:
            try:
                self._left = deque(jobs_in(self._path))
            except (Unreadable, OSError) as error:
                if is_fresh(self._path):
                    return Offer(again_s=1.0, stay=True)
                why = error.strerror if isinstance(error, OSError) else str(error)
                told = f"{self._path}: {why}; it was left as it is"
                raise PilotError(Code.CONVERSIONFAILURE, told, permanent=True) from error
        jobs = (self._left.popleft(),) if self._left else ()
        return Offer(jobs=jobs, over=not self._left)

    def read(self, raw: Mapping[str, object]) -> Job:
        """Read one of them."""
        return limited(read_job(raw, str(self._path)), self._limit_wall)

    def taken(self, raw: Mapping[str, object]) -> None:
        """Note its number, where somebody looks for it."""
        from pilot_core.builtin.panda.given import note

        note(self._ids, raw)

    def send(self, letter: Letter) -> Reply:
        """Nobody waits for it; where somebody may look, it is kept."""
        if self._told is not None:
            try:
                write_atomic(self._told, json.dumps(letter.body), mode=0o644)
            except OSError as error:
                raise PilotError(Code.COMMUNICATIONFAILURE, f"{self._told}: {error.strerror}") from error
        return Reply()

    def compose(self, update: Update) -> Letter:
        """The update in a server's words."""
        job, who = update.job, Identity(site=self._site, pilot=f"unknown|PR|{__version__}")
        body = fitted(TELLS, fields_of(update, who))
        return Letter(communicator=self.name, job=job.id, attempt=job.attempt, final=update.final, body=body)


def jobs_in(path: Path) -> list[dict[str, object]]:
    """The raw jobs in a file; ``Unreadable`` if there are none."""
    with path.open("rb") as file:
        data = file.read(LARGEST_B + 1)
    if len(data) > LARGEST_B:
        raise Unreadable(f"it has more than {LARGEST_B} bytes")
    return jobs_of(data)


def jobs_of(data: bytes) -> list[dict[str, object]]:
    """The raw jobs in a file's bytes; ``Unreadable`` if there are none."""
    text = data.decode(errors="surrogateescape").strip()
    told = _json(text) if text[:1] in ("{", "[") else _form(text)
    if isinstance(told, dict) and "PandaID" not in told:
        told = list(told.values())
    listed = told if isinstance(told, list) else [told]
    jobs = [dict(job) for job in listed if isinstance(job, dict) and "PandaID" in job]
    if not jobs or len(jobs) < len(listed):
        raise Unreadable("it holds no job: nothing in it has a PandaID" if not jobs else "not all in it are jobs")
    return jobs


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"it is no JSON: {error}") from error


def _form(text: str) -> dict[str, object]:
    from urllib.parse import parse_qsl

    return dict(parse_qsl(text, keep_blank_values=True, errors="surrogateescape"))
