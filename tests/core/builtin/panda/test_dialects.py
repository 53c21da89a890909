"""Both generations of servers: what an old one is told, how its answers are read, how it is found out which it is."""

from __future__ import annotations

import json
from urllib.parse import urlencode

import pytest
from attrs import evolve

from pilot_core.builtin.panda.answers import read_old_envelope
from pilot_core.builtin.panda.dialects import named_as_before
from pilot_core.builtin.panda.words import ASKS, TELLS
from pilot_core.model.queue import Queue, Resources
from pilot_core.sdk import FINISHED, RUNNING, STAGE_IN, Code, Outcome, PilotError, Update, Usage
from pilot_core.sdk.web import Answer

ACQUIRE, UPDATE = "/api/v1/pilot/acquire_jobs", "/api/v1/pilot/update_job"
OLD_ACQUIRE, OLD_UPDATE = "/server/panda/getJob", "/server/panda/updateJob"
FREE = Resources(cores=8, memory_b=16 * 10**9, disk_b=40 * 10**9)
USED = Usage(rss_b=5 * 2**20, rss_peak_b=9 * 2**20, cpu_user_s=3600.4, read_b=10**15, written_b=7)


def ask(talk):
    return talk.acquire(talk.request_fields(Queue(name="Q"), FREE))


def take(talk, panda, raw):
    panda.waiting.append(raw)
    (given,) = ask(talk).jobs
    return talk.read(given)


def tell(talk, job, phase=RUNNING, **changes):
    job = evolve(job, phase=phase, times={RUNNING: 1_788_264_000.0})
    return talk.compose(Update(job=job, final=phase == FINISHED, at=1_788_264_060.0, node="host", **changes))


def refused(call, *args):
    with pytest.raises(PilotError) as raised:
        call(*args)
    return raised.value


def paths(panda):
    return [path for path, _ in panda.requests]


# --- an old server ----------------------------------------------------------------------------------------------------


def test_an_old_server_is_told_everything_by_its_own_names(talker, panda, wire_job):
    """server:T-02, server:C-07 (legacy), server:J-01, server:U-01"""
    panda.speaks = {"legacy"}
    talk = talker(dialect="legacy", worker_id=7, harvester_id="hv", resource_type="MCORE", scheduler_id="s")
    job = evolve(take(talk, panda, wire_job()), usage=USED)
    talk.send(tell(talk, job, STAGE_IN))
    panda.commands[7100000001] = "tobekilled"
    assert talk.send(tell(talk, job)).stop.code is Code.PANDAKILL
    talk.send(tell(talk, evolve(job, outcome=Outcome(exit_code=0, usage=USED)), FINISHED, log_tail="it said: é=&"))
    assert paths(panda) == [OLD_ACQUIRE, OLD_UPDATE, OLD_UPDATE, OLD_UPDATE]
    (asked,), (_, running, final) = panda.said(OLD_ACQUIRE), panda.said(OLD_UPDATE)
    assert (asked["siteName"], asked["mem"], asked["nJobs"], asked["worker_id"]) == ("Q", "16000", "1", "7")
    assert (running["state"], running["maxRSS"], running["totRBYTES"]) == ("running", "9216", str(10**15))
    assert (final["state"], final["attemptNr"], final["pilotLog"]) == ("finished", "1", "it said: é=&")
    assert panda.jobs[7100000001]["state"] == "holding"
    assert all(headers["Accept"] == "application/json" for headers in panda.headers)


def test_every_field_has_a_name_of_old(panda):
    """The server's own table knows each; it was written from the same facts by another road."""
    for words, path in ((ASKS, OLD_ACQUIRE), (TELLS, OLD_UPDATE)):
        named = named_as_before(dict.fromkeys(words, 1))
        assert len(named) == len(words)
        assert panda.old_names(path) >= named.keys()


@pytest.mark.parametrize("shape", ["jobs", "flat", "form"])
def test_a_job_is_the_same_however_it_was_answered(talker, panda, wire_job, shape):
    """server:J-07 (b), (c), (d)"""
    panda.speaks, panda.shape = {"legacy"}, shape
    job = take(talker(dialect="legacy"), panda, wire_job())
    assert evolve(job, origin="") == evolve(take(talker(dialect="v1"), _both(panda), wire_job()), origin="")


def _both(panda):
    panda.speaks = {"v1", "legacy"}
    return panda


def test_several_jobs_of_an_old_server(talker, panda, wire_job):
    """server:J-08 (the answer)"""
    panda.speaks = {"legacy"}
    panda.waiting.extend(wire_job(PandaID=number) for number in (1, 2))
    talk = talker(dialect="legacy", n_jobs=4)
    assert [talk.read(raw).id for raw in ask(talk).jobs] == ["1", "2"]


def test_an_old_server_without_work_is_asked_again_later(talker, panda, caplog):
    """server:J-02 (legacy)"""
    panda.speaks = {"legacy"}
    offer = ask(talker(dialect="legacy"))
    assert (offer.jobs, 60 <= offer.again_s <= 180) == ((), True)
    assert not caplog.text


