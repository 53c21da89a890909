"""What a job of several steps runs before, beside and after its payload."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pilot_atlas.command import BASH, program_in, write_setup
from pilot_atlas.container import image_of
from pilot_atlas.job import AtlasJob, steps_of
from pilot_atlas.release import guarded, is_wanted
from pilot_core.sdk import Code, Command, Job, PilotError, Queue, Settings, SideProcess

NOTHING_TO_DO: Final = (160, 161, 162)
"""By these a step before the payload says that there is nothing more to do, which is no error."""


def step(job: Job, name: str, queue: Queue, workdir: Path, settings: Settings) -> Sequence[SideProcess]:
    """The process of one step, if the job has it: in the job's release where the payload needs one and has no image."""
    told = steps_of(job).get(name)
    if not told:
        return ()
    if not told.get("command"):
        raise PilotError(Code.TRFDOWNLOADFAILURE, f"the job's {name} names no command")
    text = f"{program_in(workdir, told['command'], settings)} {told.get('args', '')}".rstrip()
    if is_wanted(AtlasJob.of(job), job.parameters) and not image_of(job, queue, settings):
        write_setup(job, workdir, settings, wanted=True)
        text = guarded(text, here=True)
    enough = NOTHING_TO_DO if name == "preprocess" else ()
    return (SideProcess(name=name, command=Command(BASH, "-c", text), enough=enough),)
