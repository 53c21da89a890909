"""Updates of several jobs in one message: what comes while one is under way, each judged on its own."""

from __future__ import annotations

import json
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor

import pytest
from attrs import evolve

from pilot_core.builtin.panda.answers import Envelope
from pilot_core.builtin.panda.together import Together
from pilot_core.model.queue import Queue, Resources
from pilot_core.sdk import RUNNING, Code, PilotError, Reply, Update
from pilot_core.sdk.web import Answer

UPDATE, BULK, OLD_BULK = (
    "/api/v1/pilot/update_job",
    "/api/v1/pilot/update_jobs_bulk",
    "/server/panda/updateJobsInBulk",
)
OLD_UPDATE = "/server/panda/updateJob"


class Telling(deque):
    """Tells when so many wait."""

    def __init__(self, number):
        super().__init__()
        self.number, self.full = number, threading.Event()

    def append(self, each):
        super().append(each)
        if len(self) == self.number:
            self.full.set()


def four_jobs(talk, panda, wire_job):
    panda.waiting.extend(wire_job(PandaID=number) for number in (1, 2, 3, 4))
    given = talk.acquire(talk.request_fields(Queue(name="Q"), Resources(cores=8))).jobs
    return [talk.read(raw) for raw in given]


def letter(talk, job, final=False):
    job = evolve(job, phase=RUNNING, times={RUNNING: 1_788_264_000.0})
    return talk.compose(Update(job=job, final=final, at=1_788_264_060.0))


def outcome(future):
    try:
        return future.result(10)
    except PilotError as error:
        return error


def send_while_the_first_is_under_way(talk, letters):
    """Send the first, and the others before it is answered; what became of each."""
    talk._together._waiting = waiting = Telling(len(letters) - 1)
    first, call = threading.Event(), talk._web.call

    def slow(*args, **how):
        if not first.is_set():
            first.set()
            assert waiting.full.wait(10)
        return call(*args, **how)

    talk._web.call = slow
    with ThreadPoolExecutor(len(letters)) as pool:
        begun = [pool.submit(talk.send, letters[0])]
        assert first.wait(10)
        begun += [pool.submit(talk.send, each) for each in letters[1:]]
        return [outcome(each) for each in begun]


@pytest.mark.parametrize(
    ("dialect", "shape", "one", "several"),
    [("v1", "jobs", UPDATE, BULK), ("legacy", "jobs", OLD_UPDATE, OLD_BULK), ("legacy", "form", OLD_UPDATE, OLD_BULK)],
)
def test_what_comes_meanwhile_is_said_at_once_and_judged_on_its_own(
    talker, panda, wire_job, dialect, shape, one, several
):
    """server:F-16, server:F-17"""
    talk = talker(bulk=10, n_jobs=4, dialect=dialect)
    jobs = four_jobs(talk, panda, wire_job)
    panda.shape = shape
    panda.commands = {2: "tobekilled", 3: "debug"}
    del panda.requests[:]
    first, second, third, gone = send_while_the_first_is_under_way(
        talk, [letter(talk, each) for each in (*jobs[:3], evolve(jobs[3], attempt=7))]
    )
    assert [path for path, _ in panda.requests] == [one, several]
    assert first == Reply()
    assert second.stop.code is gone.stop.code is Code.PANDAKILL
    assert third.debug is True


def test_no_message_holds_more_than_it_may(talker, panda, wire_job):
    talk = talker(bulk=2, n_jobs=4)
    letters = [letter(talk, each, final=True) for each in four_jobs(talk, panda, wire_job)]
    assert send_while_the_first_is_under_way(talk, letters) == [Reply()] * 4
    assert [path for path, _ in panda.requests[1:]] == [UPDATE, BULK, UPDATE]
    assert {job["state"] for job in panda.jobs.values()} == {"holding"}


@pytest.mark.parametrize("told", [{"success": False, "message": "no", "data": []}, {"success": True, "data": [7]}])
def test_what_is_refused_as_a_whole_is_said_one_by_one(talker, panda, wire_job, told):
    """server:F-16 (the whole call failing)"""
    talk = talker(bulk=10, n_jobs=4)
    letters = [letter(talk, each, final=True) for each in four_jobs(talk, panda, wire_job)]
    panda.spoilt[BULK] = (told,)
    assert send_while_the_first_is_under_way(talk, letters) == [Reply()] * 4
    assert [path for path, _ in panda.requests].count(UPDATE) == 4
    assert {job["state"] for job in panda.jobs.values()} == {"holding"}


