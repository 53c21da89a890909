"""Talking to a server: work is asked for once, updates arrive, commands are obeyed, faults are survived."""

from __future__ import annotations

import json
import threading
import time
from email.utils import formatdate

import pytest
from attrs import evolve

from pilot_core.builtin.panda import Panda, PandaOptions
from pilot_core.builtin.panda.dialects import KNOWN
from pilot_core.builtin.panda.talking import REMEMBERED
from pilot_core.config.layers import Schema
from pilot_core.config.schema import Budgets
from pilot_core.model.payload import Outcome, Usage
from pilot_core.model.queue import Queue, Resources
from pilot_core.model.records import pack, unpack
from pilot_core.sdk import FAILED, FINISHED, RUNNING, STAGE_IN, Code, Letter, PilotError, Update
from pilot_core.sdk.node import Cpu, NodeFacts
from pilot_core.sdk.wire import BadMessage
from pilot_core.testing.contracts.drivers import CommunicatorContract

ACQUIRE, UPDATE = "/api/v1/pilot/acquire_jobs", "/api/v1/pilot/update_job"
NOON = 1_788_264_000.0
TROUBLE = {"success": True, "message": "", "data": {"StatusCode": 30, "ErrorDiag": "Database error"}}
FREE = Resources(cores=8, memory_b=16 * 10**9, disk_b=40 * 10**9)


def ask(talker, queue=None, free=FREE):
    return talker.acquire(talker.request_fields(queue or Queue(name="Q"), free))


def take(talker, panda, wire_job, **changes):
    panda.waiting.append(wire_job(**changes))
    (raw,) = ask(talker).jobs
    return talker.read(raw)


def tell(talker, job, phase=RUNNING, **changes):
    final = phase in (FINISHED, FAILED)
    error = (PilotError(Code.PAYLOADEXECUTIONFAILURE, "exit code 3"),) if phase == FAILED else ()
    job = evolve(job, phase=phase, errors=error, times={RUNNING: NOON})
    return talker.compose(Update(job=job, final=final, at=NOON + 60, node="host", **changes))


def refused(call, *args):
    with pytest.raises(PilotError) as raised:
        call(*args)
    return raised.value


# --- getting jobs -----------------------------------------------------------------------------------------------------


def test_a_job_is_asked_for_and_taken(talker, panda, wire_job):
    """server:J-01 (the request), server:J-07 (a), server:J-21, server:M-06"""
    talk = talker(worker_id=987654, harvester_id="hv", slot="slot1_3", computing_element="c" * 200)
    assert take(talk, panda, wire_job).id == "7100000001"
    (asked,) = panda.said(ACQUIRE)
    assert asked["site_name"] == "Q"
    assert (asked["memory"], asked["disk_space"], asked["worker_id"]) == (16000, 40000, 987654)
    assert (asked["node"], asked["n_jobs"], asked["timeout"]) == ("slot1_3@wn17.example.org", 1, 60)
    assert asked["computing_element"] == "c" * 128
    assert panda.headers[0]["User-Agent"].startswith("pilot/")


def test_what_started_the_pilot_is_known_from_its_environment():
    """server:J-01 (text of the environment becomes a number)"""
    environ = {"HARVESTER_WORKER_ID": "987654", "HARVESTER_ID": "hv", "PANDA_JSID": "js", "_CONDOR_SLOT": "slot1"}
    options = Schema([PandaOptions]).merge(Schema([PandaOptions]).environment(environ)).of(PandaOptions)
    told = (options.worker_id, options.harvester_id, options.scheduler_id, options.slot)
    assert told == (987654, "hv", "js", "slot1")


def test_every_request_shows_the_token_and_in_whose_name(talker, panda, wire_job):
    """server:A-01 (the headers), server:T-01"""
    talk = talker()
    talk.send(tell(talk, take(talk, panda, wire_job)))
    assert len(panda.headers) == 2
    for headers in panda.headers:
        assert headers["Authorization"] == "Bearer sesame-open-now"
        assert headers["Origin"] == "vo.example:pilot"
        assert headers["Content-Type"] == headers["Accept"] == "application/json"
        assert "Transfer-Encoding" not in headers


def test_the_resource_is_what_the_server_calls_the_queue(talker):
    fields = talker().request_fields(Queue(name="Q", params={"panda_resource": "R"}), Resources(cores=1))
    assert (fields["site_name"], fields["computing_element"]) == ("R", "Q")
    assert not {"memory", "disk_space"} & fields.keys()


