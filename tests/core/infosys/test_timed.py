"""Sources that hang: the pilot's start waits for all of them together only so long."""

from __future__ import annotations

import os
import threading

import pytest

from pilot_core.errors import Code, PilotError
from pilot_core.infosys.queue import resolve
from pilot_core.infosys.timed import Allowance, Timed, begin
from pilot_core.infosys.wire import WANTED
from pilot_core.plugins.guard import Guard, PluginRef
from pilot_core.spec.drivers import InfoSource
from pilot_core.testing import PilotKit

SHORT_S = 0.05


class Source(InfoSource):
    """Tells a fact; while it is ``held``, it hangs."""

    name = "made"

    def __init__(self, settings=None, held=False, told=None):
        super().__init__(settings)
        self.going, self.told, self.rested, self.asked = threading.Event(), told or {"corecount": 2}, 0, 0
        if not held:
            self.going.set()

    def queue(self, name):
        self.asked += 1
        self.going.wait()
        if isinstance(self.told, Exception):
            raise self.told
        return self.told

    def storage(self, name):
        self.going.wait()
        return {"type": "DISK"}

    def rest(self):
        self.rested += 1


@pytest.fixture(autouse=True)
def least(monkeypatch):
    """No more than is told."""
    monkeypatch.setattr("pilot_core.infosys.timed.LEAST_S", 0.0)


def timed(*sources, limit_s=SHORT_S):
    allowance = Allowance(limit_s)
    return [Timed(PluginRef(f"p{number}"), each, Guard(), allowance) for number, each in enumerate(sources)]


def test_a_source_that_hangs_costs_no_more_than_all_may_take(caplog):
    hung, hung_too = Source(held=True), Source(held=True)
    good = Source()
    made = timed(hung, hung_too)
    with pytest.raises(PilotError, match=r"hangs in .* wait; .* have 0\.05 s \(budgets\.info_s\)"):
        resolve("q", made)
    assert made[0]._allowance.until is None, "the next question has its own time"
    queue, _ = resolve("q", [*timed(good, limit_s=60.0), made[0]])
    assert queue.cores == 2
    assert (good.rested, hung.rested) == (1, 0)
    assert "source made did not tell" in caplog.text
    for each in (hung, hung_too):
        each.going.set()


def test_one_that_hung_is_asked_again_when_it_came_back():
    source = Source(held=True)
    (made,) = timed(source)
    with pytest.raises(PilotError):
        resolve("q", [made])
    source.going.set()
    made._asked.wait(60.0)
    made._allowance.limit_s = 60.0
    assert resolve("q", [made])[0].cores == 2


def test_a_plugin_that_fails_is_named():
    with pytest.raises(PilotError, match="plugin p0 failed in queue: ValueError: by hand") as raised:
        resolve("q", timed(Source(told=ValueError("by hand")), limit_s=60.0))
    assert raised.value.code is Code.PLUGINFAILED


def test_a_pilot_whose_source_hangs_ends_its_start_in_time(tmp_path):
    """A document that nobody writes to its end, as on a file system that does not answer."""
    document = tmp_path / "queues.json"
    os.mkfifo(document)
    settings = {"connection.info_sources": ["file"], "queue_file.path": str(document), "budgets.info_s": 0.1}
    with pytest.raises(PilotError, match=r"source file .* open; .*budgets\.info_s"):
        PilotKit(settings=settings).set_up(tmp_path)
    os.close(os.open(document, os.O_RDWR))


def test_nobody_waits_for_another_to_be_asked():
    first, second = Source(held=True), Source()
    made = timed(first, second)
    begin("q", made)
    made[1]._asked.wait(60.0)
    assert resolve("q", made)[0].cores == 2
    assert (first.asked, second.asked) == (1, 1)
    first.going.set()


def test_who_may_be_enough_is_asked_before_the_others():
    first, second = Source(), Source()
    first.enough = lambda: True
    made = timed(first, second, limit_s=60.0)
    begin("q", made)
    assert made[1]._asked is None
    for told, asked in (({"corecount": 2}, 1), (dict.fromkeys(WANTED, ""), 1), ({"corecount": 3}, 2)):
        first.told = told
        resolve("q", made)
        assert second.asked == asked


def test_whoever_comes_late_has_a_moment(monkeypatch):
    monkeypatch.setattr("pilot_core.infosys.timed.LEAST_S", 60.0)
    assert Allowance(0.0).left_s() == 60.0
    queue, _ = resolve("q", timed(Source(told={"astorages": {"pw": ["A"]}}), limit_s=0.0))
    assert queue.storages["A"].kind == "DISK"
