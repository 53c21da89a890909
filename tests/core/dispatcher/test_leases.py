"""Who holds a job, and what a word about it does."""

from __future__ import annotations

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from pilot_core.dispatcher.leases import (
    LEASED,
    OVER,
    RULES,
    SPOKEN,
    STATES,
    Lease,
    Word,
    after_loss,
    evicted,
    heartbeat_s,
    is_lost,
    loss_code,
    rule,
    two_bodies,
    why_not_cancelled,
    why_not_retried,
)

HELD = Lease(state="running", attempt=2)
LEASES = st.builds(
    Lease,
    state=st.sampled_from(STATES),
    attempt=st.integers(1, 3),
    batch_id=st.sampled_from(["", "a#1", "b#1", "7"]),
    kill=st.booleans(),
    debug=st.sampled_from([None, True, False]),
    said=st.sampled_from(["", "finished", "failed"]),
    adrift=st.booleans(),
).map(lambda lease: evolve(lease, adrift=lease.adrift and lease.state == "activated"))
WORDS = st.builds(
    Word,
    status=st.sampled_from(SPOKEN),
    attempt=st.integers(1, 3),
    batch_id=st.sampled_from(["", "a#1", "b#1", "7"]),
    error_code=st.sampled_from([0, 1201, 1305]),
    missing=st.sampled_from([(), ("out.txt",)]),
)


def say(lease: Lease = HELD, status: str = "running", **more):
    return rule(lease, Word(**{"status": status, "attempt": lease.attempt, **more}))


@pytest.mark.parametrize("status", SPOKEN)
def test_a_word_with_another_attempt_changes_nothing(status):
    for attempt in (1, 3):
        ruling = say(status=status, attempt=attempt)
        assert (ruling.command, ruling.state, ruling.heard) == ("tobekilled", None, False)
        assert ruling.newer == (2 if attempt == 1 else None)


@pytest.mark.parametrize("status", SPOKEN)
def test_nobody_speaks_for_a_job_that_waits(status):
    ruling = say(Lease(state="activated", attempt=1), status)
    assert (ruling.command, ruling.state) == ("tobekilled", None)


@pytest.mark.parametrize(
    ("state", "status", "then"),
    [
        ("sent", "starting", "starting"),
        ("sent", "running", "running"),
        ("starting", "running", "running"),
        ("running", "starting", "running"),
        ("running", "holding", "holding"),
        ("running", "transferring", "transferring"),
        ("sent", "transferring", "transferring"),
        ("sent", "finished", "finished"),
        ("holding", "finished", "finished"),
        ("holding", "failed", "failed"),
    ],
)
def test_the_holder_moves_its_job(state, status, then):
    ruling = say(evolve(HELD, state=state), status)
    assert (ruling.command, ruling.state, ruling.heard) == ("NULL", then, True)


RUNS = Lease(state="running", attempt=2, batch_id="ce#1")
HOLDS, TRANSFERS = (evolve(RUNS, state=state) for state in ("holding", "transferring"))
ENDED = [evolve(RUNS, state=state, said=said) for state, said in (
    ("finished", "finished"), ("failed", "finished"), ("failed", "failed"), ("cancelled", "failed"),
)]  # fmt: skip
ADRIFT = evolve(RUNS, state="activated", adrift=True)
GIVEN_UP = [evolve(RUNS, state=state) for state in ("failed", "cancelled")]
EARLY, FINAL = ("starting", "running"), ("finished", "failed")
TABLE = [
    *[(1, lease, status, 2, "tobekilled", None) for lease in GIVEN_UP for status in SPOKEN],
    *[(1, lease, status, 1, "tobekilled", None) for lease in (RUNS, HOLDS, *ENDED) for status in SPOKEN],
    *[(4, lease, "holding", 2, "NULL", None) for lease in (HOLDS, *ENDED)],
    *[(5, lease, status, 2, "alreadydone", None) for lease in ENDED for status in FINAL],
    *[(7, lease, status, 2, "NULL", None) for lease in (HOLDS, TRANSFERS, *ENDED) for status in EARLY],
    *[(9, lease, status, 2, "NULL", status) for lease in (RUNS, HOLDS, TRANSFERS) for status in FINAL],
    *[(9, ADRIFT, status, 2, "NULL", status) for status in SPOKEN],
    (1, ADRIFT, "finished", 1, "tobekilled", None),
    *[(9, lease, "transferring", 2, "NULL", None) for lease in ENDED],
    (9, TRANSFERS, "holding", 2, "NULL", "holding"),
    (9, HOLDS, "transferring", 2, "NULL", "holding"),
]
"""A rule's number, a job, a word with its attempt, and what it does. Each job is known by the batch job ``ce#1``."""
SECOND = {1, 4, 5, 7}
"""These rules are before the one for second bodies."""


