"""Updates of running jobs: what a server asks for in its answers, and what holds when it does not answer."""

from __future__ import annotations

import pytest

from pilot_core.errors import Code, PilotError
from pilot_core.spec.drivers import Reply
from pilot_core.testing import PilotKit
from pilot_core.testing.fakes import KitCommunicator

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
