"""Files, exit codes, memory, what is said while a payload runs: module by module."""

from __future__ import annotations

import json
import logging

import pytest

from pilot_core.config.layers import Layer, Rank, Schema
from pilot_core.config.schema import CORE
from pilot_core.sdk import (
    Code,
    FileSpec,
    Job,
    Outcome,
    Patch,
    PilotError,
    Queue,
    Replica,
    Resources,
    Storage,
    Usage,
    View,
    failure_of,
)
from pilot_lsst import command, diagnose, files, logs
from pilot_lsst.options import LsstOptions

GB = 10**9
QUEUE = Queue(name="q", storages={"S3": Storage(name="S3")})
LOG = FileSpec(lfn="job.log.tgz")


def settings(**lsst):
    return Schema((*CORE, LsstOptions)).merge(Layer(Rank.SITE, "test", {"lsst": lsst}))


def a_job(**more: object) -> Job:
    return Job(**{"id": "7", "task": "40", "attempt": 2, "needs": Resources(memory_b=4 * GB), **more})


# --- files ------------------------------------------------------------------------------------------------------------


def test_the_butlers_datasets_are_not_moved_and_files_with_a_place_are():
    there = FileSpec(lfn="placed", replicas=(Replica("https://dav.example.org/placed"),))
    inputs = (FileSpec(lfn="isr:eventservice_0"), FileSpec(lfn="elsewhere", endpoint="TAPE"), there)
    job = a_job(inputs=(*inputs, FileSpec(lfn="kept", endpoint="S3")))
    assert files.of_the_butler(job, QUEUE) == ["isr:eventservice_0", "elsewhere"]


def test_a_log_without_a_place_goes_below_the_sites_address():
    options = LsstOptions(logs="https://dav.example.org/logs/")
    job = a_job(log=LOG)
    assert files.log_place(job, [LOG], QUEUE, options) == {
        "job.log.tgz": [Replica("https://dav.example.org/logs/40/7.2/job.log.tgz")]
    }
    homed = FileSpec(lfn="job.log.tgz", endpoint="S3")
    assert files.log_place(job, [homed], QUEUE, options) == {}
    placed = FileSpec(lfn="job.log.tgz", replicas=(Replica("file:///log"),))
    assert files.log_place(job, [placed], QUEUE, options) == {}
    assert files.log_place(job, [LOG, FileSpec(lfn="other")], QUEUE, LsstOptions()) == {}


# --- the command ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "refused"),
    [
        ("https://storage.googleapis.com/drp-us-central1-containers/bash-c-enc", False),
        ("https://storage.googleapis.com/drp-us-central1-containers.evil/bash-c-enc", True),
        ("bash", False),
    ],
)
def test_a_transform_comes_from_where_it_may(url, refused):
    found = command.problems(a_job(transformation=url), settings())
    assert [error.code for error in found] == [Code.TRFDOWNLOADFAILURE] * refused


def test_arguments_reach_the_shell_as_they_came(tmp_path):
    (tmp_path / "my run.sh").touch()
    job = a_job(transformation="my run.sh", parameters="\"aGV4\" '$A'")
    assert command.command_of(job, tmp_path, settings()).argv == ("/bin/bash", "-c", "'./my run.sh' \"aGV4\" '$A'")
    with pytest.raises(PilotError, match="names no transform"):
        command.command_of(a_job(), tmp_path, settings())


# --- the end ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("code", "where"), [(20, "never"), (21, "never"), (2, "never")])
def test_exit_codes_of_the_pipelines_say_that_a_retry_is_in_vain(code, where):
    (error,) = diagnose.problems(a_job(), Outcome(exit_code=code))
    assert error.code is Code.PAYLOADEXECUTIONFAILURE
    assert failure_of(error).advice.where.value == where
    assert str(code) in error.detail


@pytest.mark.parametrize(
    ("peak_b", "factor"), [(5 * GB, 1.56), (4 * GB, 1.5), (int(3.2 * GB), 1.5), (3 * GB, None), (90 * GB, 10.0)]
)
def test_who_is_killed_near_its_limit_is_told_how_much_would_do(peak_b, factor):
    job = a_job(usage=Usage(rss_peak_b=9, pss_peak_b=peak_b))
    for outcome in (Outcome(exit_code=137), Outcome(signal=9)):
        found = diagnose.problems(job, outcome)
        assert [error.code for error in found] == ([] if factor is None else [Code.PAYLOADOUTOFMEMORY])
        assert [failure_of(error).advice.memory_factor for error in found] == ([] if factor is None else [factor])


