"""How a pilot tells such a server of its jobs, and what it does when it is told something."""

from __future__ import annotations

import json
import re
import threading
from types import SimpleNamespace

import pytest

from pilot_core.sdk import Patch, hookimpl
from pilot_core.testing.fakes import Payload
from pilot_core.testing.server import Fault

from .ids import scenario
from .stage import HANGS, JOB, UPDATE, ends, last, runs, told

MADE_TWO = Payload(files={"out.txt": b"made\n", "z.txt": b"z\n"})
MOMENT = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")


# --- heartbeats -------------------------------------------------------------------------------------------------------


@scenario("U-01", "U-06", "F-01", "I1", "I2", "I3", "I4")
def test_the_course_of_a_job(stage, pilot, dialect):
    stage.submit(JOB)
    run = pilot(**{"panda.dialect": dialect})
    assert stage.states(dialect) == ["starting", "running", "finished"], run.story()
    bodies = [each.body for each in stage.said(UPDATE[dialect])]
    end, start = ("end_time", "start_time") if dialect == "v1" else ("endTime", "startTime")
    assert [end in body for body in bodies] == [False] * (len(bodies) - 1) + [True]
    assert all(MOMENT.fullmatch(body[start]) for body in bodies if start in body)
    assert None not in [value for body in bodies for value in body.values()]
    assert sum(map(ends, stage.said(UPDATE[dialect]))) == 1


@scenario("U-14")
def test_a_field_that_is_refused_is_left_out_from_then_on(stage, pilot):
    stage.submit(JOB)
    wrong = "Type error: 'node' must be of type int, got str."
    stage.say(UPDATE["v1"], {"success": False, "message": wrong, "data": None})
    run = pilot()
    first, *rest = stage.said(UPDATE["v1"])
    assert run.ending.finished == 1, run.story()
    assert ("node" in first.body, {"node" in each.body for each in rest}) == (True, {False})


@scenario("U-03")
def test_that_a_payload_runs_is_told_while_it_does(stage, pilot):
    stage.submit(JOB)
    told = threading.Event()
    stage.change(UPDATE["v1"], lambda answer: told.set() or answer, when=runs)
    run = pilot(payload=Payload(does=lambda here, env: 0 if told.wait(20) else 5, files={"out.txt": b"made\n"}))
    assert run.ending.finished == 1, run.story()


@scenario("U-02")
def test_updates_go_on_while_files_are_on_their_way(stage, pilot):
    stage.submit({**JOB, "inputs": [{"source": f"{stage.url}/storage/in.dat"}]})
    three, told_so_far = threading.Event(), []

    def count(answer):
        told_so_far.append(answer)
        if len(told_so_far) == 3:
            three.set()
        return answer

    stage.change(UPDATE["v1"], count, times=99)
    stage.hold("/storage/in.dat", three, 20)
    run = pilot(**{"report.heartbeat_s": 0.1})
    assert three.is_set(), run.story()
    assert [each.state for each in stage.said(UPDATE["v1"])[:3]] == ["starting"] * 3


@scenario("T-08", "U-15", "U-16", "F-10")
def test_a_slow_answer_keeps_no_job_from_its_end_and_no_word_comes_after_the_last(stage, pilot, dialect):
    stage.submit(JOB)
    stored = stage.coming("/storage/1.1/log.tgz")
    stage.hold(UPDATE[dialect], stored, 20)
    run = pilot(**{"panda.dialect": dialect})
    assert run.ending.finished == 1, run.story()
    assert stage.said(UPDATE[dialect])[0].ordered
    assert len(stage.said(UPDATE[dialect])) <= 3
    assert stage.states(dialect)[-1] == "finished"