@pytest.mark.parametrize(("label", "sent"), [("managed", "test"), ("user", "test"), ("ptest", "ptest")])
def test_a_queue_in_test_mode_gets_test_jobs(talker, label, sent):
    """server:J-17"""
    talk = talker(label=label)
    assert talk.request_fields(Queue(name="Q", status="test"), FREE)["prod_source_label"] == sent
    assert talk.request_fields(Queue(name="Q"), FREE)["prod_source_label"] == label


def test_no_job_is_asked_for_again_after_a_while_with_jitter(talker, panda):
    """server:J-02 (the waiting)"""
    talk = talker()
    offers = [ask(talk) for _ in range(20)]
    assert all((offer.jobs, offer.over) == ((), False) for offer in offers)
    assert all(60 <= offer.again_s <= 180 for offer in offers)
    assert len({offer.again_s for offer in offers}) > 10
    assert panda.said(UPDATE) == []


@pytest.mark.parametrize(("told", "shortest", "longest"), [
    ("3", 3, 3), ("0", 1, 1), ("601", 600, 600), ("9" * 400, 600, 600),
    ("Sun, 06 Nov 1994 08:49:37 GMT", 1, 1), ("in five minutes", 200, 300), ("Fri, 31 Dec 9999 23:59:59 GMT", 600, 600),
    ("soon", 60, 180), ("-5", 60, 180), ("1.5", 60, 180), ("Fri, 99 Xxx 2026 99:99:99 GMT", 60, 180),
])  # fmt: skip
def test_a_server_may_say_when_to_ask_again_and_is_never_asked_all_the_time(talker, panda, told, shortest, longest):
    """server:I9 (Retry-After)"""
    told = formatdate(time.time() + 300, usegmt=True) if told == "in five minutes" else told
    none = {"success": False, "message": "No jobs in PanDA", "data": None}
    panda.fail(none, headers={"Retry-After": told})
    assert shortest <= ask(talker()).again_s <= longest


def test_an_empty_list_is_no_job(talker, panda):
    """server:J-09"""
    panda.fail({"success": True, "message": "", "data": {"StatusCode": 0, "jobs": []}})
    offer = ask(talker())
    assert (offer.jobs, offer.again_s >= 60) == ((), True)


def test_several_jobs_come_in_one_answer(talker, panda, wire_job):
    """server:J-08 (the answer)"""
    panda.waiting.extend(wire_job(PandaID=number) for number in (1, 2))
    talk = talker(n_jobs=4)
    assert [talk.read(raw).id for raw in ask(talk).jobs] == ["1", "2"]


@pytest.mark.parametrize("message", ["Timed out", "Database error"])
def test_a_server_in_trouble_is_asked_again_later(talker, panda, message):
    """server:J-04"""
    panda.fail({"success": False, "message": message, "data": None})
    error = refused(ask, talker())
    assert error.code is Code.COMMUNICATIONFAILURE
    assert "permanent" not in error.facts


def test_who_waits_for_a_slow_server_is_not_left_behind_meanwhile():
    """server:T-09 (one that is said again with a newer token has its time, too)"""
    request_s, budgets = PandaOptions().request_s, Budgets()
    assert request_s == 120
    assert 2 * request_s < min(budgets.ask_s, budgets.report_s)


@pytest.mark.parametrize("status", [200, 500])
def test_a_request_for_work_is_never_repeated_once_it_was_sent(talker, panda, wire_job, status):
    """server:J-05 (no immediate repetition), server:T-06 (a), server:I9"""
    panda.waiting.append(wire_job())
    panda.fail(b"oops", status, cut=status == 200, after=True)
    assert refused(ask, talker()).code is Code.COMMUNICATIONFAILURE
    assert len(panda.said(ACQUIRE)) == 1


BODIES = [b"<html>", b"", b'{"success": true, "da', b"7", b"[]", b'{"success": true, "data": [1]}', b"{}"]


@pytest.mark.parametrize("body", BODIES)
def test_an_answer_that_makes_no_sense_passes(talker, panda, wire_job, body):
    """server:T-04"""
    talk = talker()
    job = take(talk, panda, wire_job)
    for call in (lambda: ask(talk), lambda: talk.send(tell(talk, job))):
        panda.fail(body)
        error = refused(call)
        assert error.code is Code.COMMUNICATIONFAILURE
        assert "permanent" not in error.facts


