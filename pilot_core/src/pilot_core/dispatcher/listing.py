"""What people are shown of the jobs: pages of them, one with all that is known, and the queues."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote, unquote, urlsplit

from attrs import frozen

from pilot_core.dispatcher import leases
from pilot_core.dispatcher.advice import Crew, Needs, advise
from pilot_core.dispatcher.rows import NOTHING_KNOWN
from pilot_core.dispatcher.updates import timing_of
from pilot_core.dispatcher.wire import scope_of

MOST: Final = 1000
MOST_SAMPLES: Final = 600
_PLAIN: Final = ("id", "attempt", "name", "queue", "state", "sub", "node", "submitted", "began", "ended", "changed")
_PLAIN_MORE: Final = ("cpu_s", "rss_b", "disk_b", "exit_code", "lost")
_COLUMNS: Final = ", ".join((*_PLAIN, *_PLAIN_MORE, "kill", "debug", "error", "version"))
_SAMPLE: Final = ("at", "cpu_s", "rss_b", "read_b", "written_b", "processes", "disk_b", "more")


@frozen(kw_only=True)
class Asked:
    """Which jobs somebody wants to see."""

    queue: str = ""
    state: str = ""
    text: str = ""
    limit: int = 100
    before: int = 0
    since: int | None = None
    """Only what has changed after this version, whatever its state is now: it may just have left the one asked for."""

    def where(self, *, state: bool) -> tuple[str, list[object]]:
        """The filter as SQL, with or without the state."""
        rows: list[tuple[str, list[object]]] = []
        if self.queue:
            rows.append(("queue = ?", [self.queue]))
        if state and self.state:
            rows.append(("state = ?", [self.state]))
        if self.text:
            like = "%" + self.text.translate({ord(each): f"\\{each}" for each in "\\%_"}) + "%"
            rows.append((r"(name LIKE ? ESCAPE '\' OR node LIKE ? ESCAPE '\' OR id = ?)", [like, like, self.text]))
        return " AND ".join(text for text, _ in rows) or "1", [value for _, values in rows for value in values]


def list_jobs(database: sqlite3.Connection, asked: Asked, version: int) -> dict[str, object]:
    """A page of jobs, the newest first, with how many there are in each state."""
    states = _states(database, asked)
    total = states.get(asked.state, 0) if asked.state else sum(states.values())
    rows = _page(database, asked) if asked.since is None else _changes(database, asked, asked.since)
    if asked.since is not None and len(rows) == asked.limit:
        version = max(row[-1] for row in rows)
    told = {"version": version, "total": total, "states": states, "jobs": [_job(row) for row in rows]}
    return {**told, "forgotten": _submitted(database) - _there(database)}


def was_there(database: sqlite3.Connection, job_id: int) -> bool:
    """Whether a job that is not there was, once."""
    return 0 < job_id <= _submitted(database)


def _submitted(database: sqlite3.Connection) -> int:
    """How many jobs there ever were: numbers are given without gaps."""
    row = database.execute("SELECT seq FROM sqlite_sequence WHERE name = 'jobs'").fetchone()
    return row[0] if row else 0


def _there(database: sqlite3.Connection) -> int:
    return int(database.execute("SELECT ifnull(sum(n), 0) FROM counts").fetchone()[0])


def _page(database: sqlite3.Connection, asked: Asked) -> list[Sequence[Any]]:
    where, values = asked.where(state=True)
    if asked.before:
        where, values = f"{where} AND id < ?", [*values, asked.before]
    select = f"SELECT {_COLUMNS} FROM jobs WHERE {where} ORDER BY id DESC LIMIT ?"  # noqa: S608
    return database.execute(select, (*values, asked.limit)).fetchall()


def _changes(database: sqlite3.Connection, asked: Asked, since: int) -> list[Sequence[Any]]:
    """The oldest changes first where there are too many, so that asking again brings the rest."""
    where, values = asked.where(state=False)
    select = f"SELECT {_COLUMNS} FROM jobs WHERE version > ? AND {where} ORDER BY version LIMIT ?"  # noqa: S608
    found = database.execute(select, (since, *values, asked.limit)).fetchall()
    return sorted(found, key=lambda row: -row[0])


def _states(database: sqlite3.Connection, asked: Asked) -> dict[str, int]:
    if asked.text:
        where, values = asked.where(state=False)
        select = f"SELECT state, count(*) FROM jobs WHERE {where} GROUP BY state"  # noqa: S608
    else:
        where, values = ("queue = ?", [asked.queue]) if asked.queue else ("1", [])
        select = f"SELECT state, sum(n) FROM counts WHERE {where} GROUP BY state"  # noqa: S608
    return {state: n for state, n in database.execute(select, values) if n}


def _job(row: Sequence[Any]) -> dict[str, object]:
    job = dict(zip((*_PLAIN, *_PLAIN_MORE), row, strict=False))
    kill, debug, error, _ = row[-4:]
    if job["state"] == leases.WAITING:
        job |= {name: value for name, value in NOTHING_KNOWN.items() if name in job}
    told = {"cancelling": bool(kill), "debug": bool(debug), "error": json.loads(error) if error else None}
    return {**job, **told}


def list_queues(database: sqlite3.Connection, statuses: Mapping[str, str]) -> list[dict[str, object]]:
    """Each queue with its jobs by state; ``statuses`` are those that are served."""
    states: dict[str, dict[str, int]] = {name: {} for name in statuses}
    for queue, state, n in database.execute("SELECT queue, state, n FROM counts WHERE n > 0"):
        states.setdefault(queue, {})[state] = n
    return [
        {"name": name, "status": statuses.get(name, "offline"), "states": counts} for name, counts in states.items()
    ]


def show_job(
    database: sqlite3.Connection, job_id: int, crew_of: Callable[[str], Crew] | None = None
) -> dict[str, object] | None:
    """All that is known of one job; ``crew_of`` tells of the pilots of its queue."""
    select = f"SELECT description, timing, asked, {_COLUMNS} FROM jobs WHERE id = ?"  # noqa: S608
    row = database.execute(select, (job_id,)).fetchone()
    if row is None:
        return None
    job = _job(row[3:])
    select = "SELECT described, inputs FROM descriptions WHERE id = ?"
    described, inputs = map(json.loads, database.execute(select, row[:1]).fetchone())
    tail = database.execute("SELECT text FROM tails WHERE job = ?", (job_id,)).fetchone()
    attempts = _attempts(database, job_id, str(job["state"]))
    return {
        **job,
        "description": described,
        "attempts": attempts,
        "usage": _usage(database, job_id),
        "files": [*({**each, "direction": "in"} for each in inputs), *_outputs(database, job_id, row[4])],
        "log_tail": tail[0] if tail else "",
        "timing": timing_of(row[1]),
        "command": row[2],
        "answer": _answer(database, job_id),
        "advice": _advice(database, {**job, "attempts": attempts}, crew_of),
    }


def _answer(database: sqlite3.Connection, job_id: int) -> dict[str, object] | None:
    """What the last command that somebody asked for printed."""
    row = database.execute("SELECT command, text, at FROM answers WHERE job = ?", (job_id,)).fetchone()
    return dict(zip(("command", "text", "at"), row, strict=True)) if row else None


def _advice(database: sqlite3.Connection, job: Mapping[str, Any], crew_of: Callable[[str], Crew] | None) -> str:
    select = "SELECT memory_mb, disk_mb, wall_s, resource, label, spared, doubles FROM jobs WHERE id = ?"
    *needs, label, spared, doubles = database.execute(select, (job["id"],)).fetchone()
    asked = Needs(**dict(zip(("memory_mb", "disk_mb", "wall_s", "resource"), needs, strict=True)), labels=(label,))
    worn_out = leases.Lease(state=job["state"], attempt=job["attempt"], spared=spared).worn_out
    told = {**job, "doubles": doubles, "worn_out": worn_out}
    return advise(told, asked, crew_of(job["queue"]) if crew_of else None)


def _attempts(database: sqlite3.Connection, job_id: int, state: str) -> list[dict[str, object]]:
    """The attempts at a job that is in ``state``: so is the one that is open."""
    names = ("attempt", "node", "state", "began", "ended", "error")
    select = f"SELECT {', '.join(names)} FROM attempts WHERE job = ? ORDER BY attempt"  # noqa: S608
    found = [dict(zip(names, row, strict=True)) for row in database.execute(select, (job_id,))]
    return [
        {
            **each,
            "state": each["state"] if each["ended"] else state,
            "error": json.loads(each["error"]) if each["error"] else None,
        }
        for each in found
    ]


def _usage(database: sqlite3.Connection, job_id: int) -> list[dict[str, object]]:
    """What the job used over time; of very many samples some, the last among them."""
    select = f"SELECT {', '.join(_SAMPLE)} FROM usage WHERE job = ? ORDER BY rowid DESC"  # noqa: S608
    rows = database.execute(select, (job_id,)).fetchall()
    kept = rows[:: -(-len(rows) // MOST_SAMPLES) or 1]
    return [{**dict(zip(_SAMPLE, row, strict=True)), "more": json.loads(row[-1])} for row in reversed(kept)]


def _outputs(database: sqlite3.Connection, job_id: int, attempt: int) -> list[dict[str, object]]:
    select = "SELECT name, size_b, checksum, url FROM files WHERE job = ? AND attempt = ? ORDER BY name"
    names = ("name", "size_b", "checksum", "url")
    found = [dict(zip(names, row, strict=True)) for row in database.execute(select, (job_id, attempt))]
    place = f"/storage/{scope_of(job_id, attempt)}"
    return [{**each, "url": _place(each["url"], f"{place}/{each['name']}"), "direction": "out"} for each in found]


def _place(url: str, own: str) -> str:
    """Where a file lies; if here, without the address that its pilot used: whoever asks may use another."""
    return quote(own) if not url or _path(url) == own else url


def _path(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return unquote(parts.path) if parts.scheme in ("http", "https") else ""