@scenario("U-20")
@pytest.mark.parametrize(("policy", "end"), [("stop-after", "failed"), ("finish", "finished")])
def test_a_server_that_is_lost(stage, pilot, policy, end):
    stage.submit(JOB)
    stage.refuse(UPDATE["v1"], times=999, when=lambda heard: not ends(heard))
    payload = HANGS if policy == "stop-after" else None
    run = pilot(payload=payload, **{"report.when_lost": policy, "report.lost_s": 1, "report.heartbeat_s": 0.2})
    assert last(stage)["job_status"] == end, run.story()


@scenario("U-19")
def test_a_server_that_restarts_has_no_lasting_effect(stage, pilot, dialect):
    stage.submit(JOB)
    stage.faults.next(UPDATE[dialect], Fault.lost_answer(), times=5)
    run = pilot(**{"panda.dialect": dialect})
    assert run.ending.finished == 1, run.story()
    assert [job["state"] for job in stage.jobs()] == ["finished"]


# --- the last word ----------------------------------------------------------------------------------------------------


@scenario("F-01", "R-01")
def test_what_was_stored_is_reported(stage, pilot):
    stage.submit(JOB)
    run = pilot()
    body = last(stage)
    assert body["job_status"] == "finished", run.story()
    report = json.loads(body["job_output_report"])
    assert report.keys() == {"out.txt", "log.tgz"}
    for entry in report.values():
        assert re.fullmatch(r"[0-9a-f]{8}", entry["adler32"])
        assert (type(entry["fsize"]), bool(entry["guid"]), entry["endpoint"]) == (int, True, "LOCAL")
    assert re.fullmatch(r"\d+(\|\d+){5}", body["pilot_timing"])
    assert body.get("pilot_error_code", 0) == 0


@scenario("F-02", "R-12")
def test_a_payload_that_fails(stage, pilot):
    stage.submit(JOB)
    run = pilot(payload=Payload(exit_code=3, files={"out.txt": b"half\n"}))
    body = last(stage)
    assert (body["job_status"], body["trans_exit_code"]) == ("failed", 3), run.story()
    assert body["pilot_error_code"] in (1220, 1305)
    assert json.loads(body["job_output_report"]).keys() == {"log.tgz"}


@scenario("R-04")
def test_an_output_that_is_missing(stage, pilot):
    stage.submit(JOB)
    run = pilot(payload=Payload())
    assert (last(stage)["job_status"], last(stage)["pilot_error_code"]) == ("failed", 1165), run.story()


@scenario("R-13")
def test_an_output_that_is_empty(stage, pilot):
    stage.submit(JOB)
    run = pilot(payload=Payload(files={"out.txt": b""}))
    assert (last(stage)["job_status"], last(stage)["pilot_error_code"]) == ("failed", 1191), run.story()
    assert json.loads(last(stage)["job_output_report"]).keys() == {"log.tgz"}


@scenario("F-03")
def test_a_lost_answer_to_the_last_word(stage, pilot, dialect):
    stage.submit(JOB)
    stage.change(UPDATE[dialect], lambda answer: None, when=ends)
    run = pilot(**{"panda.dialect": dialect})
    assert run.ending.finished == 1, run.story()
    assert b"alreadydone" in stage.said(UPDATE[dialect])[-1].answer


@scenario("F-05")
def test_a_last_word_that_cannot_be_told_waits_for_the_next_pilot(stage, pilot, tmp_path):
    stage.submit(JOB)
    stage.refuse(UPDATE["v1"], times=999, when=ends)
    outbox = tmp_path / "outbox"
    run = pilot(**{"report.outbox": str(outbox), "report.final_budget_s": 0.5})
    assert run.ending.finished == 1, run.story()
    (waiting,) = [path for path in outbox.rglob("*") if path.is_file() and b"finished" in path.read_bytes()]
    assert waiting.stat().st_mode & 0o077 == 0
    assert (stage.home / "storage" / "1.1" / "out.txt").exists()
    stage.relent()
    pilot(**{"report.outbox": str(outbox)})
    assert [job["state"] for job in stage.jobs()] == ["finished"]
    assert not waiting.exists()