def test_a_job_that_the_server_could_not_complete_is_not_begun_the_others_are(talker, panda, wire_job):
    """server:J-10"""
    panda.waiting.extend([wire_job(PandaID=1, StatusCode=30), wire_job(PandaID=2)])
    talk = talker(n_jobs=2)
    assert [talk.read(raw).id for raw in ask(talk).jobs] == ["2"]


def test_what_is_no_job_at_all_is_counted_in_the_log_and_the_others_are_taken(talker, panda, wire_job, caplog):
    jobs = ["half a job", wire_job(PandaID=2), None, ["PandaID", 3]]
    panda.fail({"success": True, "message": "", "data": {"StatusCode": 0, "jobs": jobs}})
    assert [raw["PandaID"] for raw in ask(talker()).jobs] == [2]
    assert "3 of 4 jobs that were offered are no objects, and cannot even be refused" in caplog.text


def test_a_job_without_an_id_is_not_begun_and_not_reported(talker, panda, wire_job):
    """server:J-11"""
    panda.waiting.append({name: value for name, value in wire_job().items() if name != "PandaID"})
    talk = talker()
    (raw,) = ask(talk).jobs
    with pytest.raises(BadMessage, match="PandaID"):
        talk.read(raw)
    assert talk.refuse(raw, PilotError(Code.CONVERSIONFAILURE)) is None


def test_a_job_that_is_offered_again_is_not_begun_again(talker, panda, wire_job):
    """server:J-12, server:J-13"""
    talk = talker()
    job = take(talk, panda, wire_job)
    panda.waiting.append(wire_job())
    assert ask(talk).jobs == ()
    assert panda.said(UPDATE) == []
    talk.send(tell(talk, job, FINISHED))
    panda.waiting.append(wire_job())
    assert ask(talk).jobs == ()
    assert [body["job_status"] for body in panda.said(UPDATE)] == ["finished", "finished"]
    assert take(talk, panda, wire_job, attemptNr=2).attempt == 2


def test_an_end_that_cannot_be_told_again_keeps_no_other_job_away(talker, panda, wire_job):
    talk = talker(n_jobs=2)
    talk.send(tell(talk, take(talk, panda, wire_job, PandaID=1), FINISHED))
    panda.waiting.extend(wire_job(PandaID=number) for number in (1, 2))
    asked = talk._web.call

    def call(method, path, **how):
        if path == UPDATE:
            raise PilotError(Code.COMMUNICATIONFAILURE, "nobody is there")
        return asked(method, path, **how)

    talk._web.call = call
    assert [talk.read(raw).id for raw in ask(talk).jobs] == ["2"]


def test_what_a_server_says_beside_having_no_job_is_logged(talker, panda, caplog):
    panda.fail({"success": False, "message": "No jobs in PanDA: no queue 'Q' is served here", "data": None})
    assert ask(talker()).jobs == ()
    assert "no queue 'Q' is served here" in caplog.text


def test_a_field_that_the_server_does_not_know_is_left_out_from_then_on(talker, panda, wire_job, caplog):
    """server:J-14, server:U-14"""
    panda.refused = {"resource_type", "n_input_files"}
    talk = talker(resource_type="MCORE")
    job = take(talk, panda, wire_job)
    assert ask(talk).jobs == ()
    for _ in range(2):
        talk.send(tell(talk, job))
    assert ["resource_type" in body for body in panda.said(ACQUIRE)] == [True, False, False]
    assert ["n_input_files" in body for body in panda.said(UPDATE)] == [True, False, False]
    assert caplog.text.count("left out from now on") == 2


@pytest.mark.parametrize("field", ["job_output_report", "pilot_error_code"])
def test_the_last_word_is_kept_rather_than_said_without_what_matters(talker, panda, wire_job, field):
    talk = talker()
    job = take(talk, panda, wire_job)
    panda.refused = {field}
    last = tell(talk, job, FINISHED)
    failed = {**last.body, "job_status": "failed", "pilot_error_code": 1305, "job_output_report": "{}"}
    last = evolve(last, body=failed)
    for _ in range(2):
        refused(talk.send, last)
    panda.refused = set()
    talk.send(last)
    assert [field in body for body in panda.said(UPDATE)] == [True] * 3


