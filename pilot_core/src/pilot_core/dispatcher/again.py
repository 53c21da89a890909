"""Whether a job that failed begins again by itself: what its pilot found out, as far as its queue allows."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Mapping
from typing import Any, Final

from attrs import frozen

from pilot_core.dispatcher.config import ServedQueue
from pilot_core.dispatcher.leases import Lease
from pilot_core.model.failure import Where, told_in

MEGABYTE: Final = 10**6


@frozen(kw_only=True)
class Request:
    """What a job asks for; 0 is nothing."""

    memory_mb: int = 0
    wall_s: int = 0


def found_in(update: Mapping[str, Any]) -> dict[str, object] | None:
    """What a pilot found out about a failure, if it tells."""
    return told_in(dict(each.partition("=")[::2] for each in update.get("job_metrics", "").split()))


def again(found: Mapping[str, Any] | None, asked: Request, queue: ServedQueue, failed: int) -> Request | None:
    """The request with which a job begins again after ``failed`` earlier failures that count, or nothing: it does not.

    A job that wants more than it asked for begins again only where its queue says how much there is, and has that.
    """
    if found is None or found["where"] == Where.NEVER.value or failed >= queue.failed_retries:
        return None
    memory_mb = _raised(asked.memory_mb, found["memory_factor"], _most(queue.memory_b, MEGABYTE))
    wall_s = _raised(asked.wall_s, found["time_factor"], _most(queue.wall_s, 1))
    return None if memory_mb is None or wall_s is None else Request(memory_mb=memory_mb, wall_s=wall_s)


def _most(limit: float | None, unit: int) -> int:
    return int((limit or 0) // unit)


def _raised(asked: int, factor: float, most: int) -> int | None:
    """The raised request, or nothing if it cannot be raised."""
    if factor <= 1:
        return asked
    raised = math.ceil(asked * factor)
    return raised if 0 < raised <= most else None


def request_after(
    database: sqlite3.Connection, job: int, lease: Lease, queue: ServedQueue, update: Mapping[str, Any]
) -> Request | None:
    """The request with which a job of the database begins again after this update, if it does."""
    found = found_in(update)
    if found is None:
        return None
    select = "SELECT error FROM attempts WHERE job = ? AND attempt > ? AND attempt < ? AND error IS NOT NULL"
    errors = database.execute(select, (job, lease.spared, lease.attempt)).fetchall()
    before = [json.loads(text).get("failure") for (text,) in errors]
    memory_mb, wall_s = database.execute("SELECT memory_mb, wall_s FROM jobs WHERE id = ?", (job,)).fetchone()
    counted = sum(bool(each and each["counts"]) for each in before)
    return again(found, Request(memory_mb=memory_mb, wall_s=wall_s), queue, counted)
