"""The words for what is done, in queue data: which storages and which copy tools they stand for. Pure.

Storages and tools are listed under ``read_lan``, ``write_lan``, ``pl`` for logs, in variants for analysis, or under the
older ``pr``, ``pw`` and ``w``; tools under ``default`` for all else. The first word with anything under it counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from pilot_core.sdk import Job, Queue

DEFAULT: Final = "default"
HISTORIC: Final = {"read": "pr", "write": "pw"}
_FAMILIES: Final = {"dav": "http", "davs": "https"}
"""Schemes that are other words for the same."""


def reading(job: Job, queue: Queue) -> tuple[str, ...]:
    """What bringing an input is called, the first word first."""
    return ("read_lan_analysis", "read_lan") if _is_special(job, queue) else ("read_lan",)


def writing(job: Job, queue: Queue, *, log: bool = False) -> tuple[str, ...]:
    """What storing an output or the log is called."""
    own = ("pl",) if log else ()
    special = ("write_lan_analysis",) if _is_special(job, queue) else ()
    return (*own, *special, "write_lan", "w")


def _is_special(job: Job, queue: Queue) -> bool:
    """Whether a queue for everybody's jobs has one of a user, whose program is an address."""
    return queue.params.get("type") == "unified" and job.transformation.startswith(("http://", "https://"))


def historic(activities: Sequence[str]) -> tuple[str, ...]:
    """The words and, behind them, the older one."""
    verb = activities[-1].partition("_")[0]
    return (*activities, HISTORIC["read" if verb == "read" else "write"])


def storages(queue: Queue, activities: Sequence[str]) -> tuple[str, ...]:
    """The endpoints for this, the preferred first."""
    return _first(queue.params.get("astorages"), historic(activities)) or ()


def tools(queue: Queue, activities: Sequence[str]) -> tuple[str, ...]:
    """The copy tools for this in their order; nothing where any will do."""
    return _first(queue.params.get("acopytools"), (*activities, DEFAULT)) or ()


def schemes(queue: Queue, activities: Sequence[str], tool: str) -> tuple[str, ...]:
    """The schemes for this tool, the preferred first; nothing where any will do."""
    told = queue.params.get("acopytools_schemas")
    if not isinstance(told, Mapping):
        return ()
    row: Any = next((told[each] for each in (*activities, DEFAULT) if told.get(each)), ())
    found = (row.get(tool) or row.get(DEFAULT) or ()) if isinstance(row, Mapping) else row
    return tuple(map(family, found.split(",") if isinstance(found, str) else map(str, found)))


def family(scheme: str) -> str:
    """A scheme under the one of its names that all its others are compared by."""
    plain = scheme.strip().lower()
    return _FAMILIES.get(plain, plain)


def _first(table: object, words: Iterable[str]) -> tuple[str, ...] | None:
    rows: Mapping[str, Any] = table if isinstance(table, Mapping) else {}
    return next((tuple(rows[word]) for word in words if rows.get(word)), None)
