"""Every fact of a queue and of its storages, as it was told, with who told it: what people read who wonder."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

from attrs import evolve, frozen

from pilot_core.infosys.catchall import Catchall
from pilot_core.infosys.facts import Origin, Told, ask, let_rest
from pilot_core.infosys.queue import endpoints, queue_of
from pilot_core.infosys.storage import Storages
from pilot_core.infosys.wire import JOINED, REMARKS, UNUSED
from pilot_core.spec.drivers import InfoSource

PROTOCOLS = "arprotocols"


@frozen
class Fact:
    """One fact: ``queue.maxrss``, ``queue.params.pilot_rss_grace``, ``storage.NAME.write``."""

    path: str
    value: str
    source: str
    document: str
    age_s: float | None
    note: str = ""
    """What there is to say of a fact that changes nothing."""


def explain(name: str, sources: Sequence[InfoSource]) -> list[Fact]:
    """All facts of a queue, whether or not it takes work, then those of the storage endpoints that it uses."""
    try:
        told = ask(name, sources)
        if not told.tellers:
            return []
        storages = Storages(sources, endpoints(queue_of(name, told)))
    finally:
        let_rest(sources)
    return [*_of_queue(told), *(fact for storage in storages for fact in _of_storage(storage, storages))]


def _of_queue(told: Told) -> Iterator[Fact]:
    for name, value in sorted(told.facts.items()):
        if name in JOINED and isinstance(value, Mapping):
            for row, each in value.items():
                yield _fact(f"queue.{name}.{row}", each, told.origins[f"{name}.{row}"])
        else:
            yield evolve(_fact(f"queue.{name}", value, told.origins[name]), note=_note(name, value))


def _note(name: str, value: object) -> str:
    if name != "catchall":
        return "not used" if name in UNUSED else ""
    said = Catchall.read(str(value))
    unused = sorted(word for word in said.flags | said.values.keys() if not REMARKS.get(word, True))
    return f"not used: {', '.join(unused)}" if unused else ""


def _of_storage(name: str, storages: Storages) -> Iterator[Fact]:
    facts, origin = storages.facts(name)
    known = {"write": storages[name].write, "read": storages[name].read}
    rest = {fact: value for fact, value in facts.items() if fact not in ("name", PROTOCOLS)}
    for fact, value in {**known, **rest}.items():
        yield _fact(f"storage.{name}.{fact}", value, origin)


def _fact(path: str, value: object, origin: Origin) -> Fact:
    shown = value if isinstance(value, str) else json.dumps(value, default=str)
    return Fact(path, shown, origin.source, origin.document, origin.age_s)
