"""A failure as one record, whatever is known of it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilot_core.errors import Code, Party, PilotError, Retry, codes
from pilot_core.model.failure import CLASSES, Advice, Failure, Where, failure_of, told_in


@pytest.mark.parametrize("code", codes(), ids=lambda code: code.acronym)
def test_every_code_makes_a_record(code) -> None:
    wire = failure_of(PilotError(code)).to_wire()
    assert wire["class"] in CLASSES
    assert wire["cause"] == code.sentence
    assert wire["remedy"]
    assert json.loads(json.dumps(wire)) == wire


@pytest.mark.parametrize(
    ("code", "kind", "where", "counts", "memory", "time"),
    [
        (Code.PAYLOADOUTOFMEMORY, "memory", Where.SAME, True, 1.5, 1.0),
        (Code.REACHEDMAXTIME, "time", Where.SAME, True, 1.0, 1.5),
        (Code.NOLOCALSPACE, "disk", Where.OTHER, True, 1.0, 1.0),
        (Code.SIGTERM, "stopped", Where.SAME, False, 1.0, 1.0),
        (Code.PAYLOADEXECUTIONFAILURE, "unknown", Where.NEVER, True, 1.0, 1.0),
        (Code.STAGEINFAILED, "storage", Where.SAME, True, 1.0, 1.0),
        (Code.PLUGINFAILED, "plugin", Where.SAME, True, 1.0, 1.0),
    ],
)
def test_a_code_advises(code, kind, where, counts, memory, time) -> None:
    failure = failure_of(PilotError(code))
    assert failure.kind == kind
    expected = Advice(where=where, counts=counts, memory_factor=memory, time_factor=time, text=code.retry.value)
    assert failure.advice == expected


def test_facts_know_better_than_the_code() -> None:
    facts = {"class": "node", "fault": "site", "retry": "elsewhere", "cause": "It broke", "remedy": "Go"}
    failure = failure_of(PilotError(Code.PAYLOADEXECUTIONFAILURE, "x", **facts, file="f", line=3, said="boo"))
    assert (failure.kind, failure.fault, failure.cause, failure.remedy) == ("node", Party.SITE, "It broke", "Go")
    assert failure.advice.where is Where.OTHER
    assert str(failure.evidence) == "f, line 3"


@given(
    st.dictionaries(
        st.sampled_from(["class", "fault", "retry", "memory_factor", "file", "line"]),
        st.text() | st.floats() | st.none(),
    )
)
def test_facts_may_be_anything(facts) -> None:
    failure = failure_of(PilotError(Code.PAYLOADEXECUTIONFAILURE, **facts))
    assert failure.kind in CLASSES
    assert 1 <= failure.advice.memory_factor <= 10


@given(
    st.sampled_from(sorted(CLASSES)),
    st.sampled_from(Party),
    st.sampled_from(Where),
    st.booleans(),
    st.sampled_from([1.0, 1.5, 2.25, 10.0]),
    st.sampled_from([1.0, 3.0]),
)
def test_words_for_a_server_are_read_back(kind, fault, where, counts, memory, time) -> None:
    advice = Advice(where=where, counts=counts, memory_factor=memory, time_factor=time)
    failure = Failure(kind=kind, fault=fault, code=1, acronym="A", cause="c", remedy="r", advice=advice)
    told = told_in(failure.words())
    assert told is not None
    assert (told["class"], told["fault"], told["where"], told["counts"]) == (kind, fault.value, where.value, counts)
    assert (told["memory_factor"], told["time_factor"]) == (memory, time)


@given(st.dictionaries(st.sampled_from(["failure", "fault", "retry", "memoryFactor", "counts"]), st.text(max_size=8)))
def test_words_may_be_anything(words) -> None:
    told = told_in(words)
    assert told is None or told["class"] in CLASSES


def test_a_checkpoint_is_nobodys_fault() -> None:
    failure = failure_of(PilotError(Code.CHECKPOINTED))
    assert (failure.kind, failure.fault, failure.advice.counts) == ("stopped", Party.NOBODY, False)


def test_each_retry_has_a_place() -> None:
    assert {failure_of(PilotError(code)).advice.text for code in codes()} <= {each.value for each in Retry}
