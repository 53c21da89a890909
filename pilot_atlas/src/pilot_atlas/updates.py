"""What the server is told of an ATLAS job beside what it is told of every job."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pilot_atlas.report import BadReport, JobReport
from pilot_core.sdk import Job, Patch, Verdict


def patches(job: Job, workdir: Path, *, final: bool) -> Sequence[Patch]:
    """The report of a job that is over, and the numbers in it."""
    if not final or job.outcome is None:
        return ()
    try:
        report = JobReport.read(workdir)
    except BadReport:
        report = None
    found = [Patch.append("job_metrics", metrics, between=" ")] if (metrics := metrics_of(job, report)) else []
    if report is None:
        return found
    found += [Patch.set("n_events", report.n_events)] if report.n_events is not None else []
    return (*found, Patch.set("meta_data", report.sendable())) if job.verdict is Verdict.FINISHED else found


def metrics_of(job: Job, report: JobReport | None) -> str:
    """Pairs of names and numbers."""
    told = dict(report.database) if report is not None else {}
    if report is not None and report.n_events is not None:
        told = {"nEvents": float(report.n_events), **told}
    if job.outcome is not None and job.outcome.wall_s > 0:
        told["actualCoreCount"] = round(job.usage.ended(job.outcome.usage).cpu_s / job.outcome.wall_s, 3)
    return " ".join(f"{name}={value:.15g}" for name, value in told.items())
