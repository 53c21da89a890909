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
        self.sent, self.closed, self.sinks = [], False, False

    def ship(self, records):
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


def test_a_shipper_that_keeps_failing_gets_no_more(ship, sent, caplog):
    """pilot:K05"""
    ship.sinks = True
    for number in range(5):
        log.warning("%d", number)
        sent.ship()
    ship.sinks = False
    log.warning("later")
    sent.ship()
    assert ship.sent == []
    told = [record.getMessage() for record in caplog.records if record.name == shipping.__name__]
    assert len(told) == shipping.STRIKES
    assert "pilot-ship 1.0" in told[-1]
    assert told[-1].endswith("it gets no more records")
