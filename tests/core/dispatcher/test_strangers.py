"""Whoever is turned away is told of, and not too often."""

from __future__ import annotations

import pytest

from pilot_core.dispatcher.strangers import LONGEST, MOST, SPAN_S, Strangers
from pilot_core.testing.fakes import FakeClock


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def strangers(clock):
    return Strangers(clock)


def test_each_peer_and_reason_is_told_once_in_a_while(strangers, clock, caplog):
    for _ in range(1000):
        strangers.refuse("192.0.2.1", "no token")
    strangers.refuse("192.0.2.1", "a token that is none")
    strangers.refuse("192.0.2.2", "no token")
    first = ["192.0.2.1 was turned away: no token", "192.0.2.1 was turned away: a token that is none"]
    first += ["192.0.2.2 was turned away: no token"]
    assert caplog.messages == first
    clock.advance(SPAN_S)
    strangers.settle()
    strangers.refuse("192.0.2.1", "no token")
    assert caplog.messages[3:] == ["999 more requests were turned away in the last 10 min", first[0]]
    clock.advance(SPAN_S)
    strangers.settle()
    assert len(caplog.messages) == 5, "nothing is said of nobody"


def test_a_crowd_with_long_stories_fills_no_disk(strangers, clock, caplog):
    for number in range(10_000):
        strangers.refuse(f"2001:db8::{number:x}", f"{number}" * 1000)
    assert len(caplog.messages) == MOST
    assert max(map(len, caplog.messages)) < LONGEST + 60
    clock.advance(SPAN_S)
    strangers.settle()
    assert caplog.messages[MOST:] == [f"{10_000 - MOST} more requests were turned away in the last 10 min"]
