"""Where files lie by Rucio's word; which of these places serve a queue best the core knows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from pilot_copytools.rucio.server import Server, in_parts
from pilot_copytools.rucio.settings import RucioOptions
from pilot_copytools.rucio.words import LISTING, seen_as
from pilot_core.sdk import Checksum, Code, FileSpec, Job, JobKey, PilotError, Replica

SIGNATURES: Final = frozenset(
    {"signature", "x-amz-signature", "x-goog-signature", "temp_url_sig", "sig", "awsaccesskeyid", "googleaccessid"}
)
KINDS: Final = ("adler32", "md5")
"""The checksums that it keeps."""
PLACED_VIRTUALLY: Final[JobKey[bool]] = JobKey("rucio.virtual_placement")
VIRTUAL: Final = {"schemes": ["root"], "rse_expression": "istape=False\\type=SPECIAL", "ignore_availability": False}
"""What else is asked for a job whose inputs come by caches that were chosen for it."""
NOTHING_MORE: Final[Mapping[str, object]] = {}
Did = tuple[str, str]
"""Scope and name: what Rucio knows a file by."""


def did_of(file: FileSpec, options: RucioOptions) -> Did:
    """What Rucio knows the file by; the scope is empty if nobody names one."""
    return options.scope_of(file.scope), file.lfn


def list_replicas(server: Server, files: Iterable[FileSpec], job: Job | None = None) -> dict[str, Sequence[Replica]]:
    """The places of these files by name, in the server's order; of a file that Rucio does not know there are none."""
    dids = {did: file.lfn for file in files if (did := did_of(file, server.options))[0]}
    special = VIRTUAL if job is not None and job.extras.get(PLACED_VIRTUALLY) else {}
    known = ask_replicas(server, dids, special) if dids else {}
    return {name: places(known.get(did, {})) for did, name in dids.items()}


def ask_replicas(
    server: Server, dids: Iterable[Did], special: Mapping[str, object] = NOTHING_MORE
) -> dict[Did, Mapping[str, Any]]:
    """What the catalogue has under these names, in one call for many."""
    options = server.options
    asked = {
        "schemes": list(options.schemes),
        "sort": options.sort,
        "signature_lifetime": int(options.signed_s),
        "client_location": {"site": options.site or "unknown"},
        **({"rse_expression": options.expression} if options.expression else {}),
        **special,
    }
    found: dict[Did, Mapping[str, Any]] = {}
    try:
        for part in in_parts(dids):
            named = [{"scope": scope, "name": name} for scope, name in part]
            told = server.lines("/replicas/list", {**asked, "dids": named})
            found |= {(each["scope"], each["name"]): each for each in told}
    except PilotError as failed:
        raise seen_as(failed, LISTING, Code.RUCIOLISTREPLICASFAILED) from failed
    return found


def places(record: Mapping[str, Any]) -> tuple[Replica, ...]:
    """The places of one file, those first that the server puts first."""
    size_b, checksum = record.get("bytes"), checksum_of(record)
    told = sorted(record.get("pfns", {}).items(), key=lambda pair: pair[1].get("priority", 0))
    return tuple(
        Replica(
            url,
            about["rse"],
            about.get("domain", ""),
            signed=is_signed(url),
            tape=about.get("type") == "TAPE",
            size_b=size_b,
            checksum=checksum,
        )
        for url, about in told
    )


def is_signed(url: str) -> bool:
    """Whether the query of a URL is a signature."""
    return any(name.lower() in SIGNATURES for name, _ in parse_qsl(urlsplit(url).query))


def checksum_of(record: Mapping[str, Any]) -> Checksum | None:
    """The checksum by the catalogue's word."""
    kind = next((kind for kind in KINDS if record.get(kind)), "")
    return Checksum.parse(f"{kind}:{record[kind]}") if kind else None