@pytest.mark.parametrize("complaint", ["Type error: int expected.", "Argument error: too many of them"])
def test_a_complaint_that_names_no_field_leaves_what_every_server_knows(talker, panda, wire_job, complaint):
    """server:U-14 (no field is named)"""
    talk = talker()
    job = take(talk, panda, wire_job)
    panda.fail({"success": False, "message": complaint, "data": None})
    for _ in range(2):
        talk.send(tell(talk, job))
    first, *later = panda.said(UPDATE)
    assert [body.keys() <= KNOWN["update"] for body in (first, *later)] == [False, True, True]
    assert later[0] == {name: value for name, value in first.items() if name in KNOWN["update"]}


def test_a_server_that_complains_of_what_every_server_knows_is_not_asked_for_ever(talker, panda, wire_job):
    talk = talker()
    job = take(talk, panda, wire_job)
    panda.fail({"success": False, "message": "Type error: int expected.", "data": None}, times=9)
    error = refused(talk.send, tell(talk, job, FINISHED))
    assert (error.facts["permanent"], len(panda.said(UPDATE))) == (True, 2)


def test_a_field_that_is_missing_is_not_found_by_leaving_others_out(talker, panda):
    panda.fail({"success": False, "message": "Argument error: missing a required argument: 'x'", "data": None})
    assert refused(ask, talker()).facts["permanent"] is True
    assert len(panda.said(ACQUIRE)) == 1


def test_the_time_that_is_left_is_told(talker, panda):
    """server:J-15 (the field)"""
    talk = talker()
    for left_s in (7200.4, 0.2, None):
        ask(talk, free=evolve(FREE, time_s=left_s))
    assert [body.get("remaining_time") for body in panda.said(ACQUIRE)] == [7200, 1, None]


def test_the_processors_are_told_once_they_are_known(talker, panda, wire_job, tmp_path):
    talk = talker()
    job = take(talk, panda, wire_job)
    told = [tell(talk, job).body]
    talk._node = NodeFacts(tmp_path)
    told.append(tell(talk, job).body)
    talk._node.cpu = Cpu(model="Good CPU 9", level="x86-64-v3")
    told.append(tell(talk, job).body)
    assert [body.get("cpu_consumption_unit") for body in told] == [None, None, "s+Good CPU 9+AVX2"]
    assert told[-1]["cpu_architecture_level"] == "x86_64-v3"


def test_a_field_that_nothing_works_without_is_not_left_out(talker, panda):
    panda.refused = {"site_name"}
    error = refused(ask, talker())
    assert error.facts["permanent"] is True
    assert "not supported" in error.detail
    assert len(panda.said(ACQUIRE)) == 1


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (403, b"ERROR : Token authentication failed. Signature has expired", "put a valid one into the file"),
        (403, b"ERROR : somebody is banned", "ask its operators"),
        (403, b'{"error": "no"}', "check connection.token"),
        (200, {"success": False, "message": "production or pilot role required", "data": None}, "production role"),
        (200, {"success": False, "message": "SSL secure connection is required", "data": None}, "limited proxy"),
    ],
)
def test_a_refused_identity_is_no_lack_of_work(talker, panda, status, body, says):
    """server:A-09, server:A-10, server:A-11 (the word for it; ending is the pilot's)"""
    panda.fail(body, status)
    error = refused(ask, talker())
    assert (error.code.exit_code, error.facts["permanent"]) == (68, True)
    assert says in error.detail
    assert "sesame" not in error.detail
    assert len(panda.said(ACQUIRE)) == 1


@pytest.mark.parametrize("status", [403, 404])
def test_a_server_of_another_generation_is_named_as_such(talker, panda, status):
    panda.fail(b"ERROR : method getJob is forbidden", status)
    error = refused(ask, talker(dialect="v1"))
    assert error.facts["permanent"] is True
    assert "connection.url" in error.detail


def test_a_refusal_for_good_by_its_status_says_so(talker, panda, wire_job):
    talk = talker()
    letter = tell(talk, take(talk, panda, wire_job))
    panda.fail({"success": False, "message": "invalid id", "data": {"StatusCode": 50}})
    error = refused(talk.send, letter)
    assert error.facts["permanent"] is True
    assert "status 50: invalid id" in error.detail


def test_without_a_server_there_is_nobody_to_talk_to(make):
    with pytest.raises(PilotError, match=r"connection\.url .*--url"):
        make(Panda)


# --- reporting --------------------------------------------------------------------------------------------------------


