"""A store as the tests ask it: one queue, one kind of job, short words for what is done with it."""

from __future__ import annotations

import json

from attrs import evolve

from pilot_core.dispatcher.config import ServedQueue
from pilot_core.dispatcher.leases import Ruling
from pilot_core.dispatcher.listing import show_job
from pilot_core.dispatcher.store import Store, Wanted
from pilot_core.dispatcher.wire import labels_for, read_order
from pilot_core.testing.fakes import FakeClock

QUEUE = ServedQueue(name="q", retries=2)
WANTED = Wanted(queue="q", labels=labels_for(""), node="n")
REPORT = json.dumps({"out.txt": {"guid": "g", "fsize": 3, "adler32": "01020304", "surl": "https://h/out.txt"}})


def order(**more):
    raw = {"description": {"command": ["x"], "outputs": ["out.txt"], **more.pop("description", {})}, **more}
    return read_order(raw, QUEUE, ("LOCAL",), "")


def take(store: Store, **wanted) -> list[tuple[int, int]]:
    return [(job["PandaID"], job["attemptNr"]) for job in map(json.loads, store.acquire(evolve(WANTED, **wanted)))]


def tell(store: Store, job: int, attempt: int = 1, status: str = "running", **more) -> Ruling:
    ruling, _ = store.tell({"job_id": job, "attempt_nr": attempt, "job_status": status, **more})
    return ruling


def finish(store: Store, job: int, attempt: int = 1) -> Ruling:
    return tell(store, job, attempt, "finished", job_output_report=REPORT)


def show(store: Store, job: int) -> dict:
    with store.reading() as database:
        return show_job(database, job)


def lose(store: Store, clock: FakeClock) -> list[int]:
    clock.advance(QUEUE.lost_after_s)
    return store.sweep(lambda name: QUEUE)
