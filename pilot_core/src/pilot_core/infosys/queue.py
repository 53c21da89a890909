"""The facts of a queue: asked of ranked sources, cast by rule, and turned into what the pilot goes by."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar

from attrs import evolve

from pilot_core.config.layers import Layer, Rank
from pilot_core.errors import Code, PilotError
from pilot_core.infosys.storage import storages_of
from pilot_core.model.queue import Queue
from pilot_core.spec.drivers import InfoSource

MB: Final = 10**6
GRACES: Final = {
    "pilot_walltime_grace": "walltime",
    "pilot_rss_grace": "memory",
    "pilot_maxwdir_grace": "disk",
}
"""Percentages in ``params`` and the sections whose ``grace`` they set, as a factor."""
T = TypeVar("T")
log = logging.getLogger(__name__)


def resolve(name: str, sources: Sequence[InfoSource]) -> tuple[Queue, Layer | None]:
    """The queue and the options that its facts set; the first source that knows a fact tells it.

    A queue that nobody knows is refused if a source keeps a list, and has default facts if there is none. Raises
    ``PilotError`` for a queue that takes no work.
    """
    facts, tellers = _ask(name, sources)
    if not tellers:
        return Queue(name=name), None
    cast = _Cast(name, facts)
    queue = evolve(_queue(name, cast), storages=storages_of(facts, sources))
    if queue.state != "ACTIVE":
        raise PilotError(Code.PANDAQUEUENOTACTIVE, f"queue {name} is {queue.state}")
    if queue.status.lower() == "offline":
        raise PilotError(Code.PANDAQUEUENOTONLINE, f"queue {name} is {queue.status}")
    return queue, _layer(f"queue {name} ({', '.join(tellers)})", queue, cast)


def _ask(name: str, sources: Iterable[InfoSource]) -> tuple[dict[str, object], list[str]]:
    facts: dict[str, object] = {}
    tellers: list[str] = []
    unknown: PilotError | None = None
    for source in sources:
        try:
            told = source.queue(name)
        except PilotError as error:
            if error.code is not Code.QUEUEDATA:
                raise
            unknown = unknown or error
            continue
        if told is not None:
            facts = {**told, **facts}
            tellers.append(source.name)
    if unknown is not None and not tellers:
        raise unknown
    return facts, tellers


def _queue(name: str, cast: _Cast) -> Queue:
    params = cast.mapping("params")
    queue = Queue(
        name=name,
        state=cast.text("state", "ACTIVE"),
        status=cast.text("status", "online"),
        cores=cast.number("corecount") or None,
        memory_b=cast.number("maxrss") * MB or None,
        disk_b=cast.number("maxwdir") * MB or None,
        wall_limit_s=float(cast.number("maxtime")) or None,
        copytools=cast.names("copytools"),
        container=_container(cast) or "none",
        environment=_environment(cast.text("environ")),
    )
    return evolve(queue, params={**cast.rest(), **params})


def _layer(where: str, queue: Queue, cast: _Cast) -> Layer | None:
    values: dict[str, dict[str, object]] = {}
    if queue.copytools:
        values["data"] = {"copytools": queue.copytools}
    if container := _container(cast):
        values["payload"] = {"container": container}
    params = _Cast(queue.name, queue.params)
    for param, section in GRACES.items():
        if param in queue.params:
            values[section] = {"grace": 1 + params.number(param) / 100}
    return Layer(Rank.QUEUE, where, dict(values)) if values else None


def _container(cast: _Cast) -> str:
    """``container_type`` names a runtime for each user of it, as ``name:user;...``; payloads are the user "pilot"."""
    told = cast.facts.get("container_type")
    if isinstance(told, Mapping):
        return str(told.get("pilot") or "")
    pairs = [each.split(":") for each in cast.text("container_type").split(";")]
    return next((pair[0].strip() for pair in pairs if len(pair) == 2 and pair[1].strip() == "pilot"), "")


def _environment(text: str) -> dict[str, str]:
    pairs = (each.partition("=") for each in text.replace(",", " ").split())
    return {name: value for name, sign, value in pairs if name and sign}


class _Cast:
    """Facts by name, each as the type that is wanted. What cannot be cast is told to the operator and left out."""

    def __init__(self, queue: str, facts: Mapping[str, object]) -> None:
        self.queue = queue
        self.facts = facts
        self._asked: set[str] = {"name", "nickname", "container_type"}

    def text(self, name: str, default: str = "") -> str:
        """A text, stripped."""
        return self._cast(name, str, default).strip() or default

    def number(self, name: str) -> int:
        """A whole number, 0 if there is none, and never less."""
        return max(self._cast(name, _as_number, 0), 0)

    def names(self, name: str) -> tuple[str, ...]:
        """Names in order: a list, the keys of a mapping, or a text split at commas."""
        return self._cast(name, _as_names, ())

    def mapping(self, name: str) -> Mapping[str, object]:
        """A mapping, or the text of one as JSON or as a Python literal."""
        return self._cast(name, _as_mapping, {})

    def rest(self) -> dict[str, object]:
        """What nobody asked for."""
        return {name: value for name, value in self.facts.items() if name not in self._asked}

    def _cast(self, name: str, cast: Callable[[Any], T], default: T) -> T:
        self._asked.add(name)
        value = self.facts.get(name)
        if value is None or (isinstance(value, str) and value.strip().upper() in ("NULL", "")):
            return default
        try:
            return cast(value)
        except (ValueError, TypeError, OverflowError, SyntaxError, RecursionError, MemoryError):
            log.warning("queue %s: %s: %.80r is left out: it cannot be read", self.queue, name, value)
            return default


def _as_number(value: Any) -> int:
    return int(value.strip()) if isinstance(value, str) else int(value)


def _as_names(value: Any) -> tuple[str, ...]:
    items = value.split(",") if isinstance(value, str) else list(value)
    return tuple(name for each in items if (name := str(each).strip()))


def _as_mapping(value: Any) -> Mapping[str, object]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except json.JSONDecodeError:
            import ast

            value = ast.literal_eval(value.strip())
    if not isinstance(value, Mapping):
        raise TypeError(value)
    return {str(key): each for key, each in value.items()}