@pytest.mark.parametrize(
    ("number", "lease", "status", "attempt", "command", "then"),
    [pytest.param(*row, id=f"{row[0]}-{row[1].state}-{row[1].said}-{row[2]}-{row[3]}") for row in TABLE],
)
def test_the_rules_in_their_order(number, lease, status, attempt, command, then):
    ruling = say(lease, status, attempt=attempt, batch_id="ce#1")
    assert (ruling.command, ruling.state, ruling.double) == (command, then, False)
    assert ruling.heard == (number > 1 and lease.held)
    second = say(lease, status, attempt=attempt, batch_id="ce#2")
    assert second.state is None
    assert not second.heard
    assert second.command == (command if number in SECOND else "tobekilled")
    assert second.double == (number == 9 and lease.held)


def test_every_rule_that_has_jobs_here_is_tried():
    assert {row[0] for row in TABLE} | {8} == {number for number, _, _ in RULES} == {1, 4, 5, 7, 8, 9}


def test_a_kill_is_told_by_rules_that_change_nothing():
    assert say(evolve(HOLDS, kill=True), "running").command == "tobekilled"
    assert say(evolve(HOLDS, debug=True), "holding").command == "debug"


@pytest.mark.parametrize(("known", "told"), [("", "a"), ("a", ""), ("a", "a"), ("7", "a"), ("a", "8")])
def test_what_is_no_proof_of_two_bodies(known, told):
    assert not two_bodies(known, told)


def test_a_promised_output_that_is_missing_fails_the_job():
    assert say(status="finished", missing=("out.txt",)).state == "failed"


def test_a_kill_is_passed_on_and_ends_the_job_as_cancelled():
    killed = evolve(HELD, kill=True)
    assert say(killed).command == "tobekilled"
    assert say(killed, "failed", error_code=1144).state == "cancelled"
    assert say(killed, "finished").state == "finished"


@pytest.mark.parametrize(("debug", "kill", "command"), [
    (None, False, "NULL"),
    (True, False, "debug"),
    (False, False, "debugoff"),
    (True, True, "debug,tobekilled"),
])  # fmt: skip
def test_commands(debug, kill, command):
    assert say(evolve(HELD, debug=debug, kill=kill)).command == command


def test_a_command_follows_the_word_debug_and_a_kill_takes_its_place():
    asked = evolve(HELD, debug=True, asked="ls -l")
    assert say(asked).command == "debug,ls -l"
    assert say(evolve(asked, kill=True)).command == "debug,tobekilled"


@pytest.mark.parametrize(("number", "is_evicted"), [
    (1201, True), (1379, True), (1375, True),  # the site took the slot
    (1901, True),  # it goes on from a checkpoint
    (1305, False), (1165, False), (0, False), (2999, False),
    (1205, False), (1144, False),  # somebody wanted its end
])  # fmt: skip
def test_who_was_evicted(number, is_evicted):
    assert evicted(number) == is_evicted
    assert say(status="failed", error_code=number).state == ("activated" if is_evicted else "failed")


def test_who_was_evicted_too_often_is_put_back_no_more():
    stands = [say(Lease(state="running", attempt=number), "failed", error_code=1379).state for number in (19, 20, 21)]
    assert stands == ["activated", "failed", "failed"]
    spared = Lease(state="running", attempt=25, spared=20)
    assert say(spared, "failed", error_code=1379).state == "activated"
    assert after_loss(Lease(state="running", attempt=25, lost=0), 3) == "activated"


def test_a_lost_job_begins_again_until_it_was_lost_too_often():
    assert [after_loss(evolve(HELD, lost=lost), 3) for lost in range(5)] == [*["activated"] * 3, "failed", "failed"]
    assert after_loss(evolve(HELD, kill=True), 3) == "cancelled"


def test_silence():
    assert is_lost(300, 300)
    assert not is_lost(299, 300)
    assert (loss_code("sent"), loss_code("running")) == (102, 100)


def test_what_can_be_cancelled_and_retried():
    assert {state for state in STATES if not why_not_cancelled(state)} == {"activated", *LEASED}
    assert {state for state in STATES if not why_not_retried(state)} == {"failed", "cancelled"}


@given(LEASES, WORDS)
def test_only_the_holder_of_a_lease_changes_a_job(lease, word):
    ruling = rule(lease, word)
    if ruling.state is not None or ruling.heard:
        assert lease.state in LEASED or lease.adrift
        assert word.attempt == lease.attempt
    if ruling.state in OVER:
        assert word.final
    if two_bodies(lease.batch_id, word.batch_id):
        assert ruling.state is None
        assert not ruling.heard


def test_few_pilots_speak_often_and_many_seldom():
    assert [heartbeat_s(held, 30) for held in (0, 30, 100, 5000)] == [3, 3, 10, 30]
    assert heartbeat_s(5, 1) == 1
