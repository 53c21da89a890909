"""What is kept of a job for whoever asks later: how much it used over time, and its record before it is over."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pilot_core.control.record import Surroundings, known_of
from pilot_core.io.files import write_atomic
from pilot_core.io.journal import JournalError, records_in
from pilot_core.model.change import evolve
from pilot_core.model.job import FAILED, Job
from pilot_core.model.payload import Usage
from pilot_core.model.records import pack
from pilot_core.redact import CREDENTIAL, MASK, Redactor

USAGE: Final = "usage.jsonl"
MOST_LINES: Final = 2000
MOST_MEASURES: Final = 40
"""Of what other distributions measure, so much is kept in each line."""
ANEW: Final[Mapping[str, Any]] = {
    "errors": (),
    "receipts": (),
    "devices": (),
    "command": None,
    "outcome": None,
    "usage": Usage(),
    "notes": {},
    "times": {},
}
"""A job without what only the machine adds to it, but for its phase."""
BEGIN_B: Final = 16_384
"""Of a journal: its first record is the message, unless that is longer."""
HARMLESS: Final = ("", "NULL", None)
log = logging.getLogger(__name__)


class History:
    """The samples of one payload, a JSON line each.

    A full file loses every second line and is then written half as often. Another pilot goes on with the file that it
    finds. What cannot be written is left out.
    """

    def __init__(self, path: Path, most_lines: int = MOST_LINES) -> None:
        self.path = path
        self._most_lines = most_lines
        self._lines = -1
        self._every = 1
        self._came = 0
        self._complained = False

    @classmethod
    def beside(cls, workdir: Path) -> History:
        """The history of the job in this directory, kept where the payload does not see it."""
        return cls(workdir.with_name(f"{workdir.name}.control") / USAGE)

    def add(self, at: float, usage: Usage) -> None:
        """Keep a sample, if it is one's turn; of a payload that is gone there is none."""
        if not usage.processes:
            return
        self._came += 1
        if (self._came - 1) % self._every:
            return
        try:
            self._write(line_of(at, usage))
        except OSError as error:
            self._lines = -1
            if not self._complained:
                log.warning("the usage of the job is not kept: %s: %s", self.path, error.strerror or error)
            self._complained = True

    def _write(self, line: bytes) -> None:
        if self._lines < 0:
            self._lines = self._found()
        if self._lines >= self._most_lines:
            self._thin()
        fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            if os.write(fd, line) < len(line):
                raise OSError("the disk took a part of a line")
        finally:
            os.close(fd)
        self._lines += 1

    def _found(self) -> int:
        """How many lines there are; one that was torn is taken away."""
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return 0
        if data and not data.endswith(b"\n"):
            write_atomic(self.path, data[: data.rfind(b"\n") + 1])
        return data.count(b"\n")

    def _thin(self) -> None:
        kept = self.path.read_bytes().splitlines(keepends=True)[::2]
        write_atomic(self.path, b"".join(kept))
        self._lines, self._every, self._came = len(kept), 2 * self._every, 1


def line_of(at: float, usage: Usage) -> bytes:
    """A sample as its file keeps it."""
    told: dict[str, object] = {
        "at": round(at, 3),
        "cpu_s": round(usage.cpu_s, 3),
        "rss_b": usage.rss_b,
        "read_b": usage.read_b,
        "written_b": usage.written_b,
        "processes": usage.processes,
        "disk_b": usage.disk_b,
    }
    if usage.pss_b:
        told["pss_b"] = usage.pss_b
    if usage.more:
        told["more"] = dict(list(usage.more.items())[:MOST_MEASURES])
    return json.dumps(told, separators=(",", ":")).encode() + b"\n"


def so_far(job: Job, control: Path, around: Surroundings, redactor: Redactor) -> dict[str, object]:
    """All that there is to say of a job that is not over: its record up to now, what was asked, and in which words."""
    record = {**known_of(job, around), "state": FAILED if job.errors else job.phase}
    told: dict[str, object] = {"asked": asked_of(job), "message": message_in(control), "record": record}
    return {name: masked(each, redactor) for name, each in told.items()}


def asked_of(job: Job) -> dict[str, object]:
    """What was asked of a job, without what became of it."""
    return {name: value for name, value in pack(evolve(job, **ANEW)).items() if name != "phase"}


def message_in(control: Path) -> Mapping[str, object]:
    """The raw message of a job, as it stands in its journal; nothing if it cannot be read."""
    for most_b in (BEGIN_B, None):
        try:
            said = (record["raw"] for record in records_in(control / "journal", most_b) if "raw" in record)
            raw: Mapping[str, object] | None = next(said, None)
        except (OSError, JournalError):
            return {}
        if raw is not None:
            return raw
    return {}


def masked(value: Any, redactor: Redactor, secret: bool = False) -> Any:
    """JSON material without secrets: neither in a text nor, however deep, under a name that says that it holds one."""
    if isinstance(value, str) and not secret:
        return redactor.scrub(value)
    if isinstance(value, (dict, Mapping)):
        named = ((str(key), each) for key, each in value.items())
        return {key: masked(each, redactor, secret or bool(CREDENTIAL.search(key))) for key, each in named}
    if isinstance(value, (list, tuple)):
        return [masked(each, redactor, secret) for each in value]
    return MASK if secret and value not in HARMLESS and not isinstance(value, bool) else value