@scenario("F-11")
@pytest.mark.parametrize(("required", "end"), [(True, "failed"), (False, "finished")])
def test_a_log_that_cannot_be_stored_is_not_in_the_last_word(stage, pilot, required, end):
    stage.submit(JOB)
    stage.faults.next("/storage/1.1/log.tgz", Fault.status(507), times=20)
    run = pilot(**{"data.log_required": required})
    assert last(stage)["job_status"] == end, run.story()
    assert "log.tgz" not in last(stage).get("job_output_report", "")
    assert "log.tgz" in last(stage)["pilot_error_diag"]


@scenario("F-01")
def test_the_time_that_it_took_to_get_the_job_is_told(stage, pilot, monkeypatch):
    stage.submit(JOB)
    late = iter(range(0, 9000, 90))
    own = SimpleNamespace(monotonic=lambda: float(next(late)))
    monkeypatch.setattr("pilot_core.builtin.panda.talking.time", own)
    run = pilot()
    assert last(stage)["pilot_timing"].split("|")[0] == "90", run.story()


class Reports:
    """A plugin by which a payload's report goes into every update."""

    @staticmethod
    @hookimpl
    def pilot_report_fields(job, final):
        return [Patch.set("meta_data", '{"files": {}}')]


@scenario("R-10")
@pytest.mark.parametrize("exit_code", [0, 3])
def test_a_payloads_report_is_told_once_and_of_no_failed_job(stage, pilot, exit_code):
    """Whatever a plugin says: a server keeps the first report that it is told."""
    stage.submit(JOB)
    run = pilot(payload=Payload(exit_code=exit_code, files={"out.txt": b"made\n"}), kit={"plugins": [Reports]})
    told = [each for each in stage.said(UPDATE["v1"]) if "meta_data" in each.body]
    assert [each.state for each in told] == (["finished"] if exit_code == 0 else []), run.story()


@scenario("R-03", "R-09", "R-10")
def test_an_output_that_may_be_missing(stage, pilot):
    stage.submit({**JOB, "outputs": ["out.txt", {"name": "more.txt", "optional": True}]})
    run = pilot()
    assert last(stage)["job_status"] == "finished", run.story()
    assert json.loads(last(stage)["job_output_report"]).keys() == {"out.txt", "log.tgz"}
    assert not [each for each in stage.said(UPDATE["v1"]) if "meta_data" in each.body]


@scenario("F-09")
def test_whatever_answers_the_last_word_ends_it(stage, pilot, dialect):
    stage.submit(JOB)
    stage.change(UPDATE[dialect], told("tobekilled", dialect), when=ends)
    run = pilot(**{"panda.dialect": dialect})
    assert run.ending.exit_code == 0, run.story()
    assert sum(map(ends, stage.said(UPDATE[dialect]))) == 1


# --- commands ---------------------------------------------------------------------------------------------------------


@scenario("C-01", "C-05", "C-17")
@pytest.mark.parametrize("command", ["tobekilled", "debug,tobekilled"])
def test_a_kill_ends_a_payload(stage, pilot, dialect, command):
    stage.submit(JOB)
    stage.change(UPDATE[dialect], told(command, dialect), times=5)
    run = pilot(payload=HANGS, **{"panda.dialect": dialect})
    body = last(stage, dialect)
    code, report = ("pilot_error_code", "job_output_report") if dialect == "v1" else ("pilotErrorCode", "xml")
    assert (stage.states(dialect)[-1], int(body[code])) == ("failed", 1144), run.story()
    assert "out.txt" not in json.loads(body.get(report) or "{}")


@scenario("C-01")
def test_a_kill_that_comes_while_the_payload_runs(stage, pilot):
    stage.submit(JOB)
    stage.change(UPDATE["v1"], told("tobekilled", "v1"), when=runs)
    run = pilot(payload=HANGS)
    assert (stage.states()[-1], last(stage)["pilot_error_code"]) == ("failed", 1144), run.story()
    assert json.loads(last(stage)["job_output_report"]).keys() == {"log.tgz"}


