"""Updates of running jobs: what a server asks for in its answers, and what holds when it does not answer."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from pilot_core.agent.reporting import Reporting
from pilot_core.agent.silence import Silence
from pilot_core.config.layers import Layer, Rank, Schema
from pilot_core.config.schema import ReportOptions
from pilot_core.errors import Code, PilotError
from pilot_core.machine import events as e
from pilot_core.spec.drivers import Reply
from pilot_core.testing import PilotKit
from pilot_core.testing.fakes import FakeClock, KitCommunicator

AWAY = PilotError(Code.COMMUNICATIONFAILURE, "nobody answers")


def described(script, **more):
    return {"described": {"id": "1", "script": script, **more}, "file": {"path": "job.yaml", "origin": ""}}


def run(tmp_path, script, answer, **settings):
    """A pilot with a real payload, whose server answers updates that are not final as ``answer`` says."""
    kit = PilotKit(process="real", tmp=tmp_path, settings={"report.heartbeat_s": 0.05, **settings})

    class Communicator(kit.communicator):
        def send(self, letter):
            reply = Reply() if letter.final else answer(letter)
            if isinstance(reply, PilotError):
                raise reply
            KitCommunicator.send(self, letter)
            return reply

    kit.communicator = Communicator
    return kit.run(described(script))


@pytest.mark.parametrize("policy", ["finish", "finish-and-hold"])
def test_a_server_that_is_away_stops_no_healthy_job(tmp_path, policy):
    done = run(tmp_path, "sleep 0.6; echo x > f", lambda _: AWAY, **{"report.when_lost": policy, "report.lost_s": 0.1})
    assert done.trail[-1] == "finished"
    assert done.jobs["1"].reports[-1]["final"] is True


def test_a_site_may_have_jobs_stopped_whose_server_is_away(tmp_path):
    """pilot:H03"""
    settings = {"report.when_lost": "stop-after", "report.lost_s": 0.3}
    done = run(tmp_path, "sleep 600", lambda _: AWAY, **settings)
    assert done.job.error.code is Code.COMMUNICATIONFAILURE
    assert "report.when_lost is stop-after" in done.job.error.detail


@pytest.fixture
def missing():
    """``missing(error, **settings)``: when a server is looked for that takes no update because of an error."""

    def look(error, tries=7, **settings):
        clock, calls, posted = FakeClock(), {}, []
        held = SimpleNamespace(id="1", updated=None, to_report=None, lost_since=None, lost_updates=0, heartbeat_s=None)
        held.settings = Schema((ReportOptions,)).merge(Layer(Rank.SITE, "test", {"report": settings}))
        reporting = Reporting(
            jobs=None,
            loop=SimpleNamespace(after=lambda key, after_s, call: calls.update({key: (after_s, call)})),
            poster=SimpleNamespace(post=posted.append),
            clock=clock,
            within=lambda _budget_s, _key, _name, _send, end: end(error),
            busy=lambda _: False,
            held={"1": held},
            budget_s=1.0,
            soften=None,
            silence=Silence(clock, 60.0, posted.append),
        )
        pauses = []
        for _ in range(tries):
            reporting.report(SimpleNamespace(id="1"))
            if not calls:
                break
            after_s, call = calls.popitem()[1]
            pauses.append(after_s)
            clock.advance(after_s)
            call()
        return pauses, posted

    return look


@pytest.mark.parametrize("chance", [0.75, 1.25])
def test_a_server_that_stays_away_is_looked_for_ever_less_often(missing, monkeypatch, chance):
    monkeypatch.setattr("random.uniform", lambda least, most: {0.75: least, 1.25: most}[chance])
    pauses, posted = missing(AWAY, heartbeat_s=1800.0)
    assert pauses == [chance * pause_s for pause_s in (60, 120, 240, 480, 960, 1800, 1800)]
    assert posted == [e.HeartbeatDue(job="1")] * 7
    assert missing(AWAY, heartbeat_s=30.0)[0] == [chance * 30] * 7


def test_a_server_that_refuses_for_good_is_asked_again_at_the_usual_time_alone(missing):
    refused = PilotError(Code.NOPROXY, "banned", permanent=True)
    assert missing(refused) == ([], [])
    pauses, posted = missing(refused, when_lost="stop-after", lost_s=500.0)
    assert pauses == [500.0], "a job is stopped in time all the same"
    assert [type(each) for each in posted] == [e.HeartbeatDue, e.StopAsked]


def test_a_server_that_comes_back_in_time_stops_nothing(tmp_path):
    asked = []

    def answer(letter):
        asked.append(letter)
        return AWAY if len(asked) % 3 else Reply()

    settings = {"report.when_lost": "stop-after", "report.lost_s": 30.0}
    done = run(tmp_path, "sleep 1", answer, **settings)
    assert done.trail[-1] == "finished"
    assert "the server answers again" in done.log


def test_a_server_says_how_often_it_wants_updates(tmp_path):
    """With updates every half hour the job would never hear that it is to stop."""
    heard = []

    def answer(letter):
        heard.append(letter)
        if len(heard) > 4:
            return Reply(stop=PilotError(Code.PANDAKILL, "enough"))
        return Reply(heartbeat_s=0.05)

    done = run(tmp_path, "sleep 600", answer, **{"report.heartbeat_s": 1800.0})
    assert done.job.error.code is Code.PANDAKILL


def test_who_follows_a_job_is_known_when_its_updates_are_composed(tmp_path):
    seen = []

    def answer(letter):
        seen.append(letter.body["debug"])
        return Reply(stop=PilotError(Code.PANDAKILL, "enough")) if len(seen) > 4 else Reply(debug=len(seen) == 2)

    kit_compose = KitCommunicator.compose
    try:
        KitCommunicator.compose = lambda self, update: _with_debug(kit_compose(self, update), update.debug)
        run(tmp_path, "sleep 600", answer)
    finally:
        KitCommunicator.compose = kit_compose
    assert seen[:4] == [False, False, True, False]


def _with_debug(letter, debug):
    from attrs import evolve

    return evolve(letter, body={**letter.body, "debug": debug})
