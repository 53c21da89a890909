"""What is packed and written as JSON comes back as it was."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings

from pilot_core.agent.recover import event_of, record_of
from pilot_core.machine import events as e
from pilot_core.model.files import FileSpec, Receipt
from pilot_core.model.job import Job
from pilot_core.model.payload import Outcome
from pilot_core.model.records import pack, unpack
from pilot_core.testing.strategies import jobs, values

KINDS = e.JobEvent.__subclasses__()


def through_json(value):
    return json.loads(json.dumps(value))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_event_comes_back_from_its_journal(kind):
    @settings(max_examples=40)
    @given(values(kind))
    def check(event):
        assert event_of(through_json(record_of(event))) == event

    check()


@settings(max_examples=100)
@given(jobs())
def test_a_job_comes_back(job):
    assert unpack(Job, through_json(pack(job))) == job


def test_what_stands_at_its_default_takes_no_room():
    assert pack(Job(id="1")) == {"id": "1"}
    assert pack(FileSpec(lfn="a", size_b=0)) == {"lfn": "a", "size_b": 0}
    assert pack(Outcome(exit_code=0)) == {"exit_code": 0}


def test_a_field_that_a_later_version_added_is_passed_over():
    receipt = Receipt(lfn="a", direction="in", url="u", tool="t", size_b=1)
    assert unpack(Receipt, {**pack(receipt), "colour": "red"}) == receipt


def test_all_events_of_a_job_are_known_here():
    assert len(KINDS) >= 14
    assert {kind.__name__ for kind in KINDS if not kind.journaled} == {
        "HeartbeatDue",
        "HeartbeatSet",
        "JournalLost",
        "Sampled",
    }
