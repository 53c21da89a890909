"""Whether CVMFS answers on this node. A look that hangs is left behind by the pilot, which says whose it was."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pilot_atlas.options import AtlasOptions
from pilot_core.sdk import Code, PilotError, Queue

STAMP: Final = "lastUpdate"
DATED: Final = "sft.cern.ch/lcg/lastUpdate"
"""In this one the third field is the time of the last change."""


def problems(queue: Queue, options: AtlasOptions) -> Iterator[PilotError]:
    """What is wrong with it, if it is wanted at all."""
    if options.without_cvmfs or queue.params.get("is_cvmfs") is False:
        return
    why = [told for each in options.mounts if (told := _unfit(options.cvmfs / each, each))]
    if why:
        way_out = "atlas.cvmfs says where CVMFS is, atlas.mounts what of it is needed, atlas.without_cvmfs that none is"
        yield PilotError(Code.CVMFSISNOTALIVE, f"{'; '.join(why)} ({way_out})")


def _unfit(path: Path, name: str) -> str:
    """Why this is not as it should be."""
    try:
        if STAMP not in name:
            return "" if path.exists() else f"{path}: is not there"
        said = path.read_text(errors="replace")
    except OSError as error:
        return f"{path}: {error.strerror}"
    fields = said.split("|")
    dated = len(fields) > 2 and fields[2].strip().isdecimal() and int(fields[2]) > 0
    return f"{path}: does not tell the time of the last change" if name == DATED and not dated else ""
