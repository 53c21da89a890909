"""The facts of storage endpoints: the protocols by which files are written and read there."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Final

from pilot_core.errors import PilotError
from pilot_core.model.queue import Storage
from pilot_core.spec.drivers import InfoSource

WRITE: Final = ("write_lan", "write_wan")
READ: Final = ("read_lan", "read_wan")
log = logging.getLogger(__name__)


def storages_of(facts: Mapping[str, object], sources: Iterable[InfoSource]) -> dict[str, Storage]:
    """The endpoints that a queue's facts name, each as the first source tells that knows it."""
    activities = facts.get("astorages")
    if not isinstance(activities, Mapping):
        return {}
    lists = (names for names in activities.values() if isinstance(names, list | tuple))
    wanted = dict.fromkeys(str(name) for names in lists for name in names)
    told = ((name, _ask(name, sources)) for name in wanted)
    return {name: _storage(name, about) for name, about in told if about is not None}


def _ask(name: str, sources: Iterable[InfoSource]) -> Mapping[str, object] | None:
    for source in sources:
        try:
            told = source.storage(name)
        except PilotError as error:
            log.warning("storage %s: source %s did not tell: %s", name, source.name, error)
            continue
        if told is not None:
            return told
    log.warning("storage %s, which the queue uses, is known to no source", name)
    return None


def _storage(name: str, facts: Mapping[str, object]) -> Storage:
    protocols = facts.get("arprotocols")
    by_activity = protocols if isinstance(protocols, Mapping) else {}
    return Storage(name=name, write=_begins(by_activity, WRITE), read=_begins(by_activity, READ))


def _begins(by_activity: Mapping[str, object], activities: Iterable[str]) -> tuple[str, ...]:
    """The beginnings of URLs under the activities in their order, each once."""
    found: dict[str, None] = {}
    for activity in activities:
        entries = by_activity.get(activity)
        for entry in entries if isinstance(entries, list | tuple) else ():
            if isinstance(entry, Mapping) and entry.get("endpoint"):
                path = str(entry.get("path") or "/").strip("/")
                found[f"{str(entry['endpoint']).rstrip('/')}/{path}"] = None
    return tuple(found)