@pytest.mark.parametrize(
    ("dialect", "one", "several", "status"), [("v1", UPDATE, BULK, 404), ("legacy", OLD_UPDATE, OLD_BULK, 403)]
)
def test_a_server_that_takes_one_at_a_time_gets_one_at_a_time(talker, panda, wire_job, dialect, one, several, status):
    panda.speaks = {dialect}
    talk = talker(bulk=10, n_jobs=4)
    letters = [letter(talk, each) for each in four_jobs(talk, panda, wire_job)]
    panda.spoilt[several] = (b"ERROR : method updateJobsInBulk is forbidden", status)
    assert send_while_the_first_is_under_way(talk, letters) == [Reply()] * 4
    assert [path for path, _ in panda.requests].count(one) == 4
    assert talk._speech.dialects[0].name == dialect


def test_one_that_is_refused_for_a_field_is_said_again_without_it(talker, panda, wire_job):
    panda.refused = {"n_input_files"}
    talk = talker(bulk=10, n_jobs=4)
    first, *others = [letter(talk, each) for each in four_jobs(talk, panda, wire_job)]
    body = {name: value for name, value in first.body.items() if name != "n_input_files"}
    assert send_while_the_first_is_under_way(talk, [evolve(first, body=body), *others]) == [Reply()] * 4
    assert {job["state"] for job in panda.jobs.values()} == {"running"}


def test_trouble_is_everybodys(talker, panda, wire_job):
    talk = talker(bulk=10, n_jobs=4)
    letters = [letter(talk, each) for each in four_jobs(talk, panda, wire_job)]
    panda.spoilt[BULK] = (b"<html>",)
    first, *others = send_while_the_first_is_under_way(talk, letters)
    assert first == Reply()
    assert [each.code for each in others] == [Code.COMMUNICATIONFAILURE] * 3
    assert [talk.send(each) for each in letters] == [Reply()] * 4, "and the next one is nobody's any more"


def test_one_over_which_the_server_breaks_holds_no_other_up(talker, panda, wire_job, monkeypatch):
    talk = talker(bulk=10, n_jobs=4)
    letters = [letter(talk, each, final=True) for each in four_jobs(talk, panda, wire_job)]
    call = talk._web.call

    def breaking(method, path, **how):
        poisonous = '"job_id": 3,' in json.dumps(how["json"])
        return Answer(status=500, headers={}) if poisonous else call(method, path, **how)

    monkeypatch.setattr(talk._web, "call", breaking)
    first, second, third, fourth = send_while_the_first_is_under_way(talk, letters)
    assert [first, second, fourth] == [Reply()] * 3
    assert third.facts["status"] == 500
    assert [panda.jobs[number]["state"] == "holding" for number in (1, 2, 3, 4)] == [True, True, False, True]


def test_a_failing_front_end_is_asked_once_for_all(talker, panda, wire_job):
    talk = talker(bulk=10, n_jobs=4)
    letters = [letter(talk, each) for each in four_jobs(talk, panda, wire_job)]
    panda.spoilt[BULK] = (b"try later", 503)
    _, *others = send_while_the_first_is_under_way(talk, letters)
    assert [each.code for each in others] == [Code.COMMUNICATIONFAILURE] * 3
    assert [path for path, _ in panda.requests].count(UPDATE) == 1


def test_a_message_that_ends_badly_keeps_nobody_waiting():
    def broken(values):
        raise ZeroDivisionError

    together = Together(broken, lambda several: [Envelope(success=True)] * len(several), 5)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            together.say({})


def test_many_threads_lose_nothing():
    """server:I2"""
    said, under_way = [], threading.Lock()

    def alone(values):
        return all_of_them([values])[0]

    def all_of_them(several):
        assert under_way.acquire(blocking=False), "two messages at once"
        said.append([values["n"] for values in several])
        under_way.release()
        return [Envelope(success=True, data=values["n"]) for values in several]

    together = Together(alone, all_of_them, 7)
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda n: together.say({"n": n}).data, range(2000)))
    assert answers == list(range(2000))
    assert sorted(each for several in said for each in several) == answers
    assert max(map(len, said)) <= 7
