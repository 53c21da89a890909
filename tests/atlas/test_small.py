"""What is left out of logs, the node, traces, and the experiment's layer of the configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from pilot_atlas.defaults import DEFAULTS
from pilot_atlas.logs import LEFT_OUT, left_out
from pilot_atlas.node import problems
from pilot_atlas.options import AtlasOptions
from pilot_atlas.plugin import pilot_inputs_skip
from pilot_atlas.traces import facts
from pilot_core.sdk import Attempt, Code, FileSpec, PilotError, Queue, Replica
from pilot_core.sdk.io import Inside

from .jobs import PRODUCTION, a_job, analysis

QUEUE = Queue(name="Q")


# --- logs -------------------------------------------------------------------------------------------------------------


def test_what_is_of_no_use_is_left_out_and_what_explains_stays(tmp_path):
    gone = ("a.root.1", "x.py", "tmp.1", "workDir", "user.proxy", "odd[1].root", "panda_secrets.json")
    kept = (
        "jobReport.json",
        "log.EVNTtoHITS",
        "runargs.sim.py",
        "runwrapper.sim.py",
        "payload.stdout",
        "PoolFileCatalog.xml",
    )
    for name in (*gone, *kept):
        (tmp_path / name).write_text("")
    with Inside(tmp_path) as folder:
        excluded = {name for pattern in left_out(a_job(), tmp_path) for name in folder.glob(pattern)}
    assert excluded == {*gone}


@pytest.mark.parametrize("code", [Code.LOOPINGJOB, Code.PAYLOADEXCEEDMAXMEM])
def test_after_some_errors_the_payloads_own_work_is_kept(tmp_path, code):
    (tmp_path / "workDir").mkdir()
    assert left_out(a_job(), tmp_path) == ["workDir"]
    assert left_out(a_job(errors=(PilotError(code),)), tmp_path) == []


def test_no_pattern_leads_out_of_the_jobs_directory():
    """pilot:I10"""
    patterns = LEFT_OUT.read_text().split()
    assert len(patterns) > 60
    assert not [each for each in patterns if each.startswith("/") or ".." in each.split("/")]


# --- the node ---------------------------------------------------------------------------------------------------------


def told(options: AtlasOptions, queue: Queue = QUEUE) -> list[str]:
    return [error.detail for error in problems(queue, options) if error.code is Code.CVMFSISNOTALIVE]


def test_a_cvmfs_that_answers_is_fine(cvmfs):
    assert told(AtlasOptions(cvmfs=cvmfs)) == []


@pytest.mark.parametrize("text", ["", "1|2", "1|2|x|3", "1|2|0|3", "1|2|-5|3"])
def test_one_whose_stamp_says_no_time_does_not(cvmfs, text):
    (cvmfs / "sft.cern.ch/lcg/lastUpdate").write_text(text)
    assert "does not tell the time" in told(AtlasOptions(cvmfs=cvmfs))[0]


def test_what_is_missing_is_named_and_what_is_not_wanted_is_not(cvmfs):
    """pilot:A07, A08"""
    (cvmfs / "unpacked.cern.ch/logDir/lastUpdate").unlink()
    assert "unpacked.cern.ch" in told(AtlasOptions(cvmfs=cvmfs))[0]
    assert told(AtlasOptions(cvmfs=cvmfs, without_cvmfs=True)) == []
    assert told(AtlasOptions(cvmfs=Path("/nowhere")), Queue(name="Q", params={"is_cvmfs": False})) == []


# --- files ------------------------------------------------------------------------------------------------------------


def test_database_releases_are_not_brought():
    inputs = tuple(FileSpec(lfn=name) for name in ("DBRelease-31.8.1.tar.gz", "EVNT.1"))
    assert list(pilot_inputs_skip(a_job(inputs=inputs))) == ["DBRelease-31.8.1.tar.gz"]


def attempt(direction: str) -> Attempt:
    file, place = FileSpec(lfn="a"), Replica("root://h//a")
    times = {"asked": 1.0, "began": 2.0, "moved": 3.0, "ended": 4.0}
    return Attempt(file=file, direction=direction, replica=place, tool="t", number=1, **times)


@pytest.mark.parametrize(
    ("make", "direction", "event"),
    [(a_job, "in", "get_sm"), (a_job, "direct", "get_sm"), (a_job, "out", "put_sm"), (analysis, "out", "put_sm_a")],
)
def test_a_trace_tells_the_kind_of_job(make, direction, event):
    assert facts(make(), attempt(direction))["eventType"] == event


def test_a_trace_names_no_owner_in_clear_and_one_production_by_its_number():
    named = facts(a_job({**PRODUCTION, "jobDefinitionID": 17}), attempt("in"))
    assert named["usr"] != PRODUCTION["prodUserID"]
    assert [len(str(named[name])) for name in ("usr", "uuid")] == [32, 32]
    assert "uuid" not in facts(a_job(), attempt("in"))


# --- configuration ----------------------------------------------------------------------------------------------------


def test_every_server_of_the_experiment_is_spoken_to_in_secret():
    texts = [str(value) for values in DEFAULTS.values() for value in values.values()]
    assert any("pandaserver.cern.ch" in text for text in texts)
    assert not [text for text in texts if "http://" in text]
