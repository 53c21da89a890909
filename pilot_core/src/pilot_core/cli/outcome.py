"""What became of one job, told to a person from its final record."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pilot_core.cli.output import columns, duration, size
from pilot_core.errors import Party, PilotError
from pilot_core.io.files import read_json
from pilot_core.model.failure import failure_of

Record = Mapping[str, Any]


def read_record(path: Path) -> Record:
    """The record of a job or of a pilot."""
    record: Record = read_json(path)
    return record


def read_records(paths: Iterable[Path]) -> dict[Path, Record]:
    """The records that could be written, by where they are."""
    return {path: read_record(path) for path in paths if path.exists()}


def exit_code_of(record: Record) -> int:
    """0 only for a job that finished."""
    if record["state"] == "finished":
        return 0
    return PilotError.from_wire(record["error"]).code.exit_code if record.get("error") else 1


def story(record: Record, path: Path) -> str:
    """A few lines: how the job ended and why, and where its files, its log and its record are."""
    return "\n".join(_story(record, path))


def _story(record: Record, path: Path) -> Iterator[str]:
    lasted_s = sum(phase["lasted_s"] for phase in record["phases"])
    yield f"job {record['id']} {record['state']} after {duration(lasted_s)}"
    errors = [*map(PilotError.from_wire, record["errors"])]
    ours = [error for error in errors if not error.facts.get("superseded")]
    if len(ours) < len(errors):
        told = next(error.detail for error in errors if error.facts.get("superseded"))
        yield f"  the server has given the job to somebody else, or taken it back: {told}"
        yield "    nothing is to be done; what was made here is kept as said below"
    for error in ours:
        yield f"  {error}"
        failure = failure_of(error)
        whose = "nobody's fault" if failure.fault is Party.NOBODY else f"fault of the {failure.fault.value}"
        yield f"    {whose}; {failure.remedy}"
    yield from (f"  {line}" for line in columns(("", "", ""), _places(record, path)).splitlines()[1:])


def _places(record: Record, path: Path) -> Iterator[tuple[str, str, str]]:
    """What lies where: a word for it, its name and size, its place."""
    workdir = path.parent.with_name(path.parent.name.removesuffix(".control"))
    for file in record["files"]:
        if file["direction"] == "out":
            yield "stored", f"{file['lfn']} ({size(file['size_b'])})", file["url"]
    for name in record["left_in_workdir"]:
        yield "not stored", name, str(workdir / name)
    if workdir.is_dir():
        yield "kept", "the job's directory", f"{workdir} ({record['kept']})"
    if not record["delivered"]:
        yield "not delivered", "the final update", str(path.with_name("final.json"))
    yield "kept", "the pilot's log of it", str(path.with_name("pilot.log"))
    yield "kept", "the record", str(path)
