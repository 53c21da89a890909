"""Communicators that take described jobs from files: "jobfile", one job, and "filebox", a directory of them.

A box is a directory::

    box/*.yaml *.yml *.json    jobs that wait; put them there by a rename
    box/taken/                 jobs that a pilot has taken, each under a name of its own
    box/reports/<id>.json      how each job stands, or ended
    box/done/ box/refused/     descriptions of jobs that ended, and of those that could not be read

A job is taken by a rename, so two pilots never take the same one.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from attrs import frozen

from pilot_core.builtin.described import SUFFIXES, describe, read_job
from pilot_core.builtin.plain import LARGEST_B
from pilot_core.sdk import (
    Code,
    Communicator,
    Job,
    Letter,
    Offer,
    PilotError,
    Receipt,
    Reply,
    Settings,
    Update,
    option,
)
from pilot_core.sdk.io import NotJson, read_json, write_atomic
from pilot_core.sdk.wire import pack

UNSETTLED_S: Final = 5.0
LOOK_S: Final = (5.0, 60.0)
LONGEST_NAME_B: Final = 200
TAKEN, REPORTS, DONE, REFUSED = "taken", "reports", "done", "refused"
log = logging.getLogger(__name__)


@frozen(kw_only=True)
class JobFileOptions:
    """The communicator "jobfile"."""

    section = "jobfile"

    path: Path | None = option(None, help="The described job to run, YAML or JSON.")


@frozen(kw_only=True)
class FileBoxOptions:
    """The communicator "filebox"."""

    section = "filebox"

    path: Path | None = option(None, help="The directory that described jobs are taken from.")
    watch: bool = option(False, help="Wait for more jobs when the box is empty.")


class JobFile(Communicator):
    """One described job. Its report is the record in its control directory."""

    name = "jobfile"
    options = JobFileOptions

    def acquire(self, request: Mapping[str, object]) -> Offer:
        """The job; there is no other."""
        path = self.settings.of(JobFileOptions).path
        if path is None:
            raise PilotError(Code.NOJOBSINPANDA, "jobfile.path names no file; `pilot run --job FILE` does")
        try:
            raw = describe(path.absolute(), _read(path))
        except OSError as error:
            raise PilotError(Code.NOJOBSINPANDA, f"{path}: {error.strerror}") from error
        return Offer(jobs=(raw,), over=True)

    def read(self, raw: Mapping[str, object]) -> Job:
        """Read the description."""
        return read_job(raw)

    def compose(self, update: Update) -> Letter:
        """The report that the record will hold more of."""
        return Letter(
            communicator=self.name,
            job=update.job.id,
            attempt=update.job.attempt,
            final=update.final,
            body=report_of(update),
        )

    def send(self, letter: Letter) -> Reply:
        """Nobody waits for it."""
        return Reply()


class FileBox(Communicator):
    """Many described jobs, taken from a directory that gets their reports."""

    name = "filebox"
    options = FileBoxOptions

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._writing = threading.Lock()
        self._pause_s = LOOK_S[0]

    def acquire(self, request: Mapping[str, object]) -> Offer:
        """The next job of the box, by name."""
        options, box = self.settings.of(FileBoxOptions), self._box()
        unsettled = False
        try:
            for path in _waiting(box):
                if _is_unsettled(path):
                    unsettled = True
                elif raw := _take(path):
                    self._pause_s = LOOK_S[0]
                    return Offer(jobs=(raw,))
        except OSError as error:
            raise PilotError(Code.COMMUNICATIONFAILURE, f"the box {box}: {error.strerror}") from error
        if unsettled:
            return Offer(again_s=UNSETTLED_S)
        return Offer(again_s=self._pause()) if options.watch else Offer(over=True)

    def read(self, raw: Mapping[str, object]) -> Job:
        """Read the description."""
        return read_job(raw)

    def compose(self, update: Update) -> Letter:
        """The report, and where it goes."""
        job = update.job
        body = {**report_of(update), "box": str(self._box()), "taken": Path(job.origin).name}
        return Letter(communicator=self.name, job=job.id, attempt=job.attempt, final=update.final, body=body)

    def refuse(self, raw: Mapping[str, object], error: PilotError) -> Letter | None:
        """The report of a job that could not be begun, under the name of its file."""
        file = raw.get("file")
        if not isinstance(file, Mapping):
            return None
        path, taken = Path(str(file.get("path"))), Path(str(file.get("origin")))
        body = {
            "id": path.stem,
            "attempt": 0,
            "state": "failed",
            "refused": True,
            "final": True,
            "error": error.to_wire(),
            "box": str(path.parent),
            "taken": taken.name,
        }
        return Letter(communicator=self.name, job=path.stem, attempt=0, final=True, body=body)

    def send(self, letter: Letter) -> Reply:
        """Write the report, and put a finished job's description away. Twice does no harm."""
        box, taken = Path(str(letter.body["box"])), Path(str(letter.body["taken"])).name
        report = box / REPORTS / f"{Path(letter.job).name}.json"
        try:
            with self._writing:
                report.parent.mkdir(exist_ok=True)
                if letter.final or not _is_final(report, taken):
                    write_atomic(report, json.dumps(letter.body, indent=1), mode=0o644, durable=letter.final)
            if letter.final:
                _put_away(box, taken, REFUSED if letter.body.get("refused") else DONE)
        except OSError as error:
            raise PilotError(Code.COMMUNICATIONFAILURE, f"{report}: {error.strerror}") from error
        return Reply()

    def _box(self) -> Path:
        path = self.settings.of(FileBoxOptions).path
        if path is None:
            raise PilotError(Code.COMMUNICATIONFAILURE, "filebox.path names no box; `pilot run --filebox DIR` does")
        return path.absolute()

    def _pause(self) -> float:
        pause_s, self._pause_s = self._pause_s, min(self._pause_s * 2, LOOK_S[1])
        return pause_s


