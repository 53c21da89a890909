"""Hooks of reports and logs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pilot_core.model.job import Job
from pilot_core.spec.markers import Shape, hook
from pilot_core.spec.patch import Patch
from pilot_core.spec.work import Settings


@hook(Shape.GATHER, since="0.1")
def pilot_report_fields(job: Job, workdir: Path, final: bool, settings: Settings) -> Sequence[Patch]:
    """Change the fields of an update before it is sent; their names are the communicator's.

    Asked before every update, in a worker thread. A failure is logged and the plugin's changes are left out.
    """


@hook(Shape.GATHER, since="0.1")
def pilot_log_select(job: Job, workdir: Path, settings: Settings) -> Sequence[str]:
    """Name files that do not belong in the log archive: patterns relative to the job's directory.

    Asked once, before the archive is made, in a worker thread. A pattern that is absolute or leaves the directory is
    refused. A failure is logged and the plugin's patterns are left out.
    """