def test_a_job_is_told_of_from_its_start_to_its_end(talker, panda, wire_job):
    """server:U-01, server:D-23"""
    talk = talker()
    job = take(talk, panda, wire_job, attemptNr=0)
    for phase in (STAGE_IN, RUNNING, FINISHED):
        talk.send(tell(talk, job, phase))
    said = panda.said()
    assert [body["job_status"] for body in said] == ["starting", "running", "finished"]
    assert ["end_time" in body for body in said] == [False, False, True]
    assert {body["attempt_nr"] for body in said} == {0}
    assert panda.jobs[7100000001]["state"] == "holding"


def test_what_plugins_add_to_a_letter_is_brought_into_shape_too(talker, panda, wire_job):
    """server:I1"""
    talk = talker()
    letter = tell(talk, take(talk, panda, wire_job))
    body = {**letter.body, "n_events": 5.0, "grid": "g" * 99, "of_nobody": 1, "max_rss": float("nan"), "meta_data": ""}
    talk.send(evolve(letter, body=body))
    (said,) = panda.said()
    assert (said["n_events"], said["grid"]) == (5, "g" * 50)
    assert not {"of_nobody", "max_rss", "meta_data"} & said.keys()


def test_a_long_message_is_compressed_and_says_so(talker, panda, wire_job):
    """server:T-01 (gzip)"""
    talk = talker()
    letter = tell(talk, take(talk, panda, wire_job), FINISHED)
    talk.send(evolve(letter, body={**letter.body, "meta_data": "{" + " " * 5000 + "}"}))
    short, long = panda.headers
    assert "Content-Encoding" not in short
    assert long["Content-Encoding"] == "gzip"
    assert int(long["Content-Length"]) < 1000
    assert len(panda.said()[0]["meta_data"]) == 5002


def test_a_final_update_whose_answer_is_lost_arrives_once(talker, panda, wire_job):
    """server:F-03"""
    talk = talker()
    job = take(talk, panda, wire_job)
    letter = tell(talk, job, FINISHED)
    panda.fail(cut=True, after=True)
    with pytest.raises(PilotError):
        talk.send(letter)
    assert talk.send(letter).notes == {"commands": ["alreadydone"]}
    assert len(panda.said()) == 2


def test_a_letter_can_be_sent_by_the_next_pilot(talker, panda, wire_job):
    """server:F-05 (the letter)"""
    first, second = talker(batch_id="one"), talker(batch_id="two")
    job = take(first, panda, wire_job)
    first.send(tell(first, job, STAGE_IN))
    letter = unpack(Letter, json.loads(json.dumps(pack(tell(second, job, FINISHED)))))
    assert second.send(letter).notes == {}
    assert panda.jobs[7100000001] == {"attempt": 1, "state": "holding", "batch": "one"}


def test_database_trouble_is_not_success_and_less_is_said_in_the_end(talker, panda, wire_job):
    """server:F-07"""
    talk = talker()
    job = evolve(take(talk, panda, wire_job), usage=Usage(rss_b=1), outcome=Outcome(exit_code=0, usage=Usage(rss_b=1)))
    letter = tell(talk, job, FINISHED, log_tail="it said")
    panda.fail(TROUBLE, times=3)
    for _ in range(2):
        assert "Database error" in refused(talk.send, letter).detail
    talk.send(letter)
    full, less = panda.said()[0], panda.said()[-1]
    assert len(panda.said()) == 4
    assert full.keys() - less.keys() == {"job_metrics", "pilot_log"}
    assert panda.jobs[7100000001]["state"] == "holding"


def test_database_trouble_of_a_heartbeat_is_left_at_that(talker, panda, wire_job):
    talk = talker()
    job = take(talk, panda, wire_job)
    panda.fail(TROUBLE, times=4)
    for _ in range(4):
        assert refused(talk.send, tell(talk, job)).code is Code.COMMUNICATIONFAILURE
    assert len(panda.said()) == 4


@pytest.mark.parametrize("command", ["tobekilled", "NULL"])
def test_metadata_that_is_refused_is_left_out_once(talker, panda, wire_job, command):
    """server:F-08"""
    talk = talker()
    letter = tell(talk, take(talk, panda, wire_job), FINISHED)
    panda.commands[7100000001] = command
    panda.fail({"success": True, "message": "", "data": {"StatusCode": 30, "ErrorDiag": "Failed to add meta_data"}})
    assert talk.send(evolve(letter, body={**letter.body, "meta_data": "{}"})).stop is None
    assert ["meta_data" in body for body in panda.said()] == [True, False]


