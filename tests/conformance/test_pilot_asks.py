"""How a pilot gets its work from a server that is as strict as PanDA's and goes wrong in every way that servers do."""

from __future__ import annotations

import re
import threading

import pytest

from pilot_core.errors import PilotError
from pilot_core.testing.server import Fault
from pilot_core.testing.strict import ORIGIN

from .ids import scenario
from .stage import ACQUIRE, JOB, NO_IDENTITY, NO_SERVER, NO_WORK, NONE, UPDATE, Stage, in_words

# --- transport and encoding -------------------------------------------------------------------------------------------


@scenario("T-01", "T-03", "M-06", "A-01")
def test_what_a_pilot_sends(stage, pilot):
    stage.submit(JOB)
    run = pilot(**{"connection.origin": ORIGIN, "panda.dialect": "v1"})
    assert run.ending.finished == 1, run.story()
    for each in stage.said(ACQUIRE["v1"]) + stage.said(UPDATE["v1"]):
        headers = each.headers
        assert (headers["content-type"], headers["accept"]) == ("application/json", "application/json")
        assert int(headers["content-length"]) == len(each.raw)
        assert each.packed == (headers.get("content-encoding") == "gzip")
        assert (headers["authorization"][:7], headers["origin"]) == ("Bearer ", ORIGIN)
        assert re.fullmatch(r"pilot/\S+.*", headers["user-agent"])


@scenario("T-02", "C-07")
def test_what_a_pilot_sends_to_an_older_server(stage, pilot):
    stage.submit(JOB)
    run = pilot(**{"panda.dialect": "legacy"})
    assert run.ending.finished == 1, run.story()
    assert not stage.said(ACQUIRE["v1"])
    for each in stage.said(ACQUIRE["legacy"]) + stage.said(UPDATE["legacy"]):
        assert each.packed == (each.headers["content-type"] == "application/json")
        assert each.headers["accept"] == "application/json"


@scenario("T-04")
@pytest.mark.parametrize("body", [b"<html>busy</html>", b"", b'{"success": tr', b"7", in_words("v1", data=[])])
def test_an_answer_that_makes_no_sense_passes(stage, pilot, body):
    stage.submit(JOB)
    stage.say(ACQUIRE["v1"], body)
    stage.say(UPDATE["v1"], body)
    run = pilot()
    assert run.ending.finished == 1, run.story()


@scenario("T-05", "T-06")
@pytest.mark.parametrize("status", [500, 503])
def test_a_server_that_is_busy_disturbs_nothing(stage, pilot, dialect, status):
    stage.submit(JOB)
    stage.refuse(ACQUIRE[dialect], status)
    stage.refuse(UPDATE[dialect], status, times=2)
    run = pilot(**{"panda.dialect": dialect})
    assert (run.ending.finished, [job["state"] for job in stage.jobs()]) == (1, ["finished"]), run.story()
    (other,) = {"v1", "legacy"} - {dialect}
    assert not stage.said(ACQUIRE[other])


@scenario("T-07")
@pytest.mark.parametrize("spoken", ["legacy", "v1"])
def test_the_generation_is_found_out_once(tmp_path, pilot, spoken):
    with Stage(tmp_path / "other", config={"dialects": [spoken]}, strict=True) as other:
        other.submit(JOB)
        run = pilot(on=other)
        assert run.ending.finished == 1, run.story()
        assert len(other.said(ACQUIRE["v1"])) == 1
        assert other.states(spoken)[-1] == "finished"
        assert not [each for each in other.said(UPDATE["v1"]) if spoken == "legacy"]
    other.check()


@scenario("T-07")
@pytest.mark.parametrize(("spoken", "fixed"), [("legacy", "v1"), ("v1", "legacy")])
def test_a_generation_that_is_fixed_is_kept_to(tmp_path, pilot, spoken, fixed):
    with Stage(tmp_path / "other", config={"dialects": [spoken]}, strict=True) as other:
        other.submit(JOB)
        run = pilot(on=other, **{"panda.dialect": fixed})
        assert run.ending.error is not None
        assert not other.said(ACQUIRE[spoken])
        assert [job["state"] for job in other.jobs()] == ["activated"]


@scenario("T-09")
def test_a_server_that_never_answers_is_waited_for_no_longer_than_told(stage, pilot):
    stage.submit(JOB)
    never = threading.Event()
    stage.hold(UPDATE["v1"], never, 60)
    try:
        run = pilot(**{"panda.request_s": 0.3})
    finally:
        never.set()
    assert run.ending.finished == 1, run.story()


@scenario("T-10", "J-06")
def test_a_dead_address_is_passed_over(stage, pilot):
    stage.submit(JOB)
    run = pilot(**{"connection.url": list(stage.dead_first_address())})
    assert run.ending.finished == 1, run.story()


@scenario("T-12")
def test_nothing_is_told_to_a_server_that_is_another(stage, pilot):
    with pytest.raises(PilotError, match="certificate"):
        pilot(**{"connection.fingerprint": "sha256:" + "ab" * 32})
    assert not stage.all
    assert not stage.heard


@scenario("T-14")
def test_nobody_is_followed_elsewhere_with_a_token(stage, pilot, tmp_path):
    with Stage(tmp_path / "elsewhere", strict=True) as other:
        stage.submit(JOB)
        stage.say(ACQUIRE["v1"], status=302, Location=other.url + ACQUIRE["v1"])
        run = pilot()
        assert run.ending.finished == 1, run.story()
        assert not other.heard


# --- who asks ---------------------------------------------------------------------------------------------------------

