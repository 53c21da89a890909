"""The final record of a job: everything that there is to know when it is over, as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from pilot_core.model.failure import failure_of
from pilot_core.model.files import Receipt
from pilot_core.model.job import FAILED, FINISHED, Job
from pilot_core.model.records import pack
from pilot_core.redact import Redactor

FORMAT = 1
SIDES = "sides"
"""The note that holds the processes beside the payload, environments and all: nothing for a record."""
CONTAINED = "contained"
"""The note that names the runtime whose container the payload is in."""


@frozen(kw_only=True)
class Surroundings:
    """What a record tells beside the job itself."""

    at: float
    node: str
    facts: Mapping[str, object] = field(factory=dict)
    plugins: Mapping[str, str] = field(factory=dict)
    kept: str = ""
    """Why the job's directory was not removed; nothing if it was."""


def record_of(job: Job, around: Surroundings, redactor: Redactor) -> dict[str, object]:
    """The record of a job; nothing secret is in it."""
    scrubbed: dict[str, object] = scrub_all(known_of(job, around), redactor)
    return scrubbed


def known_of(job: Job, around: Surroundings) -> dict[str, object]:
    """All that is known of a job, secrets and all."""
    return {
        "format": FORMAT,
        "id": job.id,
        "name": job.name,
        "attempt": job.attempt,
        "task": job.task,
        "state": FAILED if job.errors else FINISHED,
        "error": job.error.to_wire() if job.error else None,
        "failure": failure_of(job.error).to_wire() if job.error else None,
        "errors": [error.to_wire() for error in job.errors],
        "phases": phases_of(job, around.at),
        "files": [file_of(receipt) for receipt in job.receipts],
        "outcome": pack(job.outcome) if job.outcome else None,
        "usage": pack(job.usage),
        "command": list(job.command.argv) if job.command else None,
        "notes": {name: note for name, note in job.notes.items() if name != SIDES},
        "delivered": bool(job.notes.get("delivered")),
        "left_in_workdir": job.notes.get("left_in_workdir", []),
        "kept": around.kept,
        "node": {"name": around.node, **around.facts},
        "plugins": dict(around.plugins),
        "origin": job.origin,
        "at": around.at,
    }


def scrub_all(value: Any, redactor: Redactor) -> Any:
    """JSON material with every text in it scrubbed, but for the keys."""
    if isinstance(value, str):
        return redactor.scrub(value)
    if value is None or isinstance(value, (int, float)):
        return value
    if isinstance(value, (dict, Mapping)):
        return {key: scrub_all(each, redactor) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [scrub_all(each, redactor) for each in value]
    return value


def phases_of(job: Job, at: float) -> list[dict[str, object]]:
    """The phases as they were entered, whatever the wall clock did meanwhile; when each began, how long it lasted."""
    begun = list(job.times.items())
    ends = [*(start for _, start in begun[1:]), at]
    return [
        {"phase": phase, "at": start, "lasted_s": round(max(end - start, 0.0), 3)}
        for (phase, start), end in zip(begun, ends, strict=False)
    ]


def file_of(receipt: Receipt) -> dict[str, object]:
    """A file that was moved: its size, its sum, and how fast it went."""
    speed = receipt.size_b / receipt.took_s if receipt.took_s > 0 else None
    told: dict[str, object] = pack(receipt)
    return {**told, "checksum": str(receipt.checksum) if receipt.checksum else None, "speed_b_s": speed}
