"""What is wrong with an ATLAS job before anything is moved or started. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from pilot_atlas.job import is_analysis
from pilot_atlas.options import AtlasOptions
from pilot_core.sdk import Code, Job, PilotError, Settings


def problems(job: Job, settings: Settings) -> Iterator[PilotError]:
    """Each of them."""
    for file in job.outputs:
        if not file.lfn.isascii():
            yield PilotError(Code.BADOUTPUTFILENAME, f"{file.lfn!r}: write it in ASCII", lfn=file.lfn)
    if not is_analysis(job):
        return
    from pilot_atlas.transform import programs_of

    programs = programs_of(settings.of(AtlasOptions))
    if not programs.allows(job.transformation):
        told = f"{job.transformation} is not below {', '.join(programs.bases)}; see atlas.transforms"
        yield PilotError(Code.TRFDOWNLOADFAILURE, told)
