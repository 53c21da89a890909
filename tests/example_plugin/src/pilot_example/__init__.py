"""The experiment "example": the command, the environment and the errors of its payloads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pilot_core.sdk import Command, Job, JobKey, Outcome, Patch, PilotError, hookimpl
from pilot_example.codes import Codes

GEOMETRY: JobKey[str] = JobKey("example.geometry")
COMPLAINT = "geometry is too old"


@hookimpl
def pilot_error_codes() -> type:
    """Bring our own codes."""
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
    asked = job.extras.get(GEOMETRY)
    lines = complaints.read_text(errors="replace").splitlines()
    return [PilotError(Codes.OLDGEOMETRY, line, asked=asked) for line in lines if COMPLAINT in line]