def test_a_kill_by_the_pilot_itself_is_none_of_memorys():
    job = a_job(usage=Usage(rss_peak_b=5 * GB), errors=(PilotError(Code.REACHEDMAXTIME),))
    assert diagnose.problems(job, Outcome(signal=9)) == []
    assert diagnose.problems(a_job(needs=Resources()), Outcome(signal=9)) == []
    assert diagnose.problems(a_job(), Outcome(exit_code=0)) == []
    assert diagnose.problems(a_job(), Outcome(exit_code=1)) == []


# --- what it says -----------------------------------------------------------------------------------------------------


def said(level: int, message: str, **more: object) -> str:
    return json.dumps({"name": "lsst.isr", "levelno": level, "message": message, **more}) + "\n"


@pytest.fixture
def look(tmp_path, caplog):
    """Looks once, and gives what was repeated."""
    monitor = logs.PayloadLog(settings())
    view = View(job=Job(id="1"), queue=QUEUE, workdir=tmp_path, usage=Usage(), running_s=1.0, mono=1.0)

    def look() -> list[str]:
        caplog.clear()
        with caplog.at_level(logging.DEBUG):
            look.reading = monitor.look(view)
        return caplog.messages

    look.close = monitor.close
    return look


def test_the_last_words_are_repeated_when_the_payload_has_ended(tmp_path, look, caplog):
    look.close()
    look()
    (tmp_path / logs.NAME).write_text(said(50, "farewell"))
    caplog.clear()
    look.close()
    assert caplog.messages == ["payload: lsst.isr farewell"]


def test_what_is_grave_is_repeated_once_and_whole(tmp_path, look):
    path = tmp_path / logs.NAME
    assert look() == []
    path.write_text(said(20, "starting") + said(30, "few\nstars", MDC={"LABEL": "isr:{1}"}) + said(40, "late")[:9])
    assert look() == ["payload: isr:{1} lsst.isr few stars"]
    path.write_text(path.read_text()[:-9] + said(40, "late"))
    assert look() == ["payload: lsst.isr late"]
    assert look() == []


def test_a_log_that_begins_anew_is_read_anew(tmp_path, look):
    path = tmp_path / logs.NAME
    path.write_text(said(30, "a long first record of a log"))
    look()
    path.write_text(said(30, "new"))
    assert look() == ["payload: lsst.isr new"]


def test_what_is_no_record_is_left_out(tmp_path, look):
    lines = ["{", "[]", '"x"', json.dumps({"levelno": "50"}), "[" * 5000, said(50, "x" * 5000).strip()]
    (tmp_path / logs.NAME).write_bytes(b"\xff\n" + "".join(f"{line}\n" for line in lines).encode())
    (told,) = look()
    assert len(told) == len("payload: ") + logs.LONGEST


def test_too_many_are_counted_and_a_long_log_is_read_in_pieces(tmp_path, look):
    (tmp_path / logs.NAME).write_text(said(30, "again") * 300)
    told = look()
    assert len(told) == logs.MOST_RECORDS + 1
    assert told[-1] == f"payload: 100 more records are in {logs.NAME} only"
    assert look.reading.again_s is None
    with (tmp_path / logs.NAME).open("a") as file:
        file.write("x" * (logs.MOST_B + 1))
    look()
    assert look.reading.again_s == logs.SOON_S


def test_a_link_out_of_the_jobs_directory_is_not_followed(tmp_path, look):
    secret = tmp_path.parent / f"{tmp_path.name}.secret"
    secret.write_text(said(50, "secret"))
    (tmp_path / logs.NAME).symlink_to(secret)
    assert look() == []


def test_the_batch_systems_log_is_named_for_each_job():
    place = "https://logs.example.org/?q=PandaJob_123&x=123"
    assert logs.patches(a_job(), place) == [Patch.set("pilot_id", "https://logs.example.org/?q=PandaJob_7&x=123")]
    assert logs.patches(a_job(), "https://logs.example.org/1") == []
