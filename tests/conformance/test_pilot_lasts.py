"""What a pilot does while hours pass, by a clock that leaps over them."""

from __future__ import annotations

import gc
import os
import random
import threading
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from pilot_core.agent.loop import Loop
from pilot_core.agent.run import run as run_pilot
from pilot_core.io.box import Box
from pilot_core.io.process_plain import PlainStarter
from pilot_core.redact import Redactor
from pilot_core.testing import PilotKit
from pilot_core.testing.fakes import FakeClock, Payload
from pilot_core.testing.server import Fault

from .ids import scenario
from .stage import ACQUIRE, JOB, NO_SERVER, UPDATE, ends, in_words, last, told

HOUR_S = 3600.0
NODE = "/api/v1/pilot/update_worker_node"
NOT_NOW = in_words("v1", StatusCode=30, ErrorDiag="Database error")


def away(stage, clock, lasts_s, when=lambda heard: True):
    """From now on no update arrives for so long; the times at which one was tried."""
    until, tried = clock.mono() + lasts_s, []

    def refused(heard):
        met = clock.mono() < until and when(heard)
        if met:
            tried.append(clock.mono())
        return met

    for path in UPDATE.values():
        stage.refuse(path, 503, times=999, when=refused)
    return tried


@scenario("F-04", "I9")
def test_a_last_word_is_tried_ever_more_seldom(stage, pilot, leaping):
    stage.submit(JOB)
    tried = away(stage, leaping, 2400, ends)
    run = pilot(kit={"clock": leaping}, **{"report.final_budget_s": HOUR_S})
    assert (run.ending.finished, run.ending.exit_code) == (1, 0), run.story()
    assert [job["state"] for job in stage.jobs()] == ["finished"]
    pauses = [later - earlier for earlier, later in pairwise(tried)]
    assert pauses == sorted(pauses)
    assert 7 < pauses[0] < 13
    assert 300 < pauses[-1] < 751


@scenario("U-19", "F-04")
def test_a_server_that_is_away_for_four_hours_gets_the_end_from_a_pilot_that_holds_it(stage, pilot, dialect, leaping):
    stage.submit(JOB)
    tried = away(stage, leaping, 4 * HOUR_S)
    run = pilot(kit={"clock": leaping}, **{"report.when_lost": "finish-and-hold", "panda.dialect": dialect})
    assert (run.ending.finished, run.ending.exit_code) == (1, 0), run.story()
    assert [job["state"] for job in stage.jobs()] == ["finished"]
    assert tried[-1] > 3 * HOUR_S
    assert len(tried) < 60


@scenario("F-04", "F-05", "F-06", "F-09")
@pytest.mark.parametrize("command", ["NULL", "alreadydone", "tobekilled"])
def test_after_four_hours_what_the_server_says_is_the_end(stage, pilot, tmp_path, leaping, command):
    stage.submit(JOB)
    tried, outbox = away(stage, leaping, 4 * HOUR_S), tmp_path / "outbox"
    first = pilot(kit={"clock": leaping}, **{"report.outbox": str(outbox)})
    assert (first.ending.finished, first.ending.exit_code) == (1, NO_SERVER), first.story()
    (waiting,) = outbox.glob("*.json")
    assert stage.stored("out.txt")
    leaping.advance(4 * HOUR_S)
    stage.change(UPDATE["v1"], told(command, "v1"), when=ends)
    asked, said = len(stage.said(ACQUIRE["v1"])), len(tried)
    pilot(kit={"clock": leaping}, **{"report.outbox": str(outbox)})
    assert (last(stage)["job_status"], len(tried)) == ("finished", said)
    assert sum(map(ends, stage.said(UPDATE["v1"]))) == said - _heartbeats(stage) + 1
    assert len(stage.said(ACQUIRE["v1"])) > asked
    assert not waiting.exists()


def _heartbeats(stage):
    return sum(not ends(heard) for heard in stage.said(UPDATE["v1"]))


@scenario("F-06")
def test_a_pilot_that_could_not_deliver_says_so_in_the_end(stage, pilot, dialect, leaping):
    stage.submit(JOB, 2)
    job = 2
    stage.refuse(UPDATE[dialect], times=999, when=lambda heard: ends(heard) and str(job) in _job(heard))
    run = pilot(jobs=2, kit={"clock": leaping}, **{"panda.dialect": dialect})
    assert (run.ending.finished, run.ending.exit_code) == (2, NO_SERVER), run.story()
    assert {each["id"]: each["state"] for each in stage.jobs()}[1] == "finished"


def _job(heard):
    return str(heard.body.get("job_id") or heard.body.get("jobId"))


def unreadable(answer):
    """The same jobs, none of which can be begun."""
    for job in answer["data"]["jobs"]:
        job["outFiles"] = 7
    return answer


def recovered(stage, root, clock):
    """What ``pilot recover`` does there."""
    setup = PilotKit(settings=stage.settings(), tmp=root.parent).set_up(root)
    return run_pilot(setup, root, PlainStarter(), redactor=Redactor(), recover=True, clock=clock, environ={})


