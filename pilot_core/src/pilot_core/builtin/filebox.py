"""Communicators that take described jobs from files: "jobfile", one job, and "filebox", a directory of them.

A box is a directory::

    box/*.yaml *.yml *.json    jobs that wait; put them there by a rename
    box/offered/               jobs on their way to a pilot; if it dies they go back
    box/taken/                 jobs that a pilot has in its journal, each under a name of its own
    box/reports/<id>.json      how each job stands, or ended; <id>.2.json for the next job of the same id
    box/done/ box/refused/     descriptions of jobs that ended, and of those that could not be read

A job is taken by a rename, so two pilots never take the same one.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Final

from attrs import frozen

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
from pilot_core.sdk.io import Lock, NotJson, Taken, read_json, sync_folder, write_atomic
from pilot_core.sdk.wire import LARGEST_B, SUFFIXES, Problem, describe, pack, read_job, undescribed

UNSETTLED_S: Final = 5.0
LOOK_S: Final = (5.0, 60.0)
LONGEST_NAME_B: Final = 200
OFFERED, TAKEN, REPORTS, DONE, REFUSED = "offered", "taken", "reports", "done", "refused"
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


def named(path: Path | None, without: str) -> Path:
    """The path that an option names; ``without`` says what to do if it names none."""
    if path is None:
        raise PilotError(Code.BADQUEUECONFIGURATION, without)
    return path.absolute()


def is_fresh(path: Path) -> bool:
    """Whether somebody may still be writing a file: it was changed a moment ago."""
    try:
        return 0 <= time.time() - path.stat().st_mtime < UNSETTLED_S
    except OSError:
        return False


class FromFile(Communicator):
    """Jobs of a file that stays as it is. Nobody waits for their reports, which are in their control directories."""

    def give_back(self, raw: Mapping[str, object]) -> bool:
        """The job is still where it was."""
        return True

    def send(self, letter: Letter) -> Reply:
        """Nobody waits for it."""
        return Reply()


class JobFile(FromFile):
    """One described job. Its report is the record in its control directory."""

    name = "jobfile"
    options = JobFileOptions

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._path = named(settings.of(JobFileOptions).path, "jobfile.path names no job; `pilot run --job FILE` does")

    def acquire(self, request: Mapping[str, object]) -> Offer:
        """The job; there is no other."""
        return Offer(jobs=(_describe(self._path, self._path),), over=True)

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


class FileBox(Communicator):
    """Many described jobs, taken from a directory that gets their reports."""

    name = "filebox"
    options = FileBoxOptions

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        options = settings.of(FileBoxOptions)
        self._box = named(options.path, "filebox.path names no box; `pilot run --filebox DIR` does")
        self._watch = options.watch
        self._writing = threading.Lock()
        self._presence: Lock | None = None
        self._pause_s = LOOK_S[0]
        self._seen: deque[Path] = deque()
        self._name = os.urandom(6).hex()

    def acquire(self, request: Mapping[str, object]) -> Offer:
        """The next job of the box, by name."""
        try:
            self._be_present()
            raw, unsettled = self._next()
        except OSError as error:
            raise PilotError(Code.COMMUNICATIONFAILURE, f"the box {self._box}: {error.strerror}") from error
        if raw:
            self._pause_s = LOOK_S[0]
            return Offer(jobs=(raw,))
        if unsettled:
            return Offer(again_s=UNSETTLED_S, stay=True)
        return Offer(again_s=self._pause(), stay=True) if self._watch else Offer(over=True)

    def _next(self) -> tuple[dict[str, object] | None, bool]:
        """The next job that can be taken, if any, and whether some are still being written."""
        unsettled = False
        for again in (False, True):
            self._seen = deque(_waiting(self._box)) if again else self._seen
            while self._seen:
                path = self._seen.popleft()
                if _is_unsettled(path):
                    unsettled = True
                elif raw := _take(path, self._name):
                    return raw, unsettled
        return None, unsettled

    def read(self, raw: Mapping[str, object]) -> Job:
        """Read the description."""
        return read_job(raw)

    def _be_present(self) -> None:
        """Hold a lock as long as this pilot lives, and put back what those offered to who live no more."""
        if self._presence is None:
            (self._box / OFFERED).mkdir(exist_ok=True)
            _put_back_all(self._box)
            unseen = self._box / OFFERED / f".{self._name}.part"
            self._presence = Lock(unseen).take()
            unseen.rename(unseen.with_name(f"{self._name}.lock"))

    def taken(self, raw: Mapping[str, object]) -> None:
        """Move the description to where a journal answers for it."""
        offered = _origin(raw)
        (self._box / TAKEN).mkdir(exist_ok=True)
        with suppress(FileNotFoundError):
            offered.rename(self._box / TAKEN / offered.name)

    def give_back(self, raw: Mapping[str, object]) -> bool:
        """Put the description back into its box; one that nobody finds under its name any more was put back before."""
        origin = _origin(raw)
        box = _box_of(origin)
        if box is None or not box.is_dir():
            return False
        for where in (OFFERED, TAKEN):
            _put_back(box, box / where / origin.name)
        return True

    def compose(self, update: Update) -> Letter:
        """The report, and where it goes: to the box that the job came from, be it another pilot's."""
        job = update.job
        origin = Path(job.origin)
        body = {**report_of(update), "box": str(_box_of(origin) or self._box), "taken": origin.name}
        return Letter(communicator=self.name, job=job.id, attempt=job.attempt, final=update.final, body=body)

    def refuse(self, raw: Mapping[str, object], error: PilotError) -> Letter | None:
        """The report of a job that could not be begun, under the name of its file."""
        file = raw.get("file")
        if not isinstance(file, Mapping):
            return None
        path, taken = Path(str(file.get("path"))), _origin(raw)
        box = _box_of(taken)
        if box is None:
            return None
        body = {
            "id": path.stem,
            "attempt": 0,
            "state": "failed",
            "refused": True,
            "final": True,
            "error": error.to_wire(),
            "box": str(box),
            "taken": taken.name,
        }
        return Letter(communicator=self.name, job=path.stem, attempt=0, final=True, body=body)

    def send(self, letter: Letter) -> Reply:
        """Write the report, and put a finished job's description away. Twice does no harm."""
        box, taken = Path(str(letter.body["box"])), Path(str(letter.body["taken"])).name
        reports = box / REPORTS
        try:
            with self._writing:
                _report(reports, letter, taken)
            if letter.final:
                _put_away(box, taken, REFUSED if letter.body.get("refused") else DONE)
        except OSError as error:
            raise PilotError(Code.COMMUNICATIONFAILURE, f"{reports}: {error.strerror}") from error
        return Reply()

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
    return is_fresh(path) and "broken" in _describe(path, path)


