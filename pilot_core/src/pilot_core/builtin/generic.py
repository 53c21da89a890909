"""The experiment "generic": run what the job says, and listen to what the payload says of itself."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from shlex import quote
from typing import Final

from pilot_core.sdk import (
    Code,
    Command,
    FileSpec,
    Job,
    JobKey,
    Outcome,
    PilotError,
    Queue,
    Replica,
    SideProcess,
    hookimpl,
)
from pilot_core.sdk.io import Inside
from pilot_core.sdk.wire import Fields

REPORT: Final = "payload_error_report.json"
LARGEST_B: Final = 1 << 20
STEPS: Final[JobKey[Mapping[str, Mapping[str, str]]]] = JobKey("panda.steps")
"""What a server wants to be run around the payload: its command and its arguments as shell text, by name."""
NOTHING_TO_DO: Final = (160, 161, 162)
log = logging.getLogger(__name__)


@hookimpl
def pilot_payload_command(job: Job, workdir: Path) -> Command | None:
    """Run what the job says; where its arguments are shell text, by the shell."""
    if not job.transformation:
        return None
    if job.parameters:
        return Command("/bin/sh", "-c", f"{quote(_program(job.transformation, workdir))} {job.parameters}")
    return Command(_program(job.transformation, workdir), *job.arguments)


@hookimpl
def pilot_payload_preprocesses(job: Job, workdir: Path) -> Sequence[SideProcess]:
    """Run what the job names before its payload."""
    return _side(job, "preprocess", workdir)


@hookimpl
def pilot_payload_sides(job: Job, workdir: Path) -> Sequence[SideProcess]:
    """Run what the job names beside its payload."""
    return _side(job, "coprocess", workdir)


@hookimpl
def pilot_payload_postprocesses(job: Job, workdir: Path) -> Sequence[SideProcess]:
    """Run what the job names after its payload."""
    return _side(job, "postprocess", workdir)


def _side(job: Job, name: str, workdir: Path) -> Sequence[SideProcess]:
    told = (job.extras.get(STEPS) or {}).get(name)
    if not told:
        return ()
    program, arguments = told.get("command", ""), told.get("args", "")
    if not program or "://" in program:
        why = f"{program} is an address, and nothing here brings it" if program else "it names no command"
        raise PilotError(Code.TRFDOWNLOADFAILURE, f"the job's {name}: {why}")
    command = Command("/bin/sh", "-c", f"{quote(_program(program, workdir))} {arguments}")
    return (SideProcess(name=name, command=command, enough=NOTHING_TO_DO if name == "preprocess" else ()),)


def _program(name: str, workdir: Path) -> str:
    """A relative name is a file of the job's directory if it holds a slash or is there, and else found on the path."""
    local = not name.startswith("/") and ("/" in name or os.path.isfile(workdir / name))
    return str(workdir / name) if local else name


@hookimpl
def pilot_inputs_replicas(job: Job, queue: Queue) -> Mapping[str, Sequence[Replica]] | None:
    """Look where the endpoint says that a file lies which comes without a place."""
    return _places(job.inputs, queue, write=False) or None


@hookimpl
def pilot_outputs_replicas(files: Sequence[FileSpec], queue: Queue) -> Mapping[str, Sequence[Replica]] | None:
    """Put files without a place into the endpoint that they name."""
    return _places(files, queue, write=True) or None


def _places(files: Sequence[FileSpec], queue: Queue, *, write: bool) -> dict[str, Sequence[Replica]]:
    placed = ((file, queue.storages.get(file.endpoint)) for file in files if not file.replicas)
    return {
        file.lfn: [Replica(url, file.endpoint) for url in storage.places(file.scope, file.lfn, write=write)]
        for file, storage in placed
        if storage is not None
    }


@hookimpl
def pilot_payload_diagnose(job: Job, outcome: Outcome, workdir: Path) -> Sequence[PilotError]:
    """Take the payload's word for what went wrong, if it left any."""
    fields = _report(workdir)
    if fields is None:
        return ()
    number = fields.number("error_code", 0, least=-(2**31), most=2**31)
    said = fields.text("error_diag", lines=True)
    for problem in fields.problems:
        log.warning("job %s: %s: %s", job.id, REPORT, problem)
    if not number:
        return ()
    told = said or f"error {number}, without a word of explanation"
    return (PilotError(Code.PAYLOADEXECUTIONFAILURE, told, exe=number, trf=outcome.transform_code),)


def _report(workdir: Path) -> Fields | None:
    """The payload's own report, if there is one that can be read."""
    try:
        with Inside(workdir) as folder, folder.open_read(REPORT) as file:
            data = file.read(LARGEST_B + 1)
        if len(data) > LARGEST_B:
            raise ValueError(f"it is longer than {LARGEST_B} bytes")
        return Fields(json.loads(data))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        log.warning("%s in %s is not read: %s", REPORT, workdir, error)
        return None
