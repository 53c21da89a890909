"""Shipping the log: batches, bounds, and a shipper that fails."""

from __future__ import annotations

import logging

import pytest

from pilot_core.agent import shipping
from pilot_core.plugins.drivers import Usable
from pilot_core.plugins.guard import PluginRef
from pilot_core.plugins.hooks import Hooks
from pilot_core.redact import Redactor
from pilot_core.spec.drivers import LogShipper

log = logging.getLogger("tests.shipping")


class Ship(LogShipper):
    name = "ship"

    def __init__(self):
        self.sent, self.closed, self.sinks, self.tried = [], False, False, 0

    def ship(self, records):
        self.tried += 1
        if self.sinks:
            raise ConnectionError("the harbour is closed")
        self.sent.extend(records)

    def close(self):
        self.closed = True


@pytest.fixture
def ship():
    return Ship()


@pytest.fixture
def sent(ship):
    redactor = Redactor()
    redactor.learn("hunter2")
    usable = Usable(PluginRef("ship", "pilot-ship", "1.0"), "ship", Ship)
    made = shipping.Shipping([(usable, ship)], Hooks(), redactor)
    yield made
    made.close()


def messages(ship):
    return [record["message"] for record in ship.sent]


def test_records_are_sent_once_in_order_and_without_secrets(ship, sent):
    """pilot:K06"""
    log.warning("first hunter2")
    log.warning("second")
    sent.ship()
    sent.ship()
    assert messages(ship) == ["first ***", "second"]


def test_the_last_records_go_out_when_the_pilot_ends(ship, sent):
    log.warning("last")
    sent.close()
    assert messages(ship) == ["last"]
    assert ship.closed


def test_what_comes_too_fast_is_counted_and_the_latest_kept(ship, sent):
    for number in range(shipping.WAITING + 5):
        log.warning("%d", number)
    sent.ship()
    assert messages(ship)[0] == "5 records were left out: they came too fast"
    assert messages(ship)[-1] == str(shipping.WAITING + 4)
    assert len(ship.sent) == shipping.WAITING + 1


@pytest.fixture
def clock(monkeypatch):
    """Time that passes when a test says so."""
    now = [1000.0]
    monkeypatch.setattr(shipping.time, "monotonic", lambda: now[0])
    return now


def test_a_shipper_that_keeps_failing_is_left_alone_for_longer_and_then_gets_all(ship, sent, clock, caplog):
    """pilot:K05. Found: after three failures it got no more records."""
    ship.sinks, times = True, []
    for number in range(1200):
        log.warning("%d", number)
        before = ship.tried
        sent.ship()
        times += [clock[0] - 1000.0] * (ship.tried - before)
        clock[0] += 1
    assert times == [0, 5, 15, 35, 75, 155, 315, 615, 915]
    told = [record.getMessage() for record in caplog.records if record.name == shipping.__name__]
    assert len(told) == 1
    assert "pilot-ship 1.0" in told[0]
    ship.sinks = False
    clock[0] += shipping.LONGEST_PAUSE_S
    sent.ship()
    assert messages(ship) == [str(number) for number in range(1200)]


def test_the_oldest_go_for_what_there_is_no_room_and_are_counted(ship, sent, clock, monkeypatch):
    monkeypatch.setattr(shipping, "MOST_WAITING", 3)
    sent = shipping.Shipping([(sent._lines[0].usable, ship)], Hooks(), Redactor())
    ship.sinks = True
    for number in range(5):
        log.warning("%d", number)
        sent.ship()
    ship.sinks = False
    sent.close()
    assert messages(ship) == ["2 records were left out: the receiver took none", "2", "3", "4"]


def test_one_that_fails_keeps_nothing_from_another(ship, clock):
    usable, other = Usable(PluginRef("ship", "pilot-ship", "1.0"), "ship", Ship), Ship()
    made = shipping.Shipping([(usable, ship), (usable, other)], Hooks(), Redactor())
    ship.sinks = True
    log.warning("one")
    made.ship()
    log.warning("two")
    made.ship()
    assert messages(other) == ["one", "two"]
    ship.sinks = False
    made.close()
    assert messages(ship) == ["one", "two"], "at the end it is tried whatever it was like"
