"""Whether a job that failed begins again by itself."""

from __future__ import annotations

import json

import pytest
from attrs import evolve

from pilot_core.dispatcher.again import Request, again, found_in
from pilot_core.dispatcher.config import ServedQueue
from pilot_core.dispatcher.store import Store
from pilot_core.testing.fakes import FakeClock

from .storing import QUEUE, WANTED, order, show

LATER = {
    "class": "network",
    "fault": "site",
    "where": "same site",
    "counts": True,
    "memory_factor": 1.0,
    "time_factor": 1.0,
}
BIG = ServedQueue(memory_b=4 * 10**9, wall_s=3600.0, failed_retries=1)
ONCE = evolve(QUEUE, failed_retries=1)
ASKED = Request(memory_mb=1000, wall_s=600)
WORDS = "failure=network fault=site retry=same"
MEMORY = "failure=memory fault=payload retry=same memoryFactor=1.5"


@pytest.mark.parametrize(
    ("found", "asked", "queue", "failed", "then"),
    [
        (None, ASKED, BIG, 0, None),
        (LATER, ASKED, BIG, 0, ASKED),
        (LATER, ASKED, BIG, 1, None),
        (LATER, Request(), ServedQueue(failed_retries=1), 0, Request()),
        (LATER | {"where": "never"}, ASKED, BIG, 0, None),
        (LATER | {"where": "other site"}, ASKED, BIG, 0, ASKED),
        (LATER | {"memory_factor": 1.5}, ASKED, BIG, 0, Request(memory_mb=1500, wall_s=600)),
        (LATER | {"memory_factor": 1.5}, Request(memory_mb=3000), BIG, 0, None),
        (LATER | {"memory_factor": 1.5}, ASKED, ServedQueue(failed_retries=1), 0, None),
        (LATER | {"memory_factor": 1.5}, Request(), BIG, 0, None),
        (LATER | {"time_factor": 2.0}, ASKED, BIG, 0, Request(memory_mb=1000, wall_s=1200)),
        (LATER | {"time_factor": 10.0}, ASKED, BIG, 0, None),
        (LATER, ASKED, evolve(BIG, failed_retries=ServedQueue().failed_retries), 0, None),
    ],
)
def test_a_job_begins_again_where_there_is_a_chance(found, asked, queue, failed, then) -> None:
    assert again(found, asked, queue, failed) == then


def test_only_words_that_make_sense_are_heard() -> None:
    assert found_in({"job_metrics": f"{WORDS} cpu=3"}) == LATER
    assert found_in({"job_metrics": "cpu=3 failure=nonsense retry=same"}) is None
    assert found_in({}) is None


@pytest.fixture
def store(tmp_path):
    with_clock = Store(tmp_path / "jobs.db", FakeClock())
    yield with_clock
    with_clock.close()


def fail(store: Store, job: int, attempt: int, metrics: str = "", code: int = 1305, queue: ServedQueue = ONCE) -> str:
    (taken,) = (json.loads(each) for each in store.acquire(WANTED))
    assert (taken["PandaID"], taken["attemptNr"]) == (job, attempt)
    told = {"job_id": job, "attempt_nr": attempt, "job_status": "failed", "pilot_error_code": code}
    store.tell({**told, "job_metrics": metrics}, lambda _: queue)
    return str(show(store, job)["state"])


def test_what_may_pass_is_tried_again_as_often_as_the_queue_says(store) -> None:
    (job,) = store.submit("q", [order()])
    queue = evolve(QUEUE, failed_retries=2)
    assert [fail(store, job, attempt, WORDS, queue=queue) for attempt in (1, 2, 3)] == [
        "activated",
        "activated",
        "failed",
    ]
    shown = show(store, job)
    assert shown["error"]["failure"] == LATER
    assert [each["error"]["failure"]["class"] for each in shown["attempts"]] == ["network"] * 3


def test_a_failure_that_does_not_count_is_not_counted(store) -> None:
    (job,) = store.submit("q", [order()])
    assert fail(store, job, 1, "failure=stopped fault=site retry=same counts=0", code=1201) == "activated"
    assert fail(store, job, 2, WORDS) == "activated"
    assert fail(store, job, 3, WORDS) == "failed"


def test_what_will_not_pass_is_not_tried_again(store) -> None:
    (job,) = store.submit("q", [order()])
    assert fail(store, job, 1, "failure=program fault=payload retry=never") == "failed"


def test_a_job_put_back_by_hand_has_all_its_chances_again(store) -> None:
    (job,) = store.submit("q", [order()])
    assert [fail(store, job, attempt, WORDS) for attempt in (1, 2)] == ["activated", "failed"]
    assert store.retry([job]) == {}
    assert [fail(store, job, attempt, WORDS) for attempt in (3, 4)] == ["activated", "failed"]


def test_the_next_attempt_asks_for_more_memory(store) -> None:
    (job,) = store.submit("q", [order(description={"needs": {"memory": "1 GB"}})])
    queue = evolve(ONCE, memory_b=2 * 10**9)
    assert fail(store, job, 1, MEMORY, code=1212, queue=queue) == "activated"
    assert store.acquire(evolve(WANTED, memory_mb=1200)) == []
    (taken,) = store.acquire(evolve(WANTED, memory_mb=1500))
    assert json.loads(taken)["minRamCount"] == 1500


def test_a_cancelled_job_does_not_begin_again(store) -> None:
    (job,) = store.submit("q", [order()])
    store.acquire(WANTED)
    store.cancel([job])
    told = {"job_id": job, "attempt_nr": 1, "job_status": "failed", "pilot_error_code": 1144, "job_metrics": WORDS}
    store.tell(told, lambda _: ONCE)
    assert show(store, job)["state"] == "cancelled"


@pytest.mark.parametrize(
    ("code", "metrics", "advice"),
    [
        (1305, "failure=network fault=site retry=same", "try again; this usually passes"),
        (1305, "failure=node fault=site retry=other", "try again on another node; this one is at fault"),
        (1305, "failure=program fault=payload retry=never", "correct the job first; this attempt counts"),
        (1305, "failure=memory fault=payload retry=same memoryFactor=2", "try again with a changed request"),
        (1098, "failure=disk fault=site retry=never", "try again on another node; this one is at fault"),
        (1305, "", "correct the job first; this attempt counts"),
    ],
)
def test_people_are_told_what_the_pilot_found_out(store, code: int, metrics: str, advice: str) -> None:
    (job,) = store.submit("q", [order()])
    assert fail(store, job, 1, metrics, code, QUEUE) == "failed"
    assert show(store, job)["advice"].startswith(advice)
