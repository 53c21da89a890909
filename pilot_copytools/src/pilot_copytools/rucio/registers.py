"""Entering files that lie in storage as Rucio's replicas: once, whoever did it before."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from pilot_copytools.rucio.replicas import KINDS, Did, ask_replicas, did_of
from pilot_copytools.rucio.server import Server, in_parts
from pilot_copytools.rucio.words import REGISTERING, seen_as
from pilot_core.sdk import Checksum, Code, FileSpec, Job, PilotError, Receipt

log = logging.getLogger(__name__)


def register(server: Server, job: Job, receipts: Sequence[Receipt]) -> dict[str, PilotError]:
    """Have the catalogue know these files; by name what it has against one.

    Of what lies in none of its storages it is not told. It leaves alone what it knows already, also if that is another
    file: so it is asked what it has then.
    """
    known = {file.lfn: file for file in (*job.outputs, job.log) if file is not None}
    files = {each.lfn: _file(known.get(each.lfn), each) for each in receipts if each.endpoint}
    errors = {
        name: PilotError(Code.STAGEOUTFAILED, f"{name}: no scope is known to register it under; set rucio.scope")
        for name, file in files.items()
        if not did_of(file, server.options)[0]
    }
    by_storage: dict[str, list[Receipt]] = {}
    for each in receipts:
        if each.lfn in files and each.lfn not in errors:
            by_storage.setdefault(each.endpoint, []).append(each)
    for storage, group in by_storage.items():
        if not server.has_storage(storage):
            log.info("%s is none of Rucio's storages: %d files there are not registered", storage, len(group))
            continue
        for part in in_parts(group):
            errors |= _add(server, storage, part, files)
    return errors


def _file(file: FileSpec | None, receipt: Receipt) -> FileSpec:
    """The file as it lies there."""
    scope = file.scope if file else ""
    return FileSpec(lfn=receipt.lfn, scope=scope, guid=receipt.guid, size_b=receipt.size_b, checksum=receipt.checksum)


def _add(
    server: Server, storage: str, receipts: Sequence[Receipt], files: Mapping[str, FileSpec]
) -> dict[str, PilotError]:
    """Enter files of one storage, and compare what is known of them then."""
    dids = {each.lfn: did_of(files[each.lfn], server.options) for each in receipts}
    asked = {"rse": storage, "files": [_row(dids[each.lfn], each) for each in receipts], "ignore_availability": True}
    try:
        server.call("POST", "/replicas", json=asked, headers={"Accept": "*/*"}, repeat=True)
        there = ask_replicas(server, dids.values())
    except PilotError as failed:
        otherwise = Code.RUCIOSERVICEUNAVAILABLE
        return {each.lfn: seen_as(failed, REGISTERING, otherwise, f"{each.lfn}: ") for each in receipts}
    return {name: told for name, did in dids.items() if (told := _wrong(files[name], did, storage, there))}


def _wrong(file: FileSpec, did: Did, storage: str, there: Mapping[Did, Mapping[str, Any]]) -> PilotError | None:
    record = there.get(did)
    if record is None or storage not in record.get("rses", {}):
        return PilotError(Code.STAGEOUTFAILED, f"{file.lfn}: Rucio took it, and does not know it in {storage}")
    told = _disagreement(file, record)
    return PilotError(Code.FILEEXISTS, f"Rucio knows another file of this name: {told}") if told else None


def _disagreement(file: FileSpec, record: Mapping[str, Any]) -> str:
    """What the catalogue says of a file, and the storage otherwise."""
    if record.get("bytes") != file.size_b:
        return f"{file.lfn}: {file.size_b} B are stored, {record.get('bytes')} B in the catalogue"
    told = record.get(file.checksum.kind) if file.checksum else None
    if told and file.checksum and Checksum.parse(f"{file.checksum.kind}:{told}") != file.checksum:
        return f"{file.lfn}: {file.checksum} is stored, {file.checksum.kind}:{told} in the catalogue"
    return ""


def _row(did: Did, receipt: Receipt) -> dict[str, object]:
    """A file as the server wants it."""
    known = receipt.checksum if receipt.checksum and receipt.checksum.kind in KINDS else None
    sums = {known.kind: known.value} if known else {}
    guid = {"meta": {"guid": receipt.guid.replace("-", "")}} if receipt.guid else {}
    place = {} if "***" in receipt.url else {"pfn": receipt.url}
    return {"scope": did[0], "name": did[1], "bytes": receipt.size_b, **place, **sums, **guid}
