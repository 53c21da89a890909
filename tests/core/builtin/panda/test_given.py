"""Jobs that somebody left in a file, the numbers of those that were taken, and what a request says after the first."""

from __future__ import annotations

import json
import os

import pytest

from pilot_core.builtin.panda.given import Given, note
from pilot_core.sdk import Code, PilotError, Queue, Resources

FREE = Resources(cores=1)


def test_a_file_is_read_once_and_put_aside(tmp_path):
    path = tmp_path / "jobs"
    path.write_text(json.dumps([{"PandaID": 1}, {"PandaID": 2}]))
    given = Given(path)
    assert [raw["PandaID"] for raw in given.jobs()] == [1, 2]
    assert given.jobs() == ()
    for number in (1, 2):
        given.taken({"PandaID": number})
    assert [each.name for each in tmp_path.iterdir()] == ["jobs.taken.1"]


def test_a_file_that_is_no_such_file_stays(tmp_path):
    (tmp_path / "jobs").write_text("{")
    assert Given(tmp_path / "none").jobs() == ()
    with pytest.raises(PilotError, match="it was left as it is") as refused:
        Given(tmp_path / "jobs").jobs()
    assert refused.value.code is Code.CONVERSIONFAILURE
    assert (tmp_path / "jobs").read_text() == "{"


def test_a_file_that_is_waited_for_is_read_when_it_is_whole(tmp_path):
    path = tmp_path / "jobs"
    given = Given(path, 1e6)
    assert (given.offer().jobs, given.offer().stay) == ((), True)
    path.write_text("PandaID=1&trans")
    assert (given.offer().jobs, given.offer().stay) == ((), True)
    os.utime(path, (1, 1))
    offer = given.offer()
    assert ([raw["PandaID"] for raw in offer.jobs], offer.over) == (["1"], True)
    assert (given.offer().jobs, given.offer().over) == ((), True)


def test_a_file_that_nobody_brings_is_told_of(tmp_path):
    with pytest.raises(PilotError, match=r"nobody put jobs into .*jobs within 1e-09 s") as none:
        Given(tmp_path / "jobs", 1e-9, began=-1.0).offer()
    assert (none.value.code, none.value.facts["permanent"]) == (Code.NOJOBSINPANDA, True)


def test_a_file_that_is_not_waited_for_leaves_the_rest_to_the_server(tmp_path):
    assert Given(tmp_path / "jobs").offer() is None


def test_numbers_are_added_to_a_file(tmp_path, caplog):
    for number in (1, 2):
        note(tmp_path / "ids", {"PandaID": number})
    note(None, {"PandaID": 3})
    note(tmp_path / "no" / "ids", {"PandaID": 4})
    assert (tmp_path / "ids").read_text() == "1\n2\n"
    assert "job 4 could not be noted" in caplog.text


def test_jobs_of_the_same_task_are_asked_for_where_that_is_wanted(talker):
    """pilot:J05"""
    for wanted, asked in ((True, 9), (False, None)):
        talk = talker(same_task=wanted)
        assert "task_id" not in talk.request_fields(Queue(name="Q"), FREE)
        talk.taken({"PandaID": 1, "taskID": "9"})
        assert talk.request_fields(Queue(name="Q"), FREE).get("task_id") == asked


def test_jobs_of_a_type_are_asked_for(talker):
    assert talker(job_type="user").request_fields(Queue(name="Q"), FREE)["job_type"] == "user"


@pytest.mark.parametrize("told", [True, False])
def test_the_worker_is_told_of_if_that_is_wanted(talker, panda, told):
    talker(harvester_id="h", worker_id=5, worker_status=told).ended()
    assert any("orker" in path for path, _ in panda.requests) is told
