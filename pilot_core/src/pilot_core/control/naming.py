"""Names of files: which may be used, and where a file of that name lies or goes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import quote

from pilot_core.control.sides import Side
from pilot_core.errors import Code, PilotError
from pilot_core.model.files import FileSpec, Replica, Transfer
from pilot_core.model.names import LONGEST_NAME_B, UnsafeName, safe_name


def named_once(side: Side, files: Iterable[FileSpec]) -> tuple[list[FileSpec], list[PilotError]]:
    """The files whose names may be used, each once, and what is wrong with the others."""
    good: dict[str, FileSpec] = {}
    errors = []
    for file in files:
        try:
            safe_name(file.lfn)
        except UnsafeName as unsafe:
            too_long = len(file.lfn.encode(errors="replace")) > LONGEST_NAME_B
            errors.append(PilotError(Code.LFNTOOLONG if too_long else Code.BADOUTPUTFILENAME, str(unsafe)))
            continue
        if good.setdefault(file.lfn, file) is not file:
            errors.append(PilotError(side.failed, f"{file.lfn}: two files of the job have this name"))
    return list(good.values()), errors


def transfer_of(file: FileSpec, known: Mapping[str, Sequence[Replica]], output_dir: str = "") -> Transfer:
    """A file with the places that somebody knows of, its own, or one in the directory for all outputs."""
    candidates = tuple(known.get(file.lfn, file.replicas))
    if not candidates and output_dir:
        name = quote(file.lfn) if "://" in output_dir else file.lfn
        candidates = (Replica(f"{output_dir.rstrip('/')}/{name}"),)
    return Transfer(file=file, path=file.lfn, candidates=candidates)
