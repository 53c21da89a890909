"""What people are told to do about jobs that failed, or that wait in vain."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from pilot_core.dispatcher.advice import COSTS_SLOTS, OUT_OF_REACH, TWICE, Crew, Needs, advise
from pilot_core.dispatcher.config import ServedQueue
from pilot_core.dispatcher.listing import show_job
from pilot_core.dispatcher.store import Store, Wanted
from pilot_core.dispatcher.wire import read_order
from pilot_core.testing.fakes import FakeClock

from .storing import lose, order, show, take, tell

NEEDS = Needs(memory_mb=4000, disk_mb=100, wall_s=60, resource="SCORE", labels=("managed",))
SMALL = Needs(memory_mb=2000, resource="SCORE", labels=("managed", "user"))
CREW = Crew(queue="q", pilots=1, offers=(SMALL,))
WAITS = {"state": "activated", "error": None}


@pytest.mark.parametrize(("needs", "crew", "told"), [
    (NEEDS, evolve(CREW, status=""), "no queue 'q' is served any more"),
    (NEEDS, evolve(CREW, status="offline"), "the queue 'q' is offline"),
    (NEEDS, Crew(queue="q"), "no pilot of queue 'q' was heard of lately"),
    (NEEDS, evolve(CREW, offers=()), ""),
    (NEEDS, CREW, "it needs 4000 MB of memory, at most 2000 were offered"),
    (NEEDS, evolve(CREW, offers=(SMALL, evolve(SMALL, memory_mb=0))), ""),
    (evolve(NEEDS, memory_mb=0), CREW, ""),
    (evolve(NEEDS, memory_mb=0, labels=("ptest",)), CREW, "it is of the kind 'ptest', they ask for managed, user"),
    (evolve(NEEDS, memory_mb=0, resource="MCORE"), CREW, "it is a MCORE job, they ask for SCORE"),
    (NEEDS, evolve(CREW, offers=(SMALL, evolve(SMALL, memory_mb=9000, wall_s=1))), "each offered too little"),
])  # fmt: skip
def test_a_job_that_waits_in_vain(needs, crew, told):
    said = advise(WAITS, needs, crew)
    assert (told in said) if told else said == ""


SIZES = st.integers(0, 3)
OFFERS = st.builds(
    Needs, memory_mb=SIZES, disk_mb=SIZES, wall_s=SIZES, resource=st.sampled_from(("", "SCORE", "MCORE")),
    labels=st.sampled_from((("managed",), ("managed", "user"))),
)  # fmt: skip


@settings(max_examples=20, deadline=None)
@given(OFFERS, SIZES, SIZES, SIZES)
def test_what_is_said_of_an_offer_is_what_the_store_does_with_it(offer, memory_mb, disk_mb, wall_s):
    with TemporaryDirectory() as folder, closing(Store(Path(folder) / "d.sqlite", FakeClock())) as store:
        raw = {"description": {"command": ["x"]}}
        wanted = read_order(raw, ServedQueue(name="q"), ("LOCAL",), "")
        (job,) = store.submit("q", [evolve(wanted, memory_mb=memory_mb, disk_mb=disk_mb, wall_s=wall_s)])
        said = show_job_with(store, job, Crew(queue="q", pilots=1, offers=(offer,)))["advice"]
        limits = {"memory_mb": offer.memory_mb, "disk_mb": offer.disk_mb, "remaining_s": offer.wall_s}
        got = store.acquire(Wanted(queue="q", labels=offer.labels, resource=offer.resource, **limits))
        assert bool(got) == (said == ""), said


def show_job_with(store, job, crew):
    with store.reading() as database:
        return show_job(database, job, lambda name: crew)


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def store(tmp_path, clock):
    store = Store(tmp_path / "d.sqlite", clock)
    yield store
    store.close()


def lose_on(store, clock, *nodes, said=True):
    """A job that was lost on each of these nodes in turn; three times are too many."""
    (job,) = store.submit("q", [order()])
    for attempt, node in enumerate(nodes, 1):
        assert take(store, node=node) == [(job, attempt)]
        if said:
            tell(store, job, attempt, node=node)
        assert lose(store, clock) == [job]
    return job


def test_a_job_that_was_lost_on_node_after_node_may_take_them_down(store, clock):
    told = show(store, lose_on(store, clock, "n2", "n1", "n2"))
    assert told["state"] == "failed"
    assert (
        told["advice"] == "3 pilots fell silent with it on n1, n2: look whether the job takes its node down, then retry"
    )


def test_a_job_that_was_lost_on_one_node_only_is_not_to_blame(store, clock):
    told = show(store, lose_on(store, clock, "n1", "n1", "n1"))
    assert told["advice"] == "each time its pilot was on n1: look at this node first, then retry"


def test_a_job_that_nobody_ever_answered_for_is_out_of_reach(store, clock):
    assert show(store, lose_on(store, clock, "n1", "n2", "n3", said=False))["advice"] == OUT_OF_REACH


def test_a_job_that_two_spoke_for_is_perhaps_started_twice(store, clock):
    (job,) = store.submit("q", [order()])
    for attempt in (1, 2, 3):
        take(store)
        tell(store, job, attempt, batch_id="a.1")
        assert tell(store, job, attempt, batch_id="a.2").double
        lose(store, clock)
    assert show(store, job)["advice"] == TWICE


def test_a_job_that_lost_its_slot_too_often_is_not_simply_tried_again(store, monkeypatch):
    monkeypatch.setattr("pilot_core.dispatcher.leases.MOST_ATTEMPTS", 2)
    (job,) = store.submit("q", [order()])
    for attempt in (1, 2):
        take(store)
        tell(store, job, attempt, "failed", pilot_error_code=1379)
    told = show(store, job)
    assert (told["state"], told["advice"]) == ("failed", COSTS_SLOTS)
