"""Where outputs go in storages that Rucio knows, under the names that it expects there."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

from pilot_copytools.rucio.replicas import Did, did_of
from pilot_copytools.rucio.server import Server, in_parts
from pilot_copytools.rucio.settings import RucioOptions
from pilot_copytools.rucio.words import NAMING, seen_as
from pilot_core.sdk import Code, FileSpec, PilotError, Queue, Replica

READING: Final = ("read_lan", "pr")
WRITING: Final = ("write_lan", "pw", "w")
HASH: Final = "hash"
"""The usual rule by which a path is made of a scope and a name."""
NAMES_AT_ONCE: Final = 50
"""They stand in the address of the call."""
Answer = Sequence[Replica] | PilotError


def wanted(files: Sequence[FileSpec], queue: Queue, options: RucioOptions) -> list[FileSpec]:
    """The files that Rucio names: all without a place, or none where the queue's data knows the storages of all."""
    placeless = [file for file in files if not file.replicas]
    known = all(_storage(file, queue) in queue.storages for file in placeless)
    return [] if known and not options.names else [file for file in placeless if did_of(file, options)[0]]


def destinations(server: Server, files: Sequence[FileSpec], queue: Queue) -> dict[str, Answer]:
    """The places for these files by name, or why there is none; what the queue knows, and Rucio not, is left out."""
    by_storage: dict[str, list[FileSpec]] = {}
    for file in files:
        by_storage.setdefault(_storage(file, queue), []).append(file)
    near = _storages(queue, READING)
    found: dict[str, Answer] = {}
    for storage, group in by_storage.items():
        if storage in queue.storages and not server.has_storage(storage):
            continue
        try:
            found |= _in_storage(server, storage, group, "lan" if storage in near else "wan") if storage else {}
        except PilotError as failed:
            error = seen_as(failed, NAMING, Code.RUCIOSERVICEUNAVAILABLE, f"{storage}: ")
            found |= {file.lfn: error for file in group}
    return found


def _storage(file: FileSpec, queue: Queue) -> str:
    """Where a file goes: into the storage that it names, or else into the queue's first."""
    return file.endpoint or next(iter(_storages(queue, WRITING)), "")


def _storages(queue: Queue, activities: Sequence[str]) -> Sequence[str]:
    told = queue.params.get("astorages")
    return next((told[name] for name in activities if told.get(name)), ()) if isinstance(told, Mapping) else ()


def _in_storage(server: Server, storage: str, files: Sequence[FileSpec], domain: str) -> dict[str, tuple[Replica, ...]]:
    """The places in one storage, by its doors in their order."""
    known = server.storage(storage)
    if not known.get("deterministic"):
        told = "Rucio makes no names for files there; name a storage whose names follow a rule"
        raise PilotError(Code.NONDETERMINISTICDDM, told)
    dids = [did_of(file, server.options) for file in files]
    places: dict[Did, list[Replica]] = {did: [] for did in dids}
    for door in doors(known, "write", domain):
        for did, url in _urls(server, known, door, dids, domain):
            places[did].append(Replica(url, storage, domain))
    if not all(places.values()):
        raise PilotError(Code.NOSTORAGEPROTOCOL, "Rucio knows no door there by which files can be written")
    return {file.lfn: tuple(places[did]) for file, did in zip(files, dids, strict=True)}


def doors(storage: Mapping[str, Any], operation: str, domain: str) -> list[Mapping[str, Any]]:
    """The protocols by which a storage can be used so, the preferred first; those of the other domain come last."""

    def rank(door: Mapping[str, Any], domain: str) -> int:
        return int(door["domains"].get(domain, {}).get(operation) or 0)

    other = "wan" if domain == "lan" else "lan"
    ways = [(far, rank(door, name), number) for number, door in enumerate(storage["protocols"])
            for far, name in enumerate((domain, other)) if rank(door, name)]  # fmt: skip
    return [storage["protocols"][number] for number in dict.fromkeys(number for _, _, number in sorted(ways))]


def path_of(scope: str, name: str) -> str:
    """Where a file lies below the beginning of a storage whose names are hashed."""
    digest = hashlib.md5(f"{scope}:{name}".encode(), usedforsecurity=False).hexdigest()
    return f"{scope.replace('.', '/')}/{digest[:2]}/{digest[2:4]}/{name}"


def url_of(door: Mapping[str, Any], path: str) -> str:
    """The URL of a path behind this door."""
    host = str(door["hostname"]).rpartition("://")[2]
    port = f":{door['port']}" if door.get("port") else ""
    service = (door.get("extended_attributes") or {}).get("web_service_path", "")
    prefix = str(door["prefix"])
    begin = f"{'' if prefix.startswith('/') else '/'}{prefix}{'' if prefix.endswith('/') else '/'}"
    return f"{door['scheme']}://{host}{port}{service}{begin}{path}"


def _urls(
    server: Server, storage: Mapping[str, Any], door: Mapping[str, Any], dids: Sequence[Did], domain: str
) -> Iterator[tuple[Did, str]]:
    """The URLs of files by one door: made here where the rule is the usual one, and else by the server."""
    if storage.get("lfn2pfn_algorithm") == HASH:
        yield from ((did, url_of(door, path_of(*did))) for did in dids)
        return
    for part in in_parts(dids, NAMES_AT_ONCE):
        asked = {"lfn": [f"{scope}:{name}" for scope, name in part], "scheme": door["scheme"], "domain": domain}
        path = f"/rses/{quote(storage['rse'], safe='')}/lfns2pfns"
        told: Any = server.call("GET", path, query={**asked, "operation": "write"}, repeat=True).json()
        yield from ((did, told[f"{did[0]}:{did[1]}"]) for did in part)