@scenario("F-04", "I9")
@pytest.mark.parametrize("hours", [0.8, 4])
def test_what_outlasts_the_budget_waits_in_the_work_directory(stage, pilot, leaping, hours):
    """By default: an hour is outlasted, and what lasts longer leaves the end to the next pilot there."""
    stage.submit(JOB)
    away(stage, leaping, hours * HOUR_S)
    run = pilot(kit={"clock": leaping})
    assert run.ending.finished == 1, run.story()
    if hours < 1:
        assert [job["state"] for job in stage.jobs()] == ["finished"]
        assert run.ending.exit_code == 0
        return
    assert run.ending.exit_code == NO_SERVER
    leaping.advance(4 * HOUR_S)
    recovered(stage, run.root, leaping)
    assert [job["state"] for job in stage.jobs()] == ["finished"]


@scenario("F-04", "J-07", "I9")
def test_the_end_of_a_refused_job_outlasts_an_outage(stage, pilot, leaping):
    """Found: it was told once, and lost if the server was busy for a second."""
    stage.submit(JOB)
    stage.change(ACQUIRE["v1"], unreadable)
    tried = away(stage, leaping, 1800)
    run = pilot(kit={"clock": leaping})
    assert [job["state"] for job in stage.jobs()] == ["failed"], run.story()
    assert (run.ending.failed, run.ending.exit_code, len(tried) > 5) == (1, 0, True)
    assert "outFiles" in last(stage)["pilot_error_diag"]


@scenario("F-06")
@pytest.mark.parametrize("outbox", [True, False])
def test_the_end_of_a_refused_job_that_one_pilot_could_not_tell_is_told_by_another(
    stage, pilot, tmp_path, leaping, outbox
):
    stage.submit(JOB, 2)
    stage.change(ACQUIRE["v1"], unreadable)
    stage.refuse(UPDATE["v1"], 503, times=999)
    shared = {"report.outbox": str(tmp_path / "outbox")} if outbox else {}
    first = pilot(kit={"clock": leaping}, **shared)
    assert (first.ending.failed, first.ending.exit_code) == (1, NO_SERVER), first.story()
    stage.relent()
    if outbox:
        pilot(kit={"clock": leaping}, **shared)
    else:
        recovered(stage, first.root, leaping)
    assert {job["id"]: job["state"] for job in stage.jobs()}[1] == "failed"


@scenario("F-07", "I9")
def test_a_database_that_does_not_take_the_last_word_is_told_less(stage, pilot, leaping):
    stage.submit(JOB)
    stage.say(UPDATE["v1"], NOT_NOW, times=3, when=ends)
    run = pilot(kit={"clock": leaping})
    assert [job["state"] for job in stage.jobs()] == ["finished"], run.story()
    body = last(stage)
    assert (body["job_status"], "job_output_report" in body) == ("finished", True)
    assert not {"job_metrics", "pilot_log", "cpu_consumption_unit"} & body.keys()


@scenario("T-06", "J-05", "I9")
def test_a_server_that_fails_is_asked_for_work_again_at_moments_of_each_pilots_own(stage, pilot, leaping):
    """Never sooner than a minute after, nor later than three, and not all pilots at the same time."""
    random.seed(12)
    asked = []
    stage.refuse(ACQUIRE["v1"], times=99, when=lambda heard: asked.append(leaping.mono()) is None)
    run = pilot(kit={"clock": leaping}, **{"pilot.ask_again_s": 60, "pilot.failed_answers": 8})
    assert run.ending.exit_code == NO_SERVER, run.story()
    pauses = [later - earlier for earlier, later in pairwise(asked)]
    assert len(pauses) == 7
    assert all(60 <= pause < 190 for pause in pauses)
    assert max(pauses) - min(pauses) > 20
    assert not stage.said(ACQUIRE["legacy"])


@scenario("J-15")
def test_the_time_that_is_left_gets_less(stage, pilot, leaping):
    stage.submit(JOB, 2)
    takes = Payload(does=lambda here, env: leaping.advance(600), files={"out.txt": b"made\n"})
    one_by_one = {"pilot.prefetch_jobs": 0, "slot.cores": 1}
    run = pilot(jobs=2, payload=takes, kit={"clock": leaping}, **{"pilot.lifetime_s": 7200, **one_by_one})
    left = [each.body["remaining_time"] for each in stage.said(ACQUIRE["v1"])]
    assert run.ending.finished == 2, run.story()
    assert 7000 < left[0] < 7200
    assert left[-1] <= left[0] - 600