def test_nothing_follows_the_last_word(talker, panda, wire_job):
    """server:F-10 (nothing follows), server:I2"""
    talk = talker()
    job = take(talk, panda, wire_job)
    talk.send(tell(talk, job, FINISHED))
    assert talk.send(tell(talk, job)).stop is None
    assert [body["job_status"] for body in panda.said()] == ["finished"]


def test_updates_of_one_job_wait_for_each_other_those_of_another_do_not(talker, panda, wire_job):
    """server:I2, server:F-17"""
    talk = talker()
    job, other = (take(talk, panda, wire_job, PandaID=number) for number in (1, 2))
    begins, answered = threading.Event(), threading.Event()
    slow, said = talk._web.call, []

    def call(method, path, *, json, **how):
        if json["job_id"] == 1 and json["job_status"] == "running":
            said.append("running begins")
            begins.set()
            assert answered.wait(10)
            said.append("running ends")
        else:
            said.append((json["job_id"], json["job_status"]))
        return slow(method, path, json=json, **how)

    talk._web.call = call
    begun = threading.Thread(target=talk.send, args=(tell(talk, job),))
    begun.start()
    assert begins.wait(10)
    last = threading.Thread(target=talk.send, args=(tell(talk, job, FINISHED),))
    last.start()
    talk.send(tell(talk, other))
    answered.set()
    for thread in (begun, last):
        thread.join(10)
    assert said == ["running begins", (2, "running"), "running ends", (1, "finished")]


def test_little_is_remembered_of_jobs_that_are_over(talker, panda, wire_job):
    talk = talker()
    for number in range(1, REMEMBERED + 20):
        talk.send(tell(talk, take(talk, panda, wire_job, PandaID=number), FINISHED))
    assert len(talk._talks) <= REMEMBERED + 1


# --- refusing ---------------------------------------------------------------------------------------------------------


def test_a_job_that_makes_no_sense_is_reported_failed(talker, panda, wire_job):
    """server:D-09, server:D-10"""
    panda.waiting.append(wire_job(scopeOut="", inFiles="../../etc/x"))
    talk = talker()
    (raw,) = ask(talk).jobs
    with pytest.raises(BadMessage) as bad:
        talk.read(raw)
    letter = talk.refuse(raw, PilotError(Code.CONVERSIONFAILURE, str(bad.value)))
    assert (letter.final, letter.job, letter.attempt) == (True, "7100000001", 1)
    talk.send(letter)
    (said,) = panda.said()
    assert (said["job_status"], said["pilot_error_code"]) == ("failed", 1302)
    assert "scopeOut[0]" in said["pilot_error_diag"]
    assert "inFiles[0]" in said["pilot_error_diag"]
    assert not talk.give_back(raw), "a server of this kind takes no job back"


# --- commands ---------------------------------------------------------------------------------------------------------


def answer_to(talker, panda, wire_job, command, phase=RUNNING):
    talk = talker()
    job = take(talk, panda, wire_job)
    panda.fail({"success": True, "message": "", "data": {"StatusCode": 0, "command": command}})
    return talk.send(tell(talk, job, phase))


@pytest.mark.parametrize("command", ["tobekilled", "debug,tobekilled", " tobekilled , debugoff", "badattemptnr"])
@pytest.mark.parametrize("phase", [STAGE_IN, RUNNING])
def test_a_kill_wins(talker, panda, wire_job, command, phase):
    """server:C-05, server:C-07 (v1), server:C-01, server:C-15 (the order)"""
    reply = answer_to(talker, panda, wire_job, command, phase)
    assert reply.stop.code is Code.PANDAKILL
    assert reply.stop.code.number == 1144
    assert (reply.debug, reply.heartbeat_s) == (None, None)


def test_an_attempt_that_is_no_longer_ours_is_killed(talker, panda, wire_job):
    """server:C-13 (the order)"""
    talk = talker()
    job = take(talk, panda, wire_job)
    panda.jobs[7100000001]["attempt"] = 2
    assert talk.send(tell(talk, job)).stop.code is Code.PANDAKILL
    assert talk.send(tell(talk, job, FAILED)).stop is None


@pytest.mark.parametrize("command", ["NULL", None, "", "NULL,"])
def test_nothing_means_nothing(talker, panda, wire_job, command):
    """server:C-06"""
    reply = answer_to(talker, panda, wire_job, command)
    assert (reply.stop, reply.debug, reply.heartbeat_s, dict(reply.notes)) == (None, None, None, {})


