"""Rows of the jobs' table as values, and values as its columns."""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from attrs import evolve, fields, frozen

from pilot_core.dispatcher import leases
from pilot_core.dispatcher.leases import Lease
from pilot_core.dispatcher.wire import UPLOADED

log = logging.getLogger(__name__)

ADRIFT: Final = (
    "(state = 'activated' AND EXISTS"
    " (SELECT 1 FROM attempts WHERE attempts.job = jobs.id AND attempts.attempt = jobs.attempt))"
)
"""Whether a job that waits was handed out under its present number already."""
LEASE: Final = f"state, attempt, batch_id, kill, debug, lost, spared, said, asked, carried, {ADRIFT}"
"""The columns of a lease."""
_COLUMNS: Final = frozenset(each.name for each in fields(Lease)) - {"adrift"}


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
            f"SELECT jobs.id, jobs.attempt + {ADRIFT}, jobs.outputs, debug, memory_mb, wall_s, wire"  # noqa: S608
            " FROM jobs JOIN descriptions ON descriptions.id"
            f" = jobs.description WHERE queue = ? AND state = 'activated' AND label IN ({marks}){where}"
            " ORDER BY priority DESC, attempt, jobs.id LIMIT ?"
        )
        return select, (self.queue, *self.labels, *(value for _, value in asked), self.count)


def lease_of(row: Sequence[Any]) -> Lease:
    """What is known of who holds a job."""
    state, attempt, batch_id, kill, debug, lost, spared, said, asked, carried, adrift = row
    on = None if debug is None else bool(debug)
    told = {"lost": lost, "spared": spared, "said": said, "asked": asked, "carried": carried}
    return Lease(
        state=state, attempt=attempt, batch_id=batch_id, kill=bool(kill), debug=on, adrift=bool(adrift), **told
    )


Found = tuple[Lease, str, int]
"""A job's lease, its queue and its description."""


def lease_after(lease: Lease, values: Mapping[str, Any]) -> Lease:
    """A lease once a job's columns have these values; what makes it drift is none of them."""
    told = {name: values[name] for name in _COLUMNS & values.keys()}
    return evolve(lease, **told) if told else lease


TOLD: Final[Mapping[str, str]] = {
    "node": "node",
    "pilot": "pilot_id",
    "batch_id": "batch_id",
    "sub": "job_sub_status",
    "exit_code": "trans_exit_code",
    "timing": "pilot_timing",
}
"""The columns of a job that hold what its pilot's last update said, by the names it has there."""
_BLANK: Final = dict.fromkeys(("sub", "node", "pilot", "batch_id", "said", "timing", "carried"), "")
_UNKNOWN: Final = dict.fromkeys(("began", "ended", "cpu_s", "rss_b", "disk_b", "exit_code"))
NOTHING_KNOWN: Final[Mapping[str, object]] = {**_BLANK, **_UNKNOWN}
"""The columns of which only the pilot of an attempt can tell."""


def anew(attempt: int) -> dict[str, object]:
    """The columns of a job that waits for this attempt, of which nothing is known."""
    return {"state": leases.WAITING, "attempt": attempt, **NOTHING_KNOWN}


def saved_in(database: sqlite3.Connection, job: int, name: str) -> str:
    """The last checkpoint of this name that an attempt at a job has left, as JSON; nothing if there is none."""
    select = "SELECT url, size_b, checksum FROM files WHERE job = ? AND name = ? ORDER BY attempt DESC LIMIT 1"
    row = database.execute(select, (job, name)).fetchone() if name else None
    return json.dumps(dict(zip(("url", "size_b", "checksum"), row, strict=True))) if row else ""


def missing_in(database: sqlite3.Connection, description: int, there: Callable[[str], bool]) -> tuple[str, ...]:
    """The outputs that must be there by this description, and are not."""
    (required,) = database.execute("SELECT required FROM descriptions WHERE id = ?", (description,)).fetchone()
    return tuple(name for name in json.loads(required) if not there(name))


def inputs_in(database: sqlite3.Connection) -> set[str]:
    """The uploaded contents that jobs name as inputs."""
    rows = database.execute("SELECT inputs FROM descriptions WHERE inputs <> '[]'").fetchall()
    urls = (each["url"] for (inputs,) in rows for each in json.loads(inputs))
    return {url.removeprefix(UPLOADED).partition("/")[0] for url in urls if url.startswith(UPLOADED)}


def take_up(database: sqlite3.Connection, job: int, attempt: int, now: float) -> None:
    """Open an attempt again whose pilot was silent and has come back before anybody else got the job."""
    log.info("job %d: the pilot of attempt %d is back and goes on with it", job, attempt)
    update = "UPDATE attempts SET state = 'sent', ended = NULL, error = NULL WHERE job = ? AND attempt = ?"
    database.execute(update, (job, attempt))
    update = "UPDATE jobs SET began = ifnull(began, ?), lost = lost - 1, error = NULL WHERE id = ?"
    database.execute(update, (now, job))


def keep_text(database: sqlite3.Connection, job: int, lease: Lease, update: Mapping[str, Any], now: float) -> None:
    """The end of the log; or what a command printed, unless nobody asks for that one any more."""
    stdout, tail = update.get("stdout"), update.get("pilot_log")
    if stdout and lease.carried == lease.asked != "":
        row = (job, lease.asked, stdout, now)
        database.execute("INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?)", row)
    elif not lease.carried:
        tail = stdout or tail
    if tail:
        database.execute("INSERT OR REPLACE INTO tails VALUES (?, ?)", (job, tail))


def register(database: sqlite3.Connection, job: int, attempt: int, files: Iterable[Mapping[str, object]]) -> None:
    """Keep what an attempt says that it stored."""
    rows = ((job, attempt, each["name"], each["size_b"], each["checksum"], each["url"]) for each in files)
    database.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?)", rows)