def _take(path: Path, pilot: str) -> dict[str, object] | None:
    """Take a job for this pilot, if nobody else was faster."""
    offered = path.parent / OFFERED / f"{pilot}{os.urandom(3).hex()}-{path.name}"
    try:
        path.rename(offered)
    except FileNotFoundError:
        return None
    return _describe(path, offered)


def _put_back_all(box: Path) -> None:
    for lock in (box / OFFERED).glob("*.lock"):
        try:
            with Lock(lock):
                for path in (box / OFFERED).glob(f"{lock.stem}*-*"):
                    _put_back(box, path)
                lock.unlink()
        except Taken:
            continue


def _put_back(box: Path, path: Path) -> bool:
    """Let a description wait in its box again, under its first name unless that is taken by now."""
    name = path.name.partition("-")[2]
    target = box / name if not (box / name).exists() else box / f"again-{path.name}"
    try:
        path.rename(target)
    except FileNotFoundError:
        return False
    return True


def _origin(raw: Mapping[str, object]) -> Path:
    file = raw.get("file")
    return Path(str(file.get("origin"))) if isinstance(file, Mapping) else Path()


def _describe(path: Path, now: Path) -> dict[str, object]:
    """The raw job that was written to ``path`` and lies at ``now``."""
    try:
        with now.open("rb") as file:
            return describe(path, file.read(LARGEST_B + 1), str(now))
    except OSError as error:
        return undescribed(path, str(now), Problem("", f"cannot be read: {error.strerror}"))


def _box_of(origin: Path) -> Path | None:
    """The box that a description was taken from, by where it lay then; none if it lay in no box."""
    return origin.parent.parent if origin.parent.name in (OFFERED, TAKEN) else None


def _report(reports: Path, letter: Letter, taken: str) -> None:
    """Write a report under the first name that is this job's own or free: never over another job's of the same id."""
    text, job = json.dumps(letter.body), Path(letter.job).name
    for number in count(1):
        report = reports / (f"{job}.json" if number == 1 else f"{job}.{number}.json")
        if not report.exists() and _write_new(report, text, letter.final):
            return
        said = _said(report)
        if said.get("taken") == taken:
            if letter.final or said.get("final") is not True:
                write_atomic(report, text, mode=0o644, durable=letter.final)
            return


def _write_new(report: Path, text: str, durable: bool) -> bool:
    """Write a report that appears whole; False if another pilot's has just appeared under its name."""
    report.parent.mkdir(exist_ok=True)
    part = report.with_name(f".{os.urandom(6).hex()}.part")
    write_atomic(part, text, mode=0o644, durable=durable)
    try:
        report.hardlink_to(part)
    except FileExistsError:
        return False
    except OSError:  # a file system without links
        part.replace(report)
    finally:
        part.unlink(missing_ok=True)
    if durable:
        sync_folder(report.parent)
    return True


def _said(report: Path) -> Mapping[str, object]:
    try:
        said = read_json(report)
    except (FileNotFoundError, NotJson):
        return {}
    return said if isinstance(said, dict) else {}


def _put_away(box: Path, taken: str, where: str) -> None:
    """Move a description from where it was taken to, under its first name if that is free."""
    folder, name = box / where, taken.partition("-")[2] or taken
    folder.mkdir(exist_ok=True)
    target = folder / (taken if (folder / name).exists() else name)
    for place in (TAKEN, OFFERED):
        with suppress(FileNotFoundError):
            os.rename(box / place / taken, target)