@scenario("C-02")
def test_a_kill_during_stage_in_starts_no_payload(stage, pilot, dialect):
    stage.submit({**JOB, "inputs": [{"source": f"{stage.url}/storage/in.dat"}]})
    over, ran = threading.Event(), []
    stage.hold("/storage/in.dat", over, 20)
    coming = stage.coming("/storage/in.dat")
    stage.change(UPDATE[dialect], lambda answer: coming.wait(20) and told("tobekilled", dialect)(answer))
    stage.change(UPDATE[dialect], lambda answer: over.set() or answer, when=ends)
    run = pilot(payload=Payload(does=lambda here, env: ran.append(here)), **{"panda.dialect": dialect})
    assert (stage.states(dialect)[-1], ran) == ("failed", []), run.story()


@scenario("C-03")
def test_a_kill_during_stage_out_begins_no_other_transfer(stage, pilot):
    stage.submit({**JOB, "outputs": ["out.txt", "z.txt"]})
    coming, killed = stage.coming("/storage/1.1/out.txt"), threading.Event()
    stage.hold("/storage/1.1/out.txt", killed, 20)
    kill = told("tobekilled", "v1")
    stage.change(UPDATE["v1"], lambda answer: killed.set() or kill(answer), when=lambda heard: coming.is_set())
    run = pilot(payload=MADE_TWO, **{"data.parallel": 1, "report.heartbeat_s": 0.1})
    body = last(stage)
    assert (body["job_status"], body["pilot_error_code"]) == ("failed", 1144), run.story()
    assert json.loads(body["job_output_report"]).keys() == {"log.tgz"}
    assert not [each for each in stage.heard if each.startswith("PUT /storage/1.1/z.txt")]


@scenario("C-06", "C-12")
@pytest.mark.parametrize("command", ["NULL", None, "", "foo", "x" * 9000, 7, ["tobekilled"]])
def test_what_is_no_command_changes_nothing(stage, pilot, command):
    stage.submit(JOB)
    stage.change(UPDATE["v1"], told(command, "v1"), times=5)
    run = pilot()
    assert (run.ending.finished, stage.states()) == (1, ["starting", "running", "finished"]), run.story()


@scenario("C-15")
def test_a_kill_before_anything_was_done(stage, pilot, dialect):
    stage.submit({**JOB, "inputs": [{"source": f"{stage.url}/storage/in.dat"}]})
    over = threading.Event()
    stage.hold("/storage/in.dat", over, 20)
    stage.change(UPDATE[dialect], told("tobekilled", dialect))
    stage.change(UPDATE[dialect], lambda answer: over.set() or answer, when=ends)
    run = pilot(payload=HANGS, **{"panda.dialect": dialect})
    assert (stage.states(dialect), over.is_set()) == (["starting", "failed"], True), run.story()


@scenario("C-14")
def test_a_job_that_the_server_has_closed_is_stopped(stage, pilot):
    stage.submit(JOB)
    stage.change(UPDATE["v1"], told("alreadydone", "v1"), when=runs)
    run = pilot(payload=HANGS)
    assert run.ending.finished == 0, run.story()
    assert sum(map(ends, stage.said(UPDATE["v1"]))) <= 1


@scenario("C-08", "C-09")
def test_who_is_followed_says_what_the_payload_says(stage, pilot):
    stage.submit(JOB)
    stage.change(UPDATE["v1"], told("debug", "v1"), times=2)
    stage.change(UPDATE["v1"], told("tobekilled", "v1"), when=lambda heard: "stdout" in heard.body)
    run = pilot(payload=Payload(hangs=True, stdout="\u20ac" * 3000), **{"panda.debug_heartbeat_s": 1})
    said = [each.body["stdout"] for each in stage.said(UPDATE["v1"]) if "stdout" in each.body]
    assert said, run.story()
    assert 0 < len(said[0].encode()) <= 2048
