"""Jobs that somebody left in a file, the numbers of those that were taken, and what a request says after the first."""

from __future__ import annotations

import json

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
