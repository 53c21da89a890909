"""Job reports, whole and broken: what is read of them, diagnosed, selected and told."""

from __future__ import annotations

import json

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from pilot_atlas.diagnose import problems
from pilot_atlas.outputs import selected
from pilot_atlas.report import NAME, WARNINGS, BadReport, JobReport
from pilot_atlas.updates import patches
from pilot_core.sdk import Code, Outcome, PilotError, Usage

from .jobs import a_job, analysis, job_report, listed, outputs

DONE, FAILED = Outcome(exit_code=0), Outcome(exit_code=65)


@pytest.fixture
def write(tmp_path):
    def put(told: object) -> None:
        (tmp_path / "jobReport.json").write_text(told if isinstance(told, str) else json.dumps(told))

    return put


def codes(job, outcome, workdir) -> list[int]:
    return [error.code.number for error in problems(job, outcome, workdir)]


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                (
                    *("exitCode", "exitMsg", "files", "output", "subFiles", "name", "nentries", "executor"),
                    *("logfileReport", "details", "ERROR", "WARNING", "message"),
                    *("resource", "transform", "processedEvents", "dbTime"),
                )
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@given(st.dictionaries(st.sampled_from(["exitCode", "exitMsg", "files", "executor", "resource"]), ANYTHING))
def test_no_report_is_so_odd_that_nothing_can_be_said(told):
    report = JobReport(told)
    assert isinstance(report.exit_code, int)
    assert report.outputs is None or all(isinstance(name, str) for name in report.outputs)
    assert report.n_events is None or isinstance(report.n_events, int)
    assert all(isinstance(each, float) for each in report.database.values())
    assert isinstance(list(report.details("ERROR")), list)
    assert json.loads(report.sendable()) is not None


def test_events_are_those_processed_or_else_those_written():
    assert JobReport(job_report(resource={"transform": {"processedEvents": 5}}, files=listed(a=3))).n_events == 5
    assert JobReport(job_report(files=listed(a=3, b=4))).n_events == 7
    assert JobReport(job_report()).n_events is None


def test_the_numbers_of_all_steps_are_summed():
    steps = {"a": {"dbTime": 1.5, "dbData": 10}, "b": {"dbTime": 2, "resimevents": None}, "c": 1}
    assert JobReport(job_report(resource={"executor": steps})).database == {"dbTime": 3.5, "dbData": 10.0}


def test_most_warnings_are_not_sent_and_no_error_is_lost():
    details = {"WARNING": [{"message": str(n)} for n in range(100)], "ERROR": [{"message": "e"}] * 40}
    report = JobReport(job_report(executor=[{"logfileReport": {"details": details}}]))
    sent = json.loads(report.sendable())["executor"][0]["logfileReport"]["details"]
    assert [len(sent["WARNING"]), len(sent["ERROR"])] == [WARNINGS, 40]
    assert len(details["WARNING"]) == 100


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"text"', "{" * 100_000])
def test_what_cannot_be_read_is_said_for_production_and_left_for_users(tmp_path, write, text):
    """pilot:D24"""
    write(text)
    with pytest.raises(BadReport):
        JobReport.read(tmp_path)
    assert codes(a_job(), DONE, tmp_path) == [1187]
    assert codes(analysis(), DONE, tmp_path) == []
    assert selected(a_job(outputs=outputs("a")), tmp_path) is None
    assert not patches(a_job(outcome=DONE), tmp_path, final=True)


def test_a_report_that_is_a_link_out_of_the_directory_is_not_followed(tmp_path):
    (tmp_path / "other").write_text("{}")
    (tmp_path / "job").mkdir()
    (tmp_path / "job/jobReport.json").symlink_to("../other")
    with pytest.raises(BadReport):
        JobReport.read(tmp_path / "job")


def test_what_is_no_number_in_json_is_none(tmp_path, write):
    write('{"exitCode": NaN, "resource": {"executor": {"a": {"dbTime": Infinity}}}}')
    report = JobReport.read(tmp_path)
    assert (report.exit_code, report.database) == (0, {})
    assert json.loads(report.sendable())["exitCode"] is None


def test_production_wants_a_report_of_one_kind_or_another(tmp_path):
    assert codes(a_job(), DONE, tmp_path) == [1187]
    assert codes(a_job(), FAILED, tmp_path) == []
    assert codes(analysis(), DONE, tmp_path) == []
    assert codes(a_job(transformation="Archive_tf.py"), DONE, tmp_path) == []
    assert codes(a_job({}, transformation="true"), DONE, tmp_path) == [], "which is of no release"
    (tmp_path / "metadata.xml").write_text("<x/>")
    assert codes(a_job(), DONE, tmp_path) == []


def detail(level: str, message: str) -> dict[str, object]:
    return {"executor": [{"logfileReport": {"details": {level: [{"message": message}]}}}]}


@pytest.mark.parametrize(
    ("report", "outcome", "expected"),
    [
        (job_report(), DONE, []),
        ({"exitCode": 65, "exitMsg": "bad"}, DONE, [1220]),
        ({"exitCode": 65, "exitMsg": "bad"}, FAILED, [1305]),
        ({"exitCode": 146, "exitMsg": "bad"}, Outcome(exit_code=146), [1246, 1246]),
        ({"exitCode": 160, "exitMsg": "no more points"}, DONE, []),
        ({"exitCode": 64, "exitMsg": "it got a SIGSEGV signal"}, FAILED, [1328]),
        ({"exitCode": 65, "exitMsg": "x", **detail("ERROR", "std::bad_alloc")}, FAILED, [1223]),
        (job_report(**detail("ERROR", "std::bad_alloc")), DONE, []),
        ({"exitCode": 65, **detail("FATAL", "No more servers/proxies. Last error")}, FAILED, [1369]),
    ],
)
def test_what_a_report_says_of_an_end(tmp_path, write, report, outcome, expected):
    write(report)
    assert codes(a_job(), outcome, tmp_path) == expected


