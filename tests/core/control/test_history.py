"""What is kept of a running job: its samples, bounded, whatever the disk does; and its record before it is over."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pilot_core.clock import SystemClock
from pilot_core.control.archive import JOB_NAME, USAGE_NAME, Archive
from pilot_core.control.history import MOST_MEASURES, History, line_of, masked
from pilot_core.control.monitor import MonitorControl
from pilot_core.io.journal import Journal
from pilot_core.model.files import FileSpec
from pilot_core.model.job import Job
from pilot_core.model.payload import Usage
from pilot_core.plugins.hooks import Hooks
from pilot_core.redact import MASK, Redactor
from pilot_core.spec import payload as hooks_of


def sample(number: int = 1) -> Usage:
    return Usage(cpu_user_s=number, cpu_system_s=0.5, rss_b=number * 1000, processes=1, more={"mine.x": 2.0})


def lines(path: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_sample_is_a_line(tmp_path: Path) -> None:
    history = History(tmp_path / "usage.jsonl")
    history.add(100.1234, sample(1))
    history.add(130.0, Usage(processes=2, rss_b=7))
    assert lines(history.path) == [
        {
            "at": 100.123,
            "cpu_s": 1.5,
            "rss_b": 1000,
            "read_b": 0,
            "written_b": 0,
            "processes": 1,
            "disk_b": 0,
            "more": {"mine.x": 2.0},
        },
        {"at": 130.0, "cpu_s": 0.0, "rss_b": 7, "read_b": 0, "written_b": 0, "processes": 2, "disk_b": 0},
    ]
    assert history.path.stat().st_mode & 0o777 == 0o600


def test_where_nothing_runs_any_more_nothing_is_written(tmp_path: Path) -> None:
    History(tmp_path / "usage.jsonl").add(1.0, Usage())
    assert os.listdir(tmp_path) == []


def test_it_lies_in_the_sibling_that_the_payload_does_not_see(tmp_path: Path) -> None:
    assert History.beside(tmp_path / "PanDA_Pilot-1").path == tmp_path / "PanDA_Pilot-1.control/usage.jsonl"


@settings(max_examples=30, deadline=None)
@given(count=st.integers(1, 130), most=st.sampled_from((2, 4, 6, 12)))
def test_a_full_file_is_thinned_evenly(tmp_path_factory: pytest.TempPathFactory, count: int, most: int) -> None:
    history = History(tmp_path_factory.mktemp("any") / "usage.jsonl", most)
    for number in range(count):
        history.add(float(number), sample(number))
    kept = [int(line["at"]) for line in lines(history.path)]
    assert len(kept) <= most
    assert kept[0] == 0
    distances = {later - sooner for sooner, later in pairwise(kept)}
    assert len(distances) <= 1
    assert count - kept[-1] <= max(distances, default=1)


def test_another_pilot_goes_on_after_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "usage.jsonl"
    path.write_bytes(line_of(1.0, sample()) + line_of(2.0, sample())[:20])
    later = History(path, most_lines=3)
    for at in (3.0, 4.0, 5.0):
        later.add(at, sample())
    assert [line["at"] for line in lines(path)] == [1.0, 4.0, 5.0]


def test_what_cannot_be_written_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    control = tmp_path / "PanDA_Pilot-1.control"
    history = History.beside(tmp_path / "PanDA_Pilot-1")
    for at in (1.0, 2.0):
        history.add(at, sample())
    assert caplog.text.count("the usage of the job is not kept") == 1
    assert str(control / "usage.jsonl") in caplog.text
    control.mkdir()
    history.add(3.0, sample())
    assert [line["at"] for line in lines(history.path)] == [3.0]


def test_a_link_that_lies_in_the_way_is_not_followed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "usage.jsonl").symlink_to(tmp_path / "elsewhere")
    History(tmp_path / "usage.jsonl").add(1.0, sample())
    assert "the usage of the job is not kept" in caplog.text
    assert not (tmp_path / "elsewhere").exists()


def test_each_look_at_a_payload_is_a_line(bench) -> None:
    hooks = Hooks(hooks_of)
    hooks.seal()
    control = MonitorControl((), hooks, SystemClock(), 10.0)
    with subprocess.Popen(["sleep", "600"]) as payload:
        watch = control.begin(Job(id="1"), bench.queue, bench.workdir, payload.pid, bench.settings())
        looks = [watch.look()[0] for _ in range(2)]
        payload.kill()
    watch.look()
    watch.end()
    assert [line["rss_b"] for line in lines(bench.control / "usage.jsonl")] == [usage.rss_b for usage in looks]


def test_of_very_many_measures_some_are_kept() -> None:
    many = Usage(processes=1, more={f"m{number}": 1.0 for number in range(500)})
    assert len(json.loads(line_of(1.0, many))["more"]) == MOST_MEASURES


# --- the record in the log archive ---


def test_the_archive_tells_the_job_so_far_without_its_secrets(bench) -> None:
    job = Job(
        id="1",
        log=FileSpec(lfn="job.log.tgz"),
        environment={"GREETING": "hi", "MY_TOKEN": "abcdefgh"},
        arguments=("--user", "hunter22"),
    )
    journal = Journal.create(bench.control / "journal", 0)
    journal.append({"raw": {"newField": 17, "proxySecretKey": "geheim", "nested": {"password": ["a", "b"]}}})
    journal.close()
    (bench.control / "usage.jsonl").write_bytes(line_of(1.0, sample()))
    Archive(bench.hooks(pilot_log_select=lambda: ()), Redactor(["hunter22"])).archive(bench.task(job))
    with tarfile.open(bench.control / "archive/job.log.tgz") as tar:
        first, second = tar.getmembers()[:2]
        told, usage = json.load(tar.extractfile(first)), tar.extractfile(second).read()
    assert [first.name.rpartition("/")[2], second.name.rpartition("/")[2]] == [JOB_NAME, USAGE_NAME]
    assert json.loads(usage)["at"] == 1.0
    assert (told["record"]["id"], told["record"]["state"]) == ("1", "accepted")
    assert told["record"]["plugins"] == {"tester": "pilot-tester 1.2"}
    assert told["asked"]["environment"] == {"GREETING": "hi", "MY_TOKEN": MASK}
    assert told["asked"]["arguments"] == ["--user", MASK]
    assert told["message"] == {"newField": 17, "proxySecretKey": MASK, "nested": {"password": [MASK, MASK]}}


def test_files_of_the_job_with_such_plain_names_are_kept(bench) -> None:
    for name in ("job.json", "usage.jsonl"):
        (bench.workdir / name).write_text("the job's own")
    Archive(bench.hooks(), Redactor()).archive(bench.task(Job(id="1", log=FileSpec(lfn="job.log.tgz"))))
    with tarfile.open(bench.control / "archive/job.log.tgz") as tar:
        assert {name.rpartition("/")[2] for name in tar.getnames()} == {JOB_NAME, "job.json", "usage.jsonl"}


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ({"token": ""}, {"token": ""}),
        ({"token": "NULL"}, {"token": "NULL"}),
        ({"token": 7}, {"token": MASK}),
        ({"has_token": True}, {"has_token": True}),
        ({"a": "Authorization: Bearer abcdefghijklmnopqrstuvw"}, {"a": f"Authorization: Bearer {MASK}"}),
        ({"a": [1, None, "x"]}, {"a": [1, None, "x"]}),
        ({"privateKeys": {"one": "x"}}, {"privateKeys": {"one": MASK}}),
    ],
)
def test_what_is_named_like_a_credential_is_masked(value: object, shown: object) -> None:
    assert masked(value, Redactor()) == shown
