"""The information source "server": the facts of queues and storages that the server itself keeps for pilots."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

from pilot_core.sdk import Code, Connection, InfoSource, PilotError, Settings

QUEUE: Final = "/cache/schedconfig/{}.all.json"
STORAGES: Final = "/cache/ddmendpoints.json"
LIMIT_S: Final = 60.0
FRESH_S: Final = 600.0
"""All storages come in one large answer, which is good for so long."""
FLAT: Final = frozenset({"nickname", "panda_resource", "state", "status"})


class Server(InfoSource):
    """Queues and storages as the server knows them. A queue is asked for anew each time: it may change."""

    name = "server"

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        from pilot_core.sdk.web import web_of

        self._urls = settings.of(Connection).url
        self._web = web_of(settings) if self._urls else None
        self._storages: tuple[float, Mapping[str, object]] | None = None

    def queue(self, name: str) -> Mapping[str, object] | None:
        """The facts of a queue; ``None`` where no server is named. A queue that it does not know is an error."""
        told = self._fetched(QUEUE.format(quote(name, safe="")))
        if told is None:
            return None
        facts = _one(told, name)
        if facts is None or "error" in facts:
            raise PilotError(Code.QUEUEDATA, f"{self._urls[0]} has no queue {name!r}; `--queue` names another")
        return facts

    def storage(self, name: str) -> Mapping[str, object] | None:
        """The facts of a storage endpoint, if the server knows it."""
        facts = self._all_storages().get(name)
        return facts if isinstance(facts, Mapping) else None

    def _all_storages(self) -> Mapping[str, object]:
        """What was told last, if it is fresh, or if the server does not tell now."""
        known = self._storages
        if known is not None and time.monotonic() < known[0]:
            return known[1]
        try:
            told = self._fetched(STORAGES) or {}
        except PilotError:
            if known is None:
                raise
            return known[1]
        self._storages = time.monotonic() + FRESH_S, told
        return told

    def _fetched(self, path: str) -> Mapping[str, object] | None:
        """What is there; an empty mapping if nothing is."""
        if self._web is None:
            return None
        answer = self._web.call("GET", path, limit_s=LIMIT_S, repeat=True)
        if answer.status == 404:
            return {}
        if answer.status != 200:
            said = " ".join(answer.body[:300].decode(errors="replace").split())
            told = f"{self._urls[0]}{path}: status {answer.status}: {said}"
            if answer.status in (401, 403):
                raise PilotError(Code.NOPROXY, f"{told}; check connection.token", permanent=True)
            raise PilotError(Code.COMMUNICATIONFAILURE, told)
        read = answer.json()
        if not isinstance(read, Mapping):
            raise PilotError(Code.QUEUEDATANOTOK, f"{self._urls[0]}{path}: wants a mapping of facts")
        return {str(key): value for key, value in read.items()}


def _one(told: Mapping[str, object], name: str) -> Mapping[str, object] | None:
    """The facts of one queue: the message itself, or what it holds under the queue's name."""
    keyed = told.get(name)
    if isinstance(keyed, Mapping) and not FLAT & told.keys():
        return keyed
    return told if FLAT & told.keys() else None