@pytest.mark.parametrize(
    ("body", "code", "permanent"),
    [
        ({"StatusCode": 10, "errorDialog": "database timeout"}, Code.COMMUNICATIONFAILURE, None),
        ({"StatusCode": 30, "errorDialog": "failed"}, Code.COMMUNICATIONFAILURE, None),
        ({"StatusCode": 60, "errorDialog": ""}, Code.NOPROXY, True),
        (b"StatusCode=60&errorDialog=no", Code.NOPROXY, True),
        ({"StatusCode": 70, "ErrorDialog": "no"}, Code.COMMUNICATIONFAILURE, True),
        (b"production or pilot role required", Code.NOPROXY, True),
        (b"<html>", Code.COMMUNICATIONFAILURE, None),
        ([True, []], Code.COMMUNICATIONFAILURE, None),
        ({"StatusCode": 0, "jobs": "[{"}, Code.COMMUNICATIONFAILURE, None),
    ],
)
def test_what_an_old_server_refuses_means_what_it_means(talker, panda, body, code, permanent):
    """server:A-09 (legacy), server:J-04 (legacy), server:T-04 (legacy)"""
    panda.fail(body)
    error = refused(ask, talker(dialect="legacy"))
    assert (error.code, error.facts.get("permanent")) == (code, permanent)


def test_what_is_written_as_a_form_is_read_like_json():
    told = {"StatusCode": 0, "command": "debug,tobekilled", "empty": "", "jobs": [{"PandaID": 1}]}
    written = [json.dumps(told), urlencode({**told, "jobs": json.dumps(told["jobs"])})]
    as_json, as_form = (read_old_envelope(Answer(200, {}, text.encode())) for text in written)
    assert as_json.inner == as_form.inner
    assert (as_json.success, as_json.status, as_json.inner["command"]) == (True, 0, "debug,tobekilled")


# --- finding out ------------------------------------------------------------------------------------------------------


def test_a_server_without_the_api_is_spoken_to_as_of_old_from_then_on(talker, panda, wire_job, caplog):
    """server:T-07 (a)"""
    panda.speaks = {"legacy"}
    talk = talker()
    talk.send(tell(talk, take(talk, panda, wire_job())))
    assert paths(panda) == [ACQUIRE, OLD_ACQUIRE, OLD_UPDATE]
    assert caplog.text.count("spoken to in legacy from now on") == 1
    assert [each.name for each in talk._speech.dialects] == ["legacy", "v1"]


def test_a_server_that_was_renewed_meanwhile_is_spoken_to_anew(talker, panda, wire_job):
    """server:T-07 (b)"""
    panda.speaks = {"legacy"}
    talk = talker()
    job = take(talk, panda, wire_job())
    panda.speaks = {"v1"}
    talk.send(tell(talk, job))
    talk.send(tell(talk, job))
    assert paths(panda) == [ACQUIRE, OLD_ACQUIRE, OLD_UPDATE, UPDATE, UPDATE]


def test_a_server_that_speaks_neither_is_told_so_once(talker, panda):
    panda.speaks = set()
    error = refused(ask, talker())
    assert paths(panda) == [ACQUIRE, OLD_ACQUIRE, ACQUIRE]
    assert (error.code, error.facts["permanent"]) == (Code.BADQUEUECONFIGURATION, True)


@pytest.mark.parametrize(("dialect", "speaks"), [("v1", "legacy"), ("legacy", "v1")])
def test_a_dialect_that_was_chosen_stays(talker, panda, dialect, speaks):
    """server:T-07 (a fixed dialect)"""
    panda.speaks = {speaks}
    error = refused(ask, talker(dialect=dialect))
    assert (error.code, error.facts["permanent"]) == (Code.BADQUEUECONFIGURATION, True)
    assert "panda.dialect" in error.detail
    assert len(panda.requests) == 1


@pytest.mark.parametrize("status", [500, 502, 503])
def test_no_trouble_changes_the_dialect(talker, panda, wire_job, status):
    """server:T-06 (the dialect), server:T-05"""
    panda.fail(b"oops", status)
    talk = talker()
    refused(ask, talk)
    panda.fail(cut=True)
    refused(ask, talk)
    panda.fail({"success": False, "message": "Timed out", "data": None})
    refused(ask, talk)
    assert [each.name for each in talk._speech.dialects] == ["v1"]
    take(talk, panda, wire_job())
    assert set(paths(panda)) == {ACQUIRE}


def test_a_server_that_spoke_the_first_version_is_not_taken_for_an_old_one(talker, panda, wire_job):
    talk = talker()
    job = take(talk, panda, wire_job())
    panda.fail(b"Not Found", 404)
    refused(talk.send, tell(talk, job))
    talk.send(tell(talk, job))
    assert OLD_UPDATE not in paths(panda)


def test_a_letter_for_one_generation_can_be_sent_to_the_other(talker, panda, wire_job):
    panda.speaks = {"legacy"}
    old = talker(dialect="legacy")
    letter = tell(old, take(old, panda, wire_job()), FINISHED)
    _both(panda)
    talker(dialect="v1").send(letter)
    assert panda.said(UPDATE) == [dict(letter.body)]
    assert panda.jobs[7100000001]["state"] == "holding"
