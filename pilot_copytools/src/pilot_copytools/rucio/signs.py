"""Signed places for outputs, in storages that Rucio signs for, whoever named the places."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from attrs import evolve

from pilot_copytools.rucio.server import Server, reason
from pilot_copytools.rucio.words import NAMING, seen_as
from pilot_core.sdk import Code, PilotError, Replica

Answer = Sequence[Replica] | PilotError
log = logging.getLogger(__name__)


def signed(server: Server, replicas: Mapping[str, Sequence[Replica]]) -> dict[str, Answer]:
    """The places of files by name, or why none can be signed; files that need no signature are left out."""
    storages = {place.endpoint for places in replicas.values() for place in places if _may_be(place)}
    services = {storage: service for storage in sorted(storages) if (service := _service(server, storage))}
    wanting = {
        name: places
        for name, places in replicas.items()
        if any(_may_be(place) and place.endpoint in services for place in places)
    }
    return {name: _sign_all(server, services, name, places) for name, places in wanting.items()}


def _may_be(place: Replica) -> bool:
    """Whether a signature could be what is wanted there."""
    return bool(place.endpoint) and not place.signed and place.url.startswith("https:")


def _service(server: Server, storage: str) -> str:
    """The kind of store that the server signs for there; nothing if it does not, or does not say."""
    try:
        return str(server.storage(storage).get("sign_url") or "")
    except PilotError as failed:
        if reason(failed) != "settings":
            log.warning("places in %s are not signed: %s", storage, failed.detail)
        return ""


def _sign_all(server: Server, services: Mapping[str, str], name: str, places: Sequence[Replica]) -> Answer:
    """The places of one file without those that the server does not sign now; why, if there is no other."""
    usable, errors = [], []
    for place in places:
        service = services.get(place.endpoint, "") if _may_be(place) else ""
        try:
            usable.append(_sign(server, service, place) if service else place)
        except PilotError as failed:
            errors.append(seen_as(failed, NAMING, Code.RUCIOSERVICEUNAVAILABLE, f"{name}: "))
    return usable or errors[0]


def _sign(server: Server, service: str, place: Replica) -> Replica:
    """The place as one may write there without any key."""
    asked = {"rse": place.endpoint, "svc": service, "op": "write", "url": place.url}
    query = {**asked, "lifetime": int(server.options.signed_s)}
    answer = server.call("GET", "/credentials/signurl", query=query, headers={"Accept": "*/*"}, repeat=True)
    return evolve(place, url=answer.body.decode().strip(), signed=True)
