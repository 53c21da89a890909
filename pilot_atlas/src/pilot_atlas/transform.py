"""A transform that has an address: from where it may come, and how it comes to the job."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from pilot_atlas.options import AtlasOptions
from pilot_core.sdk import Code, PilotError, Settings
from pilot_core.sdk.io import Inside
from pilot_core.sdk.web import Programs, bring_program, web_of


def programs_of(options: AtlasOptions) -> Programs:
    """Where transforms may come from, and how long each place is waited for."""
    each_s = options.transform_s / (options.transform_rounds * max(len(options.transforms), 1))
    return Programs(
        bases=options.transforms, rounds=options.transform_rounds, pause_s=options.transform_pause_s, each_s=each_s
    )


def bring(url: str, workdir: Path, settings: Settings) -> str:
    """The name of the transform in the job's directory, where it is executable then."""
    options = settings.of(AtlasOptions)
    programs, name = programs_of(options), url.rpartition("/")[2]
    if options.transform_folder is not None and programs.allows(url) and (options.transform_folder / name).is_file():
        _copy(options.transform_folder / name, workdir)
    return bring_program(url, workdir, programs, lambda: web_of(settings, {}))


def _copy(source: Path, workdir: Path) -> None:
    """Take one that lies here already, unless the job has it."""
    with Inside(workdir) as folder:
        if folder.exists(source.name):
            return
        try:
            with source.open("rb") as there, folder.open_write(source.name) as here:
                shutil.copyfileobj(there, here)
                os.fchmod(here.fileno(), 0o755)
        except OSError as error:
            raise PilotError(Code.CHMODTRF, f"{source.name}: {error.strerror}") from None
