"""The experiment "example": the command, the environment and the errors of its payloads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pilot_core.sdk import (
    Command,
    ErrorCode,
    Job,
    JobKey,
    Outcome,
    Party,
    Patch,
    PilotError,
    Retry,
    Stage,
    hookimpl,
)

GEOMETRY: JobKey[str] = JobKey("example.geometry")
COMPLAINT = "geometry is too old"


class Codes:
    """The errors that only this experiment has."""

    OLDGEOMETRY = ErrorCode(2950, Stage.PAYLOAD, Party.PAYLOAD, Retry.COUNTED, "The geometry is older than the data")


@hookimpl
def pilot_error_codes() -> type:
    """Bring the codes above."""
    return Codes


@hookimpl
def pilot_job_extras(wire: Mapping[str, object]) -> Mapping[JobKey[str], str]:
    """Keep the geometry that the job asks for."""
    return {GEOMETRY: str(wire["geometry"])} if "geometry" in wire else {}


@hookimpl
def pilot_payload_command(job: Job) -> Command:
    """Run what the job says."""
    return Command(job.transformation, *job.arguments)


@hookimpl
def pilot_payload_environment(job: Job) -> Sequence[Patch]:
    """Tell the payload its geometry."""
    geometry = job.extras.get(GEOMETRY)
    return [Patch.set("EXAMPLE_GEOMETRY", geometry)] if geometry else []


@hookimpl
def pilot_payload_diagnose(job: Job, outcome: Outcome, workdir: Path) -> Sequence[PilotError]:
    """Recognise the complaint about the geometry."""
    complaints = workdir / "payload.stderr"
    if outcome.clean or not complaints.exists():
        return []
    lines = complaints.read_text(errors="replace").splitlines()
    return [PilotError(Codes.OLDGEOMETRY, line, asked=job.extras.get(GEOMETRY)) for line in lines if COMPLAINT in line]
