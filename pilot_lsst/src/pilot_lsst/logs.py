"""What a Rubin payload says while it runs, and where a log of the batch system is."""

from __future__ import annotations

import json
import logging
import re
from typing import Final

from pilot_core.sdk import Job, Monitor, Patch, Reading, Settings, View
from pilot_core.sdk.io import Inside
from pilot_lsst.options import LsstOptions

NAME: Final = "payload-log.json"
"""Where the pipelines log, a JSON object a line."""
LEFT_OUT: Final = ("EXEC_REPO-*", "*.qgraph", "*.qg")
LEVELS: Final = {"TRACE": 5, "DEBUG": 10, "VERBOSE": 15, "INFO": 20, "WARNING": 30, "ERROR": 40, "CRITICAL": 50}
MOST_B: Final = 1 << 20
"""So much of the log is read in a look."""
MOST_RECORDS: Final = 200
LONGEST: Final = 1000
SOON_S: Final = 1.0
_JOB: Final = re.compile(r"(?<=PandaJob_)[0-9]+")
log = logging.getLogger(__name__)


class PayloadLog(Monitor):
    """Repeats the graver records of the payload's log in the pilot's, from where log shippers take them."""

    name = "lsst_log"

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._least = LEVELS[settings.of(LsstOptions).log_level]
        self._read_b = 0
        self._left = b""
        self._view: View | None = None

    def look(self, view: View) -> Reading:
        """Repeat what is new."""
        self._view = view
        lines, behind = self._new(view)
        records = [each for line in lines if (each := record_in(line)) is not None and each[0] >= self._least]
        for level, told in records[:MOST_RECORDS]:
            log.log(level, "payload: %s", told)
        if len(records) > MOST_RECORDS:
            log.warning("payload: %d more records are in %s only", len(records) - MOST_RECORDS, NAME)
        return Reading(again_s=SOON_S if behind else None)

    def close(self) -> None:
        """Repeat what came after the last look."""
        if self._view is not None:
            self.look(self._view)

    def _new(self, view: View) -> tuple[list[bytes], bool]:
        """The whole lines that came since the last look, and whether there are more."""
        try:
            with Inside(view.workdir) as folder, folder.open_read(NAME) as file:
                size_b = file.seek(0, 2)
                if size_b < self._read_b:
                    self._read_b, self._left = 0, b""
                file.seek(self._read_b)
                data = file.read(MOST_B)
        except OSError:
            return [], False
        self._read_b += len(data)
        *lines, self._left = (self._left + data).split(b"\n")
        self._left = self._left if len(self._left) <= MOST_B else b""
        return lines, self._read_b < size_b


def record_in(line: bytes) -> tuple[int, str] | None:
    """The level of a record and what it says in one line, with the quantum that it is about; ``None`` if it is none."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or not isinstance(found.get("levelno"), int):
        return None
    about = found.get("MDC")
    label = about.get("LABEL", "") if isinstance(about, dict) else ""
    said = (str(part) for part in (label, found.get("name", ""), found.get("message", "")))
    return found["levelno"], " ".join(" ".join(filter(None, said)).split())[:LONGEST]


def patches(job: Job, batch_log: str) -> list[Patch]:
    """The pilot's name in updates, which is where its log is, where that holds a job's number: this job's."""
    return [Patch.set("pilot_id", _JOB.sub(job.id, batch_log))] if _JOB.search(batch_log) else []
