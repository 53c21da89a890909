"""How a pilot ended, and where that is put down."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path

from attrs import field, frozen

from pilot_core.errors import PilotError
from pilot_core.io.files import write_atomic

log = logging.getLogger(__name__)


@frozen(kw_only=True)
class Ending:
    """How a pilot ended: why, what it did, and which threads it had to leave behind."""

    error: PilotError | None = None
    finished: int = 0
    failed: int = 0
    left: tuple[str, ...] = ()
    records: tuple[Path, ...] = ()
    remain: tuple[Path, ...] = ()
    """Control directories of left jobs that could not be taken up."""
    refused: Mapping[Path, str] = field(factory=dict)
    """The last reports that waited and that nobody takes any more, and why."""

    @property
    def exit_code(self) -> int:
        """What the process tells whoever started it."""
        return self.error.code.exit_code if self.error else 0

    def put_down(self, path: Path, at: float) -> None:
        """Leave it where others find it."""
        told = {"finished": self.finished, "failed": self.failed, "exit_code": self.exit_code, "left": self.left}
        why = self.error.to_wire() if self.error else None
        try:
            write_atomic(path, json.dumps({**told, "error": why, "at": at}))
        except OSError as error:
            log.error("the pilot's own record could not be written: %s", error)