@scenario("J-16")
@pytest.mark.parametrize(("minutes", "taken"), [(0, 1), (60, 3)])
def test_jobs_are_taken_one_after_another_and_for_so_long_as_the_queue_says(stage, pilot, leaping, minutes, taken):
    """Each takes 25 minutes, so the third is asked for after 50, and none after 75."""
    stage.submit(JOB, 9)
    stage.change("/cache/schedconfig/local.all.json", lambda facts: {**facts, "timefloor": minutes}, times=9)
    takes = Payload(does=lambda here, env: leaping.advance(1500), files={"out.txt": b"made\n"})
    run = pilot(jobs=9, payload=takes, kit={"clock": leaping})
    assert (run.ending.finished, run.ending.exit_code) == (taken, 0), run.story()
    assert len(stage.said(ACQUIRE["v1"])) == taken
    order = [each.path for each in stage.all if each.path == ACQUIRE["v1"] or ends(each)]
    assert order == [ACQUIRE["v1"], UPDATE["v1"]] * taken


# --- many pilots, and one that runs for long --------------------------------------------------------------------------


@scenario("M-08")
def test_of_a_thousand_pilots_that_start_at_once_few_come_forward_at_once():
    """With a spread of a minute, in no second more than one in twenty."""
    random.seed(8)
    loop, moments = Loop((), None, Box(), FakeClock()), []
    loop.after = lambda key, after_s, work: moments.append(after_s)
    for _ in range(1000):
        loop.within("start", 60.0, list)
    seconds = Counter(map(int, moments))
    assert max(seconds.values()) <= 50
    assert seconds.keys() <= set(range(60))


@scenario("M-08")
def test_a_pilot_comes_forward_at_its_moment_with_all_that_it_says(stage, pilot, leaping):
    random.seed(8)
    stage.submit(JOB)
    first = []

    def hear(answer):
        first.append(leaping.mono())
        return answer

    for path in (ACQUIRE["v1"], NODE):
        stage.change(path, hear)
    began = leaping.mono()
    run = pilot(kit={"clock": leaping}, **{"pilot.start_spread_s": 3600})
    assert run.ending.finished == 1, run.story()
    assert len(first) == 2
    assert all(10 < at - began < 3600 for at in first)


@scenario("M-09")
def test_a_pilot_of_a_week_takes_no_more_than_one_of_a_day(stage, pilot, leaping):
    """Every half hour an update; what is open and what is held in memory is measured after a day, and at the end."""
    stage.submit(JOB)
    over, seen = threading.Event(), []

    def measure(answer):
        told = len(stage.said(UPDATE["v1"]))
        if told in (50, 340):
            gc.collect()
            opened = len(os.listdir("/proc/self/fd"))
            seen.append((opened, int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")))
        if told == 340:
            over.set()
        answer["data"]["heartbeat"] = HOUR_S / 2
        return answer

    def last_a_week(here, env):
        with leaping.away():
            assert over.wait(300)

    stage.change(UPDATE["v1"], measure, times=999, when=lambda heard: not ends(heard))
    seldom = {"monitor.sample_s": HOUR_S, "pilot.time_left_again_s": 24 * HOUR_S, "pilot.lifetime_s": 1e7}
    made = Payload(does=last_a_week, files={"out.txt": b"made\n"})
    began = leaping.mono()
    run = pilot(payload=made, kit={"clock": leaping}, **seldom, **{"monitor.monitors": ["disk", "memory"]})
    assert run.ending.finished == 1, run.story()
    assert leaping.mono() - began > 6.9 * 24 * HOUR_S
    (open_first, memory_first), (open_last, memory_last) = seen
    assert open_last <= open_first + 5
    assert memory_last - memory_first < 6 * 2**20


# --- answers that are spoilt ------------------------------------------------------------------------------------------

FAULTS = {
    "cut": Fault.cut(9),
    "garbage": Fault.garbage(),
    "too long": Fault.wrong_length(10),
    "too short": Fault.wrong_length(-10),
    "lost": Fault.lost_answer(),
    "late": Fault.slow(2),
}


@scenario("T-04", "T-08", "T-09", "I2", "I3")
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("times", [1, 4])
def test_an_answer_that_is_spoilt_costs_no_job_its_end(stage, pilot, leaping, dialect, fault, times):
    """The first ones or, as there are no more than three, all up to the last one: it is said again."""
    stage.submit(JOB)
    stage.faults.next(UPDATE[dialect], FAULTS[fault], times=times)
    run = pilot(kit={"clock": leaping}, **{"panda.dialect": dialect, "panda.request_s": 1})
    assert run.ending.finished == 1, run.story()
    assert [(job["state"], job["attempt"]) for job in stage.jobs()] == [("finished", 1)]


@scenario("J-05", "I9")
@pytest.mark.parametrize("fault", FAULTS)
def test_a_spoilt_answer_to_a_request_for_work_reserves_nothing_twice(stage, pilot, dialect, fault):
    """The job that it held is the server's to give again; the pilot takes another one."""
    stage.submit(JOB, 2)
    stage.faults.next(ACQUIRE[dialect], FAULTS[fault])
    run = pilot(**{"panda.dialect": dialect, "panda.request_s": 1})
    assert run.ending.finished == 1, run.story()
    assert len(stage.said(ACQUIRE[dialect])) == 2
    assert sorted(job["state"] for job in stage.jobs()) in (["finished", "sent"], ["activated", "finished"])
