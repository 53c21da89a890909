"""The experiment "generic": run what the job says, and listen to what the payload says of itself.

With a profile it does what that says as well; see ``profile``.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from shlex import quote
from typing import Final

from attrs import frozen

from pilot_core.sdk import (
    Code,
    Command,
    FileSpec,
    Job,
    JobKey,
    Outcome,
    PilotError,
    Queue,
    Settings,
    SideProcess,
    hookimpl,
    option,
)
from pilot_core.sdk.io import Inside
from pilot_core.sdk.wire import Fields

REPORT: Final = "payload_error_report.json"
LARGEST_B: Final = 1 << 20
STEPS: Final[JobKey[Mapping[str, Mapping[str, str]]]] = JobKey("panda.steps")
"""What a server wants to be run around the payload: its command and its arguments as shell text, by name."""
REGEX: Final = "regex|"
"""How the name of an output begins that stands for all files it fits."""
NOTHING_TO_DO: Final = (160, 161, 162)
log = logging.getLogger(__name__)


@frozen(kw_only=True)
class GenericOptions:
    """The experiment "generic"."""

    section = "generic"

    programs: tuple[str, ...] = option(
        (),
        help="Addresses below which jobs may name programs, which are fetched; what one lacks, another may have.",
    )


@hookimpl
def pilot_config_sections() -> Sequence[type]:
    """The section of this experiment."""
    return (GenericOptions,)


def of_profile(path: Path) -> object:
    """The experiment that a profile makes of this one, or ``BadMessage`` with everything that is wrong with it."""
    from pilot_core.builtin.generic.experiment import Experiment
    from pilot_core.builtin.generic.profile import read_profile

    return Experiment(read_profile(path))


@hookimpl
def pilot_payload_command(job: Job, workdir: Path, settings: Settings) -> Command | None:
    """Run what the job says, fetched if need be; where its arguments are shell text, by the shell."""
    if not job.transformation:
        return None
    program = local_program(job.transformation, workdir, settings)
    if job.parameters:
        return Command("/bin/sh", "-c", f"{quote(program)} {job.parameters}")
    return Command(program, *job.arguments)


@hookimpl
def pilot_payload_preprocesses(job: Job, workdir: Path, settings: Settings) -> Sequence[SideProcess]:
    """Run what the job names before its payload."""
    return _side(job, "preprocess", workdir, settings)


@hookimpl
def pilot_payload_sides(job: Job, workdir: Path, settings: Settings) -> Sequence[SideProcess]:
    """Run what the job names beside its payload."""
    return _side(job, "coprocess", workdir, settings)


@hookimpl
def pilot_payload_postprocesses(job: Job, workdir: Path, settings: Settings) -> Sequence[SideProcess]:
    """Run what the job names after its payload."""
    return _side(job, "postprocess", workdir, settings)


def _side(job: Job, name: str, workdir: Path, settings: Settings) -> Sequence[SideProcess]:
    told = (job.extras.get(STEPS) or {}).get(name)
    if not told:
        return ()
    program, arguments = told.get("command", ""), told.get("args", "")
    if not program:
        raise PilotError(Code.TRFDOWNLOADFAILURE, f"the job's {name} names no command")
    command = Command("/bin/sh", "-c", f"{quote(local_program(program, workdir, settings))} {arguments}")
    return (SideProcess(name=name, command=command, enough=NOTHING_TO_DO if name == "preprocess" else ()),)


def local_program(name: str, workdir: Path, settings: Settings) -> str:
    """A relative name is a file of the job's directory if it holds a slash or is there, and else found on the path.

    What is named by an address is fetched into that directory.
    """
    if "://" in name:
        from pilot_core.sdk.web import Programs, bring_program, web_of

        programs = Programs(bases=settings.of(GenericOptions).programs)
        return str(workdir / bring_program(name, workdir, programs, lambda: web_of(settings, {})))
    local = not name.startswith("/") and ("/" in name or os.path.isfile(workdir / name))
    return str(workdir / name) if local else name


@hookimpl
def pilot_outputs_select(job: Job, queue: Queue, workdir: Path) -> Sequence[FileSpec] | None:
    """Find the files that a job names by a pattern."""
    if not any(file.lfn.startswith(REGEX) for file in job.outputs):
        return None
    from pilot_core.builtin.generic.outputs import selected

    with Inside(workdir) as folder:
        return selected((), job, queue, folder, {})


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
