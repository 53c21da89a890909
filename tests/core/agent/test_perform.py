"""The end of a piece of work: written by the worker that did it, unless that was left behind."""

from __future__ import annotations

import queue
import threading
from types import SimpleNamespace

import pytest

from pilot_core.agent.perform import Performer
from pilot_core.agent.workers import Workers
from pilot_core.errors import Code, PilotError
from pilot_core.io.cancel import CancelFlag
from pilot_core.machine import commands as c
from pilot_core.machine import events as e
from pilot_core.model.job import Job
from pilot_core.plugins.hands import Hands

ORDER = c.Begin(job=Job(id="1"), ticket=7, work="stage_in")


class Desk:
    """A performer with a worker, and what is written."""

    def __init__(self):
        self.calls, self.written, self.writers = queue.SimpleQueue(), [], set()
        self.held = SimpleNamespace(cancels={ORDER.ticket: CancelFlag()})
        self.performer = Performer.__new__(Performer)
        self.performer.held = {"1": self.held}
        self.performer.workers = Workers(self.calls.put, Hands())
        self.performer.poster = SimpleNamespace(write=self.write)

    def write(self, event):
        self.written.append(event)
        self.writers.add(threading.current_thread())

    def work(self, does):
        self.performer._work(self.held, ORDER, does)

    def come_home(self):
        self.calls.get(timeout=10)()


@pytest.fixture
def desk():
    return Desk()


def fail():
    raise PilotError(Code.NOLOCALSPACE, "full")


@pytest.mark.parametrize(
    ("does", "end"),
    [
        (e.Result, e.WorkDone(job="1", ticket=7, result=e.Result())),
        (fail, e.WorkFailed(job="1", ticket=7, error=PilotError(Code.NOLOCALSPACE, "full"))),
    ],
)
def test_the_end_is_written_by_who_worked_before_it_comes_home(desk, does, end):
    desk.work(does)
    desk.come_home()
    assert desk.written == [end]
    assert threading.current_thread() not in desk.writers


def test_the_late_end_of_what_was_left_behind_is_not_written(desk):
    entered, go = threading.Event(), threading.Event()

    def hang():
        entered.set()
        assert go.wait(10)
        return e.Result()

    desk.work(hang)
    assert entered.wait(10)
    desk.performer.abandon(c.Abandon(job="1", ticket=7, work="stage_in"))
    go.set()
    desk.come_home()
    assert desk.written == []
