"""Rows of the jobs' table as values, and values as its columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from pilot_core.dispatcher import leases
from pilot_core.dispatcher.leases import Lease

LEASE: Final = "state, attempt, batch_id, kill, debug, lost, spared, said, asked, carried"
"""The columns of a lease."""


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
