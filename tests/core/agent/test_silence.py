"""A server that does not answer: when it is asked again, and what is told of it."""

from __future__ import annotations

import pytest
from attrs import evolve

from pilot_core.agent.silence import Silence
from pilot_core.errors import Code, PilotError
from pilot_core.machine import events as e
from pilot_core.testing import PilotKit
from pilot_core.testing.fakes import FakeClock, KitCommunicator

AWAY = PilotError(Code.COMMUNICATIONFAILURE, "nobody listens there", sent=False)
BROKE = PilotError(Code.COMMUNICATIONFAILURE, "the server answered with status 500")


def test_pauses_grow_from_a_second_and_only_the_long_ones_count():
    silence = Silence(FakeClock(), 60.0, print)
    answers = [silence.judge(AWAY) for _ in range(9)]
    for answer, least_s in zip(answers, (1, 2, 4, 8, 16, 32, 60, 60, 60), strict=True):
        assert least_s <= answer.again_s <= 2 * least_s
    assert [answer.counts for answer in answers] == [True, *[False] * 6, True, True]


def test_what_may_have_arrived_is_asked_again_as_late_as_ever():
    posted = []
    silence = Silence(FakeClock(), 60.0, posted.append)
    for _ in range(3):
        answer = silence.judge(BROKE)
        assert (60 <= answer.again_s <= 180, answer.counts) == (True, True)
    silence.end()
    assert (silence.told(), posted) == (None, [])


def test_a_site_that_wants_short_pauses_has_each_counted():
    silence = Silence(FakeClock(), 0.1, print)
    assert [silence.ask_later(AWAY).counts for _ in range(3)] == [True] * 3


def test_what_is_told_of_it():
    clock, posted = FakeClock(), []
    silence = Silence(clock, 60.0, posted.append)
    assert silence.told() is None
    silence.begin(AWAY)
    clock.advance(10)
    assert silence.told() == {"silent_s": 10, "why": str(AWAY), "asks_again_s": None}
    again_s = silence.ask_later(AWAY).again_s
    clock.advance(0.5)
    assert silence.told()["asks_again_s"] == pytest.approx(again_s - 0.5)
    silence.end()
    silence.end()
    assert (silence.told(), posted) == (None, [e.Hinted(answers=True)])
    assert silence.ask_later(AWAY).again_s >= 2, "the request itself is not answered yet"
    assert silence.judge(e.Answered(jobs=1)) == e.Answered(jobs=1)
    assert (silence.told(), len(posted)) == (None, 1)
    assert silence.ask_later(AWAY).again_s <= 2


def test_who_hears_of_a_job_asks_for_the_next_at_once(tmp_path, monkeypatch):
    """Requests for a second job have no answer, and would come again in hours; the first one's updates are answered."""
    monkeypatch.setattr("pilot_core.agent.silence.FIRST_S", 3600.0)
    settings = {"report.heartbeat_s": 0.05, "pilot.ask_again_s": 3600.0, "pilot.max_jobs": 2, "pilot.empty_answers": 1}
    kit = PilotKit(process="real", tmp=tmp_path, settings={**settings, "pilot.failed_answers": 2})
    asked = []

    class Communicator(kit.communicator):
        def acquire(self, free):
            asked.append(free)
            if len(asked) in range(2, 5):
                raise AWAY
            return evolve(KitCommunicator.acquire(self, free), over=len(asked) > 4)

    kit.communicator = Communicator
    described = {"described": {"id": "1", "script": "sleep 1"}, "file": {"path": "job.yaml", "origin": ""}}
    assert kit.run(described).trail[-1] == "finished"
    assert len(asked) == 5
