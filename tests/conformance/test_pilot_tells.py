"""How a pilot tells such a server of its jobs, and what it does when it is told something."""

from __future__ import annotations

import json
import os
import re
import threading
from types import SimpleNamespace

import pytest

from pilot_core.builtin.panda import words
from pilot_core.sdk import Patch, hookimpl
from pilot_core.testing.fakes import Payload
from pilot_core.testing.server import Fault

from .ids import scenario
from .stage import HANGS, JOB, UPDATE, ends, last, runs, told

MADE_TWO = Payload(files={"out.txt": b"made\n", "z.txt": b"z\n"})
OLD_STATUS = "/server/panda/updateWorkerPilotStatus"
MOMENT = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")


# --- heartbeats -------------------------------------------------------------------------------------------------------


@scenario("U-01", "U-06", "F-01", "I1", "I2", "I3", "I4")
def test_the_course_of_a_job(stage, pilot, dialect):
    """The payload lasts until it is told of, as what changes faster than it can be told is left out."""
    stage.submit(JOB)
    heard = threading.Event()
    stage.change(UPDATE[dialect], lambda answer: heard.set() or answer, when=runs)
    lasting = Payload(does=lambda here, env: heard.wait(30) and None, files={"out.txt": b"made\n"})
    run = pilot(payload=lasting, **{"panda.dialect": dialect})
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
    stage.submit_with_input()
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
def test_a_server_that_restarts_has_no_lasting_effect(stage, pilot, dialect, leaping):
    stage.submit(JOB)
    stage.faults.next(UPDATE[dialect], Fault.lost_answer(), times=5)
    run = pilot(kit={"clock": leaping}, **{"panda.dialect": dialect})
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
def test_a_lost_answer_to_the_last_word(stage, pilot, dialect, leaping):
    stage.submit(JOB)
    stage.change(UPDATE[dialect], lambda answer: None, when=ends)
    run = pilot(kit={"clock": leaping}, **{"panda.dialect": dialect})
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
    assert stage.stored("out.txt")
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


@scenario("R-11")
@pytest.mark.parametrize("report", [
    '{"files": {"outp', "\udce9t\udce9", "[]", "null", '"{}"', '{"a": "' + "x" * 200_000 + '"}', "[" * 100_000, "",
], ids=["cut", "encoding", "list", "null", "text", "long", "deep", "empty"])  # fmt: skip
def test_a_payloads_report_that_nobody_can_read_is_not_forwarded(stage, pilot, report, monkeypatch):
    """The job's result follows its exit code; the log says why."""
    monkeypatch.setattr(words, "LONGEST_RECORD", 200_000)
    stage.submit(JOB)
    run = pilot(kit={"plugins": [Says(meta_data=report)]})
    assert stage.states()[-1] == "finished", run.story()
    assert not [each for each in stage.said(UPDATE["v1"]) if "meta_data" in each.body]
    assert ("a payload's report is not sent: it " in run.log) is bool(report)


class Says:
    """A plugin that knows more of a job than the core does."""

    def __init__(self, **fields):
        self.fields = fields

    @hookimpl
    def pilot_report_fields(self, job, final):
        return [Patch.set(name, value) for name, value in self.fields.items()]


@scenario("I1")
def test_what_a_plugin_says_is_told_in_the_servers_types_and_lengths(stage, pilot, dialect):
    """Whatever it says, as long as the server has a field for it; in bytes, and never a part of a character."""
    long = "é" * 3000
    texts = dict.fromkeys(("grid", "source_site", "destination_site", "job_sub_status", "exe_error_diag"), long)
    report = {"files": {"output": []}, "café": 1}
    told = {**texts, "meta_data": report, "corrupted_files": "a,b", "job_metrics": f"good=1 bad={long}"}
    stage.submit(JOB)
    plugin = Says(**told, nonsense="x", mean_core_count=7.6, cpu_consumption_time=float("nan"))
    run = pilot(kit={"plugins": [plugin]}, **{"panda.dialect": dialect})
    body = last(stage, dialect)
    said = body.get("job_status") or body.get("state")
    assert said == "finished", run.story()
    old = {"job_sub_status": "jobSubStatus", "exe_error_diag": "exeErrorDiag", "meta_data": "metaData"}
    old |= {"corrupted_files": "corruptedFiles", "job_metrics": "jobMetrics", "mean_core_count": "meanCoreCount"}
    field = {name: body[old.get(name, name) if dialect == "legacy" else name] for name in (*told, "mean_core_count")}
    assert {name: len(field[name].encode()) for name in texts} == {
        "grid": 50, "source_site": 36, "destination_site": 36, "job_sub_status": 80, "exe_error_diag": 500,
    }  # fmt: skip
    assert all(set(field[name]) == {"é"} for name in texts)
    assert (json.loads(field["meta_data"]), field["corrupted_files"]) == (report, "a,b")
    assert (field["job_metrics"], int(field["mean_core_count"])) == ("good=1", 8)
    assert not {"nonsense", "cpu_consumption_time", "cpuConsumptionTime"} & body.keys()
    assert "nonsense is not sent: the server has no such field" in run.log


class Counts:
    @staticmethod
    @hookimpl
    def pilot_payload_sample(job, workdir):
        return {"n_events": 7.0, "avg_pss": 5.4, "leak": 0.25}