REFUSED = [
    ("v1", {"success": False, "message": "production or pilot role required", "data": None}, 200, "role"),
    ("v1", {"success": False, "message": "SSL secure connection is required", "data": None}, 200, "limited proxy"),
    ("v1", b"ERROR : somebody is banned", 403, "banned"),
    ("v1", b"ERROR : Token authentication failed. it is expired", 403, "expired"),
    ("legacy", {"StatusCode": 60, "errorDialog": "no production/pilot role in VOMS FQANs"}, 200, "role"),
]


@scenario("A-09", "A-10", "A-11", "I8")
@pytest.mark.parametrize(("spoken", "body", "status", "says"), REFUSED)
def test_an_identity_that_is_refused_ends_the_pilot_as_that(stage, pilot, spoken, body, status, says):
    stage.say(ACQUIRE[spoken], body, status, times=9)
    run = pilot(**{"panda.dialect": spoken})
    assert run.ending.exit_code == NO_IDENTITY, run.story()
    assert says in str(run.ending.error)
    assert not stage.said(UPDATE[spoken])


@scenario("A-11")
def test_who_is_banned_does_not_ask_again(stage, pilot):
    stage.say(ACQUIRE["v1"], b"ERROR : somebody is banned", 403, times=9)
    pilot()
    assert len(stage.said(ACQUIRE["v1"])) == 1


@scenario("I6")
def test_the_token_is_in_no_log(stage, pilot):
    stage.submit(JOB)
    run = pilot()
    assert stage.token().read_text().strip() not in run.story()


# --- getting jobs -----------------------------------------------------------------------------------------------------


@scenario("J-01", "J-21")
def test_what_is_asked_for(stage, pilot):
    stage.submit(JOB)
    run = pilot(**{"panda.worker_id": 987, "panda.harvester_id": "h", "panda.node": "n" * 300})
    assert run.ending.finished == 1, run.story()
    asked = stage.said(ACQUIRE["v1"])[0].body
    assert {type(asked[name]) for name in ("memory", "worker_id", "timeout")} == {int}
    assert (len(asked["node"]), asked["timeout"] > 10) == (128, True)


@scenario("J-02", "I8")
def test_no_job_is_an_end_of_its_own(stage, pilot, dialect):
    run = pilot(**{"panda.dialect": dialect, "pilot.empty_answers": 2})
    assert (run.ending.exit_code, len(stage.said(ACQUIRE[dialect]))) == (NO_WORK, 2), run.story()
    assert not stage.said(UPDATE[dialect])


@scenario("J-03", "J-09")
@pytest.mark.parametrize("body", [NONE, in_words("v1", StatusCode=0, jobs=[])])
def test_a_job_that_comes_later_is_taken(stage, pilot, body):
    stage.submit(JOB)
    stage.say(ACQUIRE["v1"], body, times=3)
    run = pilot(**{"pilot.empty_answers": 9})
    assert run.ending.finished == 1, run.story()


@scenario("J-04")
@pytest.mark.parametrize(("spoken", "body"), [
    ("v1", {"success": False, "message": "Timed out", "data": None}), ("legacy", {"StatusCode": 10}),
])  # fmt: skip
def test_a_server_without_time_is_asked_again(stage, pilot, spoken, body):
    stage.submit(JOB)
    stage.say(ACQUIRE[spoken], body)
    run = pilot(**{"panda.dialect": spoken})
    assert run.ending.finished == 1, run.story()


@scenario("J-05")
def test_a_request_whose_answer_is_lost_is_not_repeated(stage, pilot, dialect):
    stage.submit(JOB, 2)
    stage.faults.next(ACQUIRE[dialect], Fault.lost_answer())
    run = pilot(**{"panda.dialect": dialect, "pilot.failed_answers": 1})
    assert len(stage.said(ACQUIRE[dialect])) == 1, run.story()
    assert run.ending.exit_code == NO_SERVER


@scenario("J-08")
def test_fewer_jobs_than_were_asked_for(stage, pilot, dialect):
    stage.submit(JOB, 2)
    run = pilot(jobs=2, **{"panda.dialect": dialect, "panda.n_jobs": 4})
    assert run.ending.finished == 2, run.story()
    assert len(stage.said(ACQUIRE[dialect])) == 1
    assert {job["state"] for job in stage.jobs()} == {"finished"}


@scenario("J-10", "J-11")
@pytest.mark.parametrize("other", [{"PandaID": 77, "attemptNr": 1, "StatusCode": 30}, {"jobName": "nameless"}])
def test_a_job_that_is_none_keeps_no_other_away(stage, pilot, other):
    stage.submit(JOB)
    stage.change(ACQUIRE["v1"], lambda answer: _beside(answer, other))
    run = pilot(**{"panda.n_jobs": 2})
    assert run.ending.finished == 1, run.story()
    assert {each.body["job_id"] for each in stage.said(UPDATE["v1"])} == {1}


def _beside(answer, other):
    answer["data"]["jobs"].insert(0, other)
    return answer


@scenario("J-14")
def test_a_name_that_the_server_does_not_know_is_said_once(stage, pilot):
    stage.submit(JOB, 2)
    known = "got an unexpected keyword argument 'computing_element'"
    stage.say(ACQUIRE["v1"], {"success": False, "message": f"Argument error: X.acquire_jobs() {known}", "data": None})
    run = pilot(jobs=2)
    assert run.ending.finished == 2, run.story()
    names = ["computing_element" in each.body for each in stage.said(ACQUIRE["v1"])]
    assert names == [True] + [False] * (len(names) - 1)
    assert len(names) > 1


# --- elsewhere --------------------------------------------------------------------------------------------------------


@scenario("M-10", "I8")
def test_without_a_network_the_pilot_says_so(stage, pilot):
    dead, _ = stage.dead_first_address()
    with pytest.raises(PilotError) as failed:
        pilot(**{"connection.url": [dead]})
    assert failed.value.code.exit_code == NO_SERVER
