"""Rows of the jobs' table as values, and values as its columns."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import Any, Final

from attrs import frozen

from pilot_core.dispatcher import leases
from pilot_core.dispatcher.leases import Lease

LEASE: Final = "state, attempt, batch_id, kill, debug, lost, spared, said, asked, carried"
"""The columns of a lease."""


@frozen(kw_only=True)
class Wanted:
    """What a pilot asks for; 0 or nothing is no limit."""

    queue: str
    labels: tuple[str, ...]
    count: int = 1
    memory_mb: int = 0
    disk_mb: int = 0
    remaining_s: int = 0
    resource: str = ""
    node: str = ""
    heartbeat_s: float = 30.0

    def query(self) -> tuple[str, tuple[object, ...]]:
        """What asks for the jobs that fit, as SQL: a row has what ``Store`` hands out of a job."""
        marks = ", ".join("?" * len(self.labels))
        limits = (
            ("memory_mb <= ?", self.memory_mb),
            ("disk_mb <= ?", self.disk_mb),
            ("wall_s <= ?", self.remaining_s),
            ("resource = ?", self.resource),
        )
        asked = [(text, value) for text, value in limits if value]
        where = "".join(f" AND {text}" for text, _ in asked)
        select = (
            "SELECT jobs.id, attempt, jobs.outputs, debug, memory_mb, wall_s, wire"  # noqa: S608
            " FROM jobs JOIN descriptions ON descriptions.id"
            f" = jobs.description WHERE queue = ? AND state = 'activated' AND label IN ({marks}){where}"
            " ORDER BY priority DESC, attempt, jobs.id LIMIT ?"
        )
        return select, (self.queue, *self.labels, *(value for _, value in asked), self.count)


def lease_of(row: Sequence[Any]) -> Lease:
    """What is known of who holds a job."""
    state, attempt, batch_id, kill, debug, lost, spared, said, asked, carried = row
    on = None if debug is None else bool(debug)
    told = {"lost": lost, "spared": spared, "said": said, "asked": asked, "carried": carried}
    return Lease(state=state, attempt=attempt, batch_id=batch_id, kill=bool(kill), debug=on, **told)


def anew(attempt: int) -> dict[str, object]:
    """The columns of a job that waits again: a new attempt, of which nothing is known."""
    blank = dict.fromkeys(("sub", "node", "pilot", "batch_id", "said", "timing", "carried"), "")
    unknown = dict.fromkeys(("began", "ended", "cpu_s", "rss_b", "disk_b", "exit_code"))
    return {"state": leases.WAITING, "attempt": attempt + 1, **blank, **unknown}


def saved_in(database: sqlite3.Connection, job: int, name: str) -> str:
    """The last checkpoint of this name that an attempt at a job has left, as JSON; nothing if there is none."""
    select = "SELECT url, size_b, checksum FROM files WHERE job = ? AND name = ? ORDER BY attempt DESC LIMIT 1"
    row = database.execute(select, (job, name)).fetchone() if name else None
    return json.dumps(dict(zip(("url", "size_b", "checksum"), row, strict=True))) if row else ""
