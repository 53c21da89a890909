"""What is told without being asked for: at what moment, by the clock, and what is asked of the server then."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest

from pilot_core.agent.hearing import listen
from pilot_core.agent.loop import Loop
from pilot_core.io.box import Box
from pilot_core.machine import events as e
from pilot_core.spec.drivers import Hint
from pilot_core.testing.fakes import FakeClock

HINT = Hint(within_s=60.0)
OVER = Hint(task="7", over=True, within_s=60.0)


class Pilot:
    """A loop on a clock that stands still, with three jobs; ``posted`` is what it was given to do."""

    def __init__(self, *hints):
        self.clock, self.box, self.posted = FakeClock(), Box(), []
        jobs = [SimpleNamespace(id=name, task=task) for name, task in (("1", "7"), ("2", "8"), ("3", "7"))]
        state = SimpleNamespace(courses={job.id: SimpleNamespace(job=job) for job in jobs})
        self.loop = Loop(state, None, self.box, self.clock)
        self.hear(*hints)

    def hear(self, *hints):
        """Have the communicator's own thread tell these."""
        told = threading.Event()
        communicator = SimpleNamespace(
            listen=lambda hear: ([hear(each) for each in hints], told.set()), hush=lambda: None
        )
        performer = SimpleNamespace(
            loop=self.loop,
            jobs=SimpleNamespace(communicator=communicator),
            poster=SimpleNamespace(post=self.posted.append),
        )
        setup = SimpleNamespace(
            communicator=SimpleNamespace(plugin="test"),
            hooks=SimpleNamespace(guarded=lambda owner, what, call, *args: call(*args)),
        )
        hush = listen(setup, performer)
        assert told.wait(30)
        hush()
        self.go_on(0.0)

    def go_on(self, seconds):
        """Let so much time pass, and everything happen that is due."""
        self.clock.advance(seconds)
        self.loop.ended = False
        self.loop.soon(self.loop.end)
        self.loop.run(None)


def test_many_pilots_that_hear_the_same_ask_at_moments_of_their_own():
    """server:J-18"""
    pilots = [Pilot(HINT) for _ in range(40)]
    asked = []
    for _ in range(60):
        for pilot in pilots:
            pilot.go_on(1.0)
        asked.append(sum(len(pilot.posted) for pilot in pilots))
    assert asked[-1] == 40
    assert max(after - before for before, after in zip([0, *asked], asked, strict=False)) < 20


def test_what_is_told_again_and_again_neither_puts_the_question_off_nor_repeats_it(monkeypatch):
    """server:J-18"""
    monkeypatch.setattr("random.uniform", lambda least, most: most)
    pilot = Pilot(HINT)
    for _ in range(59):
        pilot.go_on(1.0)
        pilot.hear(HINT, HINT)
    assert pilot.posted == []
    pilot.go_on(1.0)
    assert pilot.posted == [e.Hinted()]
    pilot.hear(HINT)
    pilot.go_on(60.0)
    assert pilot.posted == [e.Hinted(), e.Hinted()]


def test_without_a_spread_it_is_asked_at_once():
    assert Pilot(Hint()).posted == [e.Hinted()]


@pytest.mark.parametrize("spread_s", [0.0, 60.0])
def test_of_a_task_that_is_said_to_be_over_the_server_is_told_how_its_jobs_are(spread_s):
    """server:J-19"""
    pilot = Pilot(*[Hint(task="7", over=True, within_s=spread_s)] * (3 if spread_s else 1))
    pilot.go_on(spread_s)
    assert pilot.posted == [e.HeartbeatDue(job="1"), e.HeartbeatDue(job="3")]


def test_a_task_that_no_job_is_of_is_nobodys_business():
    """server:J-19"""
    pilot = Pilot(Hint(task="9", over=True, within_s=60.0), Hint(task="9", over=True))
    assert (pilot.posted, pilot.loop._calls) == ([], {})


def test_a_job_that_was_over_before_its_moment_came_is_not_told_of():
    """server:J-19"""
    pilot = Pilot(OVER)
    del pilot.loop.state.courses["1"]
    pilot.go_on(60.0)
    assert pilot.posted == [e.HeartbeatDue(job="3")]
