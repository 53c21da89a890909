"""What is run for an ATLAS job: a transform of the release or of the web, in the release, with the job's arguments."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pilot_atlas.container import ALRB, image_of, runtime_of
from pilot_atlas.job import AtlasJob, steps_of
from pilot_atlas.options import AtlasOptions
from pilot_atlas.parameters import directly_read, parameters_of
from pilot_atlas.release import SETUP, guarded, is_wanted, setup_file
from pilot_core.sdk import Code, Command, Job, JobKey, PilotError, Queue, Settings
from pilot_core.sdk.io import Inside

BASH: Final = "/bin/bash"
TEXTS: Final[JobKey[Mapping[str, str]]] = JobKey("job.texts")
"""Files that were written beside the inputs because the arguments name them."""


def command_of(job: Job, queue: Queue, workdir: Path, settings: Settings) -> Command:
    """The payload; the file that sets up its release is written."""
    payload = _payload(job, workdir, settings)
    wanted = is_wanted(AtlasJob.of(job), job.parameters)
    image = image_of(job, queue, settings)
    by_alrb = bool(image) and runtime_of(settings) == ALRB
    if wanted or by_alrb:
        write_setup(job, workdir, settings, wanted=wanted)
    write_lists(job, workdir)
    return Command(BASH, "-c", guarded(payload, here=not by_alrb) if wanted else payload)


def _payload(job: Job, workdir: Path, settings: Settings) -> str:
    """The transform with its arguments, or what the job names in its place for a container."""
    steps = steps_of(job)
    instead = steps.get("containerOptions", {}).get("containerExec", "")
    if instead and ("preprocess" in steps or not job.transformation):
        return instead
    if not job.transformation:
        raise PilotError(Code.UNKNOWNPAYLOADFAILURE, "the job names no transform")
    program = program_in(workdir, job.transformation, settings)
    return " ".join(filter(None, (program, parameters_of(job), shlex.join(job.arguments))))


def program_in(workdir: Path, program: str, settings: Settings) -> str:
    """A program as the shell finds it: fetched if it is an address, in the job's directory or else on the path."""
    if "://" in program:
        from pilot_atlas.transform import bring

        return shlex.quote(f"./{bring(program, workdir, settings)}")
    return shlex.quote(f"./{program}" if "/" not in program and (workdir / program).is_file() else program)


def write_setup(job: Job, workdir: Path, settings: Settings, *, wanted: bool) -> None:
    """Write the file that sets up the release, or says that there is none."""
    text = setup_file(AtlasJob.of(job) if wanted else None, settings.of(AtlasOptions))
    with Inside(workdir) as folder, folder.open_write(SETUP) as file:
        file.write(text.encode())


def write_lists(job: Job, workdir: Path) -> None:
    """Name inputs that are read where they lie by their places, in the lists that the arguments name."""
    direct = directly_read(job)
    for name, text in (job.extras.get(TEXTS) or {}).items() if direct else ():
        lines = [direct.get(line, line) for line in text.splitlines()]
        with Inside(workdir) as folder, folder.open_write(name) as file:
            file.write("".join(f"{line}\n" for line in lines).encode())
