"""The outputs of an ATLAS job, as its report knows them."""

from __future__ import annotations

from pathlib import Path

from attrs import evolve

from pilot_atlas.report import BadReport, Entry, JobReport
from pilot_core.sdk import FileSpec, Job


def selected(job: Job, workdir: Path) -> tuple[FileSpec, ...] | None:
    """The outputs to store, under the GUIDs of the report; ``None`` where it says nothing of any.

    One that may be missing is left out if the report does not have it, or has nothing in it.
    """
    try:
        report = JobReport.read(workdir)
    except BadReport:
        return None
    made = report.outputs if report is not None else None
    if not made:
        return None
    return tuple(_known(file, made.get(file.lfn)) for file in job.outputs if is_made(file, made.get(file.lfn)))


def is_made(file: FileSpec, entry: Entry | None) -> bool:
    """Whether a file has to be stored, or is worth it."""
    return not file.optional or bool(entry and entry.entries)


def _known(file: FileSpec, entry: Entry | None) -> FileSpec:
    return evolve(file, guid=entry.guid) if entry and entry.guid else file