@scenario("R-09", "U-04")
def test_what_a_plugin_measures_under_the_name_of_a_field_is_that_field(stage, pilot, dialect):
    """While the payload runs, and in the end; under any other name it is a metric."""
    stage.submit(JOB)
    events, pss, metrics = ("n_events", "avg_pss", "job_metrics") if dialect == "v1" else (
        "nEvents", "avgPSS", "jobMetrics",
    )  # fmt: skip
    counted = threading.Event()
    stage.change(UPDATE[dialect], lambda answer: counted.set() or answer, when=lambda heard: events in heard.body)
    counting = Payload(does=lambda here, env: counted.wait(30) and None, files={"out.txt": b"made\n"})
    run = pilot(payload=counting, kit={"plugins": [Counts]}, **{"panda.dialect": dialect, "monitor.sample_s": 0.05})
    assert counted.is_set(), run.story()
    for state in ("running", "finished"):
        body = next(each.body for each in reversed(stage.said(UPDATE[dialect])) if each.state == state)
        assert (int(body[events]), int(body[pss]), "leak=0.25" in body[metrics]) == (7, 5, True)


@scenario("R-03", "R-09", "R-10")
def test_an_output_that_may_be_missing(stage, pilot):
    stage.submit({**JOB, "outputs": ["out.txt", {"name": "more.txt", "optional": True}]})
    run = pilot()
    assert last(stage)["job_status"] == "finished", run.story()
    assert json.loads(last(stage)["job_output_report"]).keys() == {"out.txt", "log.tgz"}
    assert not [each for each in stage.said(UPDATE["v1"]) if "meta_data" in each.body]


@scenario("R-05", "R-01")
def test_a_payload_may_make_several_of_what_is_expected(stage, pilot, dialect):
    """Each is stored and told by its own name with a GUID of its own; what is expected itself is none of them."""
    made = {name: name.encode() for name in ("out.txt._001", "out.txt._2", "out.txt_3", "more", "more_1", "out.txt._x")}
    stage.submit({**JOB, "outputs": ["out.txt", "more", "more_1"]})
    run = pilot(payload=Payload(files=made), **{"panda.dialect": dialect})
    assert [job["state"] for job in stage.jobs()] == ["finished"], run.story()
    report = json.loads(last(stage, dialect)["job_output_report" if dialect == "v1" else "xml"])
    assert report.keys() == {"out.txt._001", "out.txt._2", "out.txt_3", "more", "more_1", "log.tgz"}
    assert len({entry["guid"] for entry in report.values()}) == len(report)
    for name in report.keys() - {"log.tgz"}:
        assert stage.stored(name) == made[name]


@scenario("R-04", "R-05")
def test_what_only_looks_like_several_is_a_missing_output(stage, pilot):
    stage.submit(JOB)
    run = pilot(payload=Payload(files={"out.txt._": b"", "out.txt.1": b"", "xout.txt._1": b"", "out.txt_1x": b""}))
    assert (stage.states()[-1], last(stage)["pilot_error_code"]) == ("failed", 1165), run.story()


@scenario("F-09")
def test_whatever_answers_the_last_word_ends_it(stage, pilot, dialect):
    stage.submit(JOB)
    stage.change(UPDATE[dialect], told("tobekilled", dialect), when=ends)
    run = pilot(**{"panda.dialect": dialect})
    assert run.ending.exit_code == 0, run.story()
    assert sum(map(ends, stage.said(UPDATE[dialect]))) == 1


# --- the pilot itself -------------------------------------------------------------------------------------------------

SMI = """#!/bin/sh
cat <<'END'
==============NVSMI LOG==============
Driver Version                            : 550.54.15
CUDA Version                              : 12.4
Attached GPUs                             : 1
GPU 00000000:17:00.0
    Product Name                          : Tesla T4
    Product Architecture                  : Turing
    FB Memory Usage
        Total                             : 15360 MiB
END
"""
WORKER = {"panda.harvester_id": "h", "panda.worker_id": 77, "panda.node": "wn17", "panda.slot": "slot1"}


@scenario("U-17", "U-18")
def test_a_worker_its_node_and_its_gpus_are_told_once_whatever_the_number_of_jobs(
    stage, pilot, dialect, tmp_path, monkeypatch
):
    """An older server has no call for nodes and GPUs, and hears of the worker alone."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "nvidia-smi").write_text(SMI)
    (tmp_path / "bin" / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    stage.submit(JOB, 2)
    run = pilot(jobs=2, **WORKER, **{"panda.dialect": dialect})
    assert run.ending.finished == 2, run.story()
    node, gpu = (stage.said(f"/api/v1/pilot/update_worker_node{each}") for each in ("", "_gpu"))
    status = stage.said({"v1": "/api/v1/pilot/update_worker_status", "legacy": OLD_STATUS}[dialect])
    assert [each.body["status"] for each in status] == ["started", "finished"]
    assert (len(node), len(gpu)) == ((1, 1) if dialect == "v1" else (0, 0))
    for each in (*node, *gpu, *status):
        assert each.status == 200
        assert dialect == "legacy" or json.loads(each.answer)["success"] is True, each.answer
    if dialect == "v1":
        assert (node[0].body["host_name"], node[0].body["panda_queue"]) == ("wn17", "local")
        assert {"vendor": "NVIDIA", "model": "Tesla T4", "count": 1, "vram": 15360}.items() <= gpu[0].body.items()


@scenario("U-17", "U-18")
@pytest.mark.parametrize("trouble", [500, 403, 404])
def test_what_a_server_says_to_such_a_report_is_nothing_to_a_job(stage, pilot, trouble):
    """Each is tried twice at most."""
    stage.submit(JOB)
    paths = [f"/api/v1/pilot/update_worker_{what}" for what in ("status", "node", "node_gpu")]
    for path in paths:
        stage.refuse(path, trouble, times=99)
    run = pilot(**WORKER, **{"panda.dialect": "v1"})
    assert (run.ending.finished, run.ending.exit_code) == (1, 0), run.story()
    assert all(len(stage.said(path)) <= (4 if path == paths[0] else 2) for path in paths)


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
    stage.submit_with_input()
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
    stage.submit_with_input()
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
