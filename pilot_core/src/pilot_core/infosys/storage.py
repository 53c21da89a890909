"""The facts of storage endpoints: the protocols by which files are written and read there."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from pilot_core.errors import PilotError
from pilot_core.infosys.casting import Cast, as_flag
from pilot_core.infosys.facts import Origin, let_rest, origin_of
from pilot_core.model.queue import Storage
from pilot_core.spec.drivers import InfoSource

ACTIVITIES: Final = ("read_lan", "read_wan", "write_lan", "write_wan")
log = logging.getLogger(__name__)


class Storages(Mapping[str, Storage]):
    """The storage endpoints that a queue uses, and on demand any other that a source knows. Safe in any thread.

    The queue's own are asked for at once, so that no later failure of a source stops a job. Another one is asked for
    when it is looked up, which may take as long as its sources take, and is not listed.
    """

    def __init__(self, sources: Sequence[InfoSource] = (), names: Iterable[str] = ()) -> None:
        self._sources = sources
        self._asking = threading.Lock()
        self._facts: dict[str, tuple[Mapping[str, object], Origin]] = {}
        self._known: dict[str, Storage] = {}
        self._own = tuple(name for name in names if self._found(name))

    def __getitem__(self, name: str) -> Storage:
        self._look_up(name)
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._own)

    def __len__(self) -> int:
        return len(self._own)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(self._own)})"

    def facts(self, name: str) -> tuple[Mapping[str, object], Origin]:
        """What was told of an endpoint, in the documents' names, and by whom; ``KeyError`` for an unknown one."""
        self._look_up(name)
        return self._facts[name]

    def _look_up(self, name: str) -> None:
        if name in self._known:
            return
        with self._asking:
            self._found(name)
            let_rest(self._sources)

    def _found(self, name: str) -> bool:
        if name and name not in self._known and (told := _ask(name, self._sources)):
            self._facts[name] = told
            self._known[name] = _storage(name, told[0])
        return name in self._known


def _ask(name: str, sources: Iterable[InfoSource]) -> tuple[Mapping[str, object], Origin] | None:
    for source in sources:
        try:
            facts = source.storage(name)
        except PilotError as error:
            log.warning("storage %s: source %s did not tell: %s", name, source.name, error)
            continue
        if facts is not None:
            return facts, origin_of(source, name)
    if sources:
        log.warning("storage %s is known to no source", name)
    return None


def _storage(name: str, facts: Mapping[str, object]) -> Storage:
    cast = Cast(f"storage {name}", facts)
    told = cast.mapping("arprotocols")
    hashed: bool | None = cast.read("is_deterministic", as_flag, None)
    protocols = {activity: begins for activity in ACTIVITIES if (begins := _begins(told.get(activity)))}
    return Storage(name=name, kind=cast.text("type"), hashed=hashed, protocols=protocols)


def _begins(entries: object) -> tuple[str, ...]:
    """The beginnings of URLs, each once."""
    found: dict[str, None] = {}
    for entry in entries if isinstance(entries, list | tuple) else ():
        if isinstance(entry, Mapping) and entry.get("endpoint"):
            found[_begin(str(entry["endpoint"]), str(entry.get("path") or ""))] = None
    return tuple(found)


def _begin(endpoint: str, path: str) -> str:
    """Endpoint and path with one slash between them, or two where the path begins so, which some servers ask for."""
    if endpoint.endswith("://"):
        return endpoint + path.rstrip("/") if endpoint == "file://" else endpoint + path.strip("/")
    first = "//" if path.startswith("//") else "/"
    return f"{endpoint.rstrip('/')}{first}{path.strip('/')}"
