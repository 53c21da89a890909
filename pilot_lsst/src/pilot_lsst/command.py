"""What is run for a Rubin job: a transform from the web, with the command line that the workflow service wrote."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Final

from pilot_core.sdk import Code, Command, Job, Patch, PilotError, Queue, Settings
from pilot_core.sdk.web import Programs, bring_program, is_address, web_of
from pilot_lsst.options import LsstOptions

BASH: Final = "/bin/bash"


def problems(job: Job, settings: Settings) -> list[PilotError]:
    """What is wrong with the address of its transform."""
    programs = programs_of(settings)
    if not is_address(job.transformation) or programs.allows(job.transformation):
        return []
    told = f"{job.transformation} is not below {', '.join(programs.bases)}; see lsst.transforms"
    return [PilotError(Code.TRFDOWNLOADFAILURE, told)]


def programs_of(settings: Settings) -> Programs:
    """Where transforms may come from."""
    return Programs(bases=settings.of(LsstOptions).transforms)


def command_of(job: Job, workdir: Path, settings: Settings) -> Command:
    """The transform; its arguments, encoded or not, reach it as the server sent them."""
    if not job.transformation:
        raise PilotError(Code.UNKNOWNPAYLOADFAILURE, "the job names no transform")
    program = shlex.quote(program_in(workdir, job.transformation, settings))
    return Command(BASH, "-c", " ".join(filter(None, (program, job.parameters, shlex.join(job.arguments)))))


def program_in(workdir: Path, name: str, settings: Settings) -> str:
    """The transform as the shell finds it: fetched if it is an address, in the job's directory or else on the path."""
    if is_address(name):
        return f"./{bring_program(name, workdir, programs_of(settings), lambda: web_of(settings, {}))}"
    return f"./{name}" if "/" not in name and (workdir / name).is_file() else name


def patches(job: Job, queue: Queue) -> list[Patch]:
    """The variables by which a payload knows its job."""
    told = {"PANDAID": job.id, "PanDA_TaskID": job.task, "PanDA_AttemptNr": str(job.attempt)}
    known = {**told, "PANDA_RESOURCE": queue.name, "TZ": "UTC"}
    return [Patch.set(name, value) for name, value in known.items() if value]