def report_of(update: Update) -> dict[str, object]:
    """How a job stands, for people and programs that read files."""
    job = update.job
    report: dict[str, object] = {
        "id": job.id,
        "attempt": job.attempt,
        "state": job.verdict.value if update.final else job.phase,
        "final": update.final,
        "at": update.at,
        "node": update.node,
        "task": job.task,
        "label": job.label,
        "times": dict(job.times),
        "files": [_moved(receipt) for receipt in job.receipts],
        "usage": pack(job.usage),
        "log_tail": update.log_tail,
    }
    if job.outcome is not None:
        report["outcome"] = {**pack(job.outcome), "said": str(job.outcome)}
    if job.error is not None:
        report["error"] = job.error.to_wire()
    return report


def _moved(receipt: Receipt) -> dict[str, object]:
    checksum = {"checksum": str(receipt.checksum)} if receipt.checksum else {}
    return {**pack(receipt), **checksum}


def _waiting(box: Path) -> Iterator[Path]:
    """The files in a box that may describe jobs, by name."""
    with os.scandir(box) as entries:
        found = sorted(each.name for each in entries if each.name.endswith(SUFFIXES) and each.is_file())
    for name in found:
        if name.startswith(".") or len(name.encode(errors="replace")) > LONGEST_NAME_B:
            log.debug("%r in %s is passed over", name, box)
        else:
            yield box / name


def _is_unsettled(path: Path) -> bool:
    """Whether somebody may still be writing a file: it makes no sense yet and was changed a moment ago."""
    try:
        age_s = time.time() - path.stat().st_mtime
        return 0 <= age_s < UNSETTLED_S and "broken" in describe(path, _read(path))
    except FileNotFoundError:
        return False


def _take(path: Path) -> dict[str, object] | None:
    """Take a job, if nobody else was faster."""
    taken = path.parent / TAKEN / f"{os.urandom(6).hex()}-{path.name}"
    taken.parent.mkdir(exist_ok=True)
    try:
        path.rename(taken)
    except FileNotFoundError:
        return None
    return describe(path, _read(taken), str(taken))


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(LARGEST_B + 1)


def _is_final(report: Path, taken: str) -> bool:
    """Whether the last word on the same job has been said."""
    try:
        said = read_json(report)
    except (FileNotFoundError, NotJson):
        return False
    return isinstance(said, dict) and said.get("final") is True and said.get("taken") == taken


def _put_away(box: Path, taken: str, where: str) -> None:
    """Move a description from where it was taken to, under its first name if that is free."""
    name = taken.partition("-")[2] or taken
    (box / where).mkdir(exist_ok=True)
    target = box / where / (taken if (box / where / name).exists() else name)
    with suppress(FileNotFoundError):
        (box / TAKEN / taken).rename(target)