def test_outputs_that_the_transform_was_to_make_are_in_its_list(tmp_path, write):
    write(job_report(files=listed(a=1)))
    (error,) = problems(a_job(outputs=outputs("a", "b")), DONE, tmp_path)
    assert (error.code, error.facts["lfn"]) == (Code.MISSINGOUTPUTFILE, "b")
    assert isinstance(error, PilotError)
    assert codes(a_job(outputs=outputs("a", "b", optional=True)), DONE, tmp_path) == []
    assert codes(analysis(outputs=outputs("a", "b")), DONE, tmp_path) == []
    write(job_report())
    assert codes(a_job(outputs=outputs("a", "b")), DONE, tmp_path) == []
    write({"exitCode": 65, "files": listed(a=1)})
    assert codes(a_job(outputs=outputs("a", "b")), DONE, tmp_path) == [1220], "which is why"


def entry(name: str, **told: object) -> dict[str, object]:
    return {"output": [{"subFiles": [{"name": name, **told}]}]}


@pytest.mark.parametrize(
    ("name", "files", "lacking"),
    [
        ("HITS.1", entry("HITS.1", file_guid="g", nentries=0), None),
        ("HITS.1", entry("HITS.1", file_guid="g"), "nentries"),
        ("HITS.1", entry("HITS.1", file_guid="g", nentries=None), "nentries"),
        ("HITS.1", entry("HITS.1", nentries=7), "file_guid"),
        ("HITS.1", entry("HITS.1", file_guid=""), "file_guid and no nentries"),
        ("HITS.1", None, "file_guid and no nentries"),
        ("HIST.1", entry("HIST.1", file_guid="g"), None),
        ("NTUP.1", entry("NTUP.1"), "file_guid"),
    ],
)
def test_what_the_server_wants_of_the_outputs_of_managed_jobs_is_in_the_report(tmp_path, write, name, files, lacking):
    """server:R-08 (each thing that a report may lack)"""
    write(job_report(files=files))
    found = [error.detail for error in problems(a_job(label="managed", outputs=outputs(name)), DONE, tmp_path)]
    assert [told.partition(";")[0] for told in found] == ([f"{NAME} has no {lacking} of {name}"] if lacking else [])
    assert codes(a_job(label="user", outputs=outputs(name)), DONE, tmp_path) == []
    zipped = evolve(outputs(name)[0], members=("*.root",))
    assert codes(a_job(label="managed", outputs=(zipped,)), DONE, tmp_path) == []


def test_what_a_managed_job_may_leave_out_needs_no_entry_and_what_it_does_not_list_is_said_once(tmp_path, write):
    write(job_report(files=entry("a", file_guid="g")))
    assert codes(a_job(label="managed", outputs=outputs("a", "b", optional=True)), DONE, tmp_path) == []
    assert codes(a_job(label="managed", outputs=outputs("b")), DONE, tmp_path) == [1165]
    assert codes(analysis(label="managed", outputs=outputs("b")), DONE, tmp_path) == [1187]


def test_outputs_get_the_guids_of_the_report_and_those_that_may_be_missing_go(tmp_path, write):
    """pilot:I02, I03"""
    write(job_report(files=listed(a=1, b=0, aa=0)))
    job = a_job(outputs=(*outputs("a", "b", "c"), *outputs("aa", "d", optional=True)))
    found = selected(job, tmp_path)
    assert [(file.lfn, file.guid) for file in found] == [("a", "GUID-a"), ("b", "GUID-b"), ("c", "mine-c")]


def test_without_a_report_the_jobs_own_list_stands(tmp_path, write):
    assert selected(a_job(outputs=outputs("a")), tmp_path) is None
    write(job_report(files={"output": []}))
    assert selected(a_job(outputs=outputs("a")), tmp_path) is None


def test_only_the_last_word_on_a_job_carries_its_report(tmp_path, write):
    write(job_report(files=listed(a=3), resource={"executor": {"s": {"dbTime": 1.0}}}))
    assert patches(a_job(outcome=DONE), tmp_path, final=False) == ()
    told = {each.key: each.value for each in patches(a_job(outcome=DONE), tmp_path, final=True)}
    assert (told["n_events"], told["job_metrics"]) == (3, "nEvents=3 dbTime=1")
    used = a_job(outcome=Outcome(exit_code=0, wall_s=4.0, usage=Usage(cpu_user_s=9.0, cpu_system_s=1.0)))
    assert patches(used, tmp_path, final=True)[0].value == "nEvents=3 dbTime=1 actualCoreCount=2.5"
    assert json.loads(told["meta_data"])["exitCode"] == 0
    failed = a_job(outcome=FAILED, errors=(PilotError(Code.PAYLOADEXECUTIONFAILURE),))
    assert "meta_data" not in {each.key for each in patches(failed, tmp_path, final=True)}
    assert patches(a_job(), tmp_path, final=True) == ()