@pytest.mark.parametrize("command", ["tobekilled", "alreadydone", "NULL"])
def test_whatever_answers_the_last_word_ends_it(talker, panda, wire_job, command):
    """server:F-09"""
    reply = answer_to(talker, panda, wire_job, command, FINISHED)
    assert reply.stop is None
    assert len(panda.said()) == 1


def test_a_job_that_the_server_has_closed_is_stopped(talker, panda, wire_job):
    """server:C-14"""
    stop = answer_to(talker, panda, wire_job, "alreadydone").stop
    assert stop.code is Code.PANDAKILL
    assert "the last word" in stop.detail


def test_debug_mode_begins_and_ends_by_its_own_word(talker, panda, wire_job):
    """server:C-08 (the period), server:C-09"""
    on = answer_to(talker, panda, wire_job, "debug")
    assert (on.debug, on.heartbeat_s, on.stop) == (True, 60.0, None)
    for command in ("debugoff", "debug,debugoff"):
        off = answer_to(talker, panda, wire_job, command)
        assert (off.debug, off.heartbeat_s, off.stop) == (False, 1800.0, None)


@pytest.mark.parametrize(
    ("command", "told", "heartbeat_s"),
    [
        ("NULL", 30, 30.0),
        ("NULL", 0, None),
        ("NULL", "often", None),
        ("debug", 30, 30.0),
        ("debug", 300, 60.0),
        ("debugoff", 300, 300.0),
    ],
)
def test_a_server_may_say_how_often_it_wants_to_hear(talker, panda, wire_job, command, told, heartbeat_s):
    talk = talker()
    job = take(talk, panda, wire_job)
    panda.fail({"success": True, "message": "", "data": {"StatusCode": 0, "command": command, "heartbeat": told}})
    assert talk.send(tell(talk, job)).heartbeat_s == heartbeat_s


def test_a_payload_may_be_asked_to_end_softly_and_a_kill_still_wins(talker, panda, wire_job, caplog):
    reply = answer_to(talker, panda, wire_job, "debug,softkill")
    assert (reply.soft_stop.code, reply.debug, reply.stop, reply.notes) == (Code.PREEMPTION, True, None, {})
    assert "is not obeyed" not in caplog.text
    reply = answer_to(talker, panda, wire_job, "softkill,tobekilled")
    assert (reply.soft_stop, reply.stop.code) == (None, Code.PANDAKILL)


@pytest.mark.parametrize("command", ["foo", "x" * 5000])
def test_what_is_not_known_is_logged_and_changes_nothing(talker, panda, wire_job, command, caplog):
    """server:C-12"""
    reply = answer_to(talker, panda, wire_job, command)
    assert (reply.stop, reply.debug, reply.heartbeat_s) == (None, None, None)
    assert reply.notes == {"commands": [command]}
    assert "is not obeyed" in caplog.text
    assert len(caplog.text) < 1000


@pytest.mark.parametrize("when", [RUNNING, FINISHED])
def test_a_directory_that_is_to_stay_is_noted_at_the_end(talker, panda, wire_job, when):
    """server:C-16 (the note of it)"""
    talk = talker()
    job = take(talk, panda, wire_job)
    for phase in (RUNNING, FINISHED):
        panda.commands[7100000001] = "debug,nocleanup" if phase == when else "NULL"
        reply = talk.send(tell(talk, job, phase))
        assert reply.notes.get("keep", False) is (phase == FINISHED)
    panda.commands.clear()
    assert not talk.send(tell(talk, take(talk, panda, wire_job, PandaID=2), FINISHED)).notes


@pytest.mark.parametrize("command", [7, ["tobekilled"], {"a": 1}])
def test_a_command_that_is_no_text_is_not_obeyed(talker, panda, wire_job, command):
    """server:C-12"""
    assert answer_to(talker, panda, wire_job, command).stop is None


# --- the contract -----------------------------------------------------------------------------------------------------


class TestPanda(CommunicatorContract):
    driver = Panda

    @pytest.fixture(autouse=True)
    def _begin(self, panda, wire_job):
        self.options = {"connection.url": [panda.url]}
        self._raw = wire_job()
        panda.waiting.append(wire_job())
        self.made = self.make()
        yield
        self.made._web.close()

    def raw_job(self):
        return self._raw
