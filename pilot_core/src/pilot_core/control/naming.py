"""Names of files: which may be used, and where a file of that name lies or goes."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import quote

from pilot_core.control.sides import IN, Side
from pilot_core.errors import Code, PilotError
from pilot_core.model.change import evolve
from pilot_core.model.files import Checksum, FileSpec, Replica, Transfer
from pilot_core.model.names import LONGEST_NAME_B, UnsafeName, safe_name

log = logging.getLogger(__name__)


def named_once(side: Side, files: Iterable[FileSpec]) -> tuple[list[FileSpec], list[PilotError]]:
    """The files whose names may be used, each once, and what is wrong with the others."""
    good: dict[str, FileSpec] = {}
    taken: dict[str, FileSpec] = {}
    errors = []
    for file in files:
        try:
            safe_name(file.lfn)
        except UnsafeName as unsafe:
            too_long = len(file.lfn.encode(errors="replace")) > LONGEST_NAME_B
            code = Code.LFNTOOLONG if too_long else Code.BADOUTPUTFILENAME
            errors.append(PilotError(code, str(unsafe), lfn=file.lfn))
            continue
        if good.setdefault(file.lfn, file) is not file:
            errors.append(PilotError(side.failed, f"{file.lfn}: two files of the job have this name"))
        elif taken.setdefault(file.local, file) is not file:
            told = f"{file.lfn}: {taken[file.local].lfn} has its place in the job's directory, {file.local}"
            errors.append(PilotError(side.failed, told))
    return list(good.values()), errors


def transfer_of(file: FileSpec, known: Mapping[str, Sequence[Replica] | PilotError], output_dir: str = "") -> Transfer:
    """A file with the places that somebody knows of, its own, or one in the directory for all outputs."""
    found = known.get(file.lfn, file.replicas)
    if isinstance(found, PilotError):
        return Transfer(file=file, path=file.local, candidates=(), error=found)
    candidates = tuple(found)
    if not candidates and output_dir:
        name = quote(file.lfn) if "://" in output_dir else file.lfn
        candidates = (Replica(f"{output_dir.rstrip('/')}/{name}"),)
    return Transfer(file=file, path=file.local, candidates=candidates)


def in_agreement(transfer: Transfer, trusted: str) -> Transfer:
    """An input with what a catalogue adds to the job's word, or with the error that one contradicts the other."""
    file, places = transfer.file, transfer.candidates
    size_b = next((each.size_b for each in places if each.size_b is not None), None)
    checksum = next((each.checksum for each in places if each.checksum), None)
    if told := _contradiction(file, size_b, checksum):
        if trusted == "neither":
            return evolve(transfer, error=PilotError(IN.mismatch(file), f"{file.lfn}: {told}"))
        log.warning("%s: %s; the %s is trusted", file.lfn, told, trusted)
    if trusted == "catalogue":
        known = evolve(file, size_b=file.size_b if size_b is None else size_b, checksum=checksum or file.checksum)
    else:
        known = evolve(file, size_b=size_b if file.size_b is None else file.size_b, checksum=file.checksum or checksum)
    return evolve(transfer, file=known)


def _contradiction(file: FileSpec, size_b: int | None, checksum: Checksum | None) -> str:
    """What the catalogue says of a file, and the job says otherwise."""
    if None not in (file.size_b, size_b) and file.size_b != size_b:
        return f"size {size_b} B in the catalogue, {file.size_b} B in the job"
    mine = file.checksum
    if mine and checksum and mine.kind == checksum.kind and mine != checksum:
        return f"{checksum} in the catalogue, {mine} in the job"
    return ""
