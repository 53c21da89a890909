"""Jobs that are not as they should be: whatever a server sends, it hears of each what was wrong with it."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import Phase, example, settings
from hypothesis import given as draws
from hypothesis import strategies as st

from pilot_core.clock import SystemClock
from pilot_core.errors import Code
from pilot_core.report.gather import accounts
from pilot_core.report.page import page
from pilot_core.testing import PilotKit
from pilot_core.testing.fakes import Payload

from .ids import scenario
from .stage import ACQUIRE, UPDATE, Stage, ends, with_fields

JOBS = 12
UNREAD = Code.CONVERSIONFAILURE.number
BROKEN = frozenset({0, Code.INTERNALPILOTPROBLEM.number, Code.PLUGINFAILED.number})
DESCRIBED = {
    "script": "true",
    "outputs": ["out.txt", "more.txt"],
    "log": "log.tgz",
    "environment": {"A": "b"},
    "needs": {"cores": 1},
}
MADE = {"out.txt": b"made\n", "more.txt": b"more\n"}
LISTS = ("inFiles", "outFiles", "scopeIn", "scopeOut", "GUID", "fsize", "checksum", "ddmEndPointIn", "ddmEndPointOut")
FIELDS = (
    *LISTS,
    *("transformation", "jobPars", "logFile", "logGUID", "scopeLog", "realDatasets", "realDatasetsIn", "allowNoOutput"),
    *("coreCount", "minRamCount", "maxDiskCount", "maxWalltime", "taskID", "prodSourceLabel", "container_name"),
    *("writeToFile", "transferType", "prodDBlockToken", "preprocess", "containerOptions", "loopingCheck", "secrets"),
    *("environment", "options", "destinations", "sources", "optional", "always", "gpus", "loopingLimit", "attemptNrs"),
)
STRANGE = ("a\nb", "a\0b", "\ud800", "ad:zz", "md5:1", "zip://", "../../etc/x", "/abs", '"; rm', "'", "{", "[]", "漢字")
LONG = ("9" * 40, "x" * 5000, "--overwriteQueueData={")
WORDS = st.sampled_from((*STRANGE, *LONG, "", "NULL", " ", "a,b", ",", "out.txt", "-1", "1e9", "True", "none"))
NUMBERS = st.sampled_from([-1, 0, 1, 7, 10**30, -(10**18), 0.5])
FLAT = st.none() | st.booleans() | NUMBERS | WORDS | st.text(max_size=20)
VALUES = FLAT | st.lists(FLAT, max_size=3) | st.dictionaries(WORDS, FLAT | st.lists(FLAT, max_size=2), max_size=3)
DAMAGE = st.dictionaries(st.sampled_from(FIELDS), VALUES, min_size=1, max_size=4)


HALF = {"outFiles": "out.txt,\ud800,log.tgz", "scopeOut": "s,s"}


@scenario("I3", "J-07", "D-09", "D-10")
@pytest.mark.parametrize("spoken", ["v1", "legacy"])
@settings(max_examples=3, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@draws(damages=st.lists(DAMAGE, min_size=JOBS, max_size=JOBS))
@example(damages=[HALF, {"transformation": "x" * 5000}] * (JOBS // 2))
def test_of_every_job_the_server_hears_the_end_and_what_was_wrong(tmp_path_factory, spoken, damages):
    with Stage(tmp_path_factory.mktemp("reads"), strict=True) as stage:
        order = iter(damages)
        stage.submit(DESCRIBED, JOBS)
        stage.change(ACQUIRE[spoken], lambda answer: with_fields(answer, next(order)), times=JOBS)
        run = taken_by_a_pilot(stage, spoken)
        ended = {_id(each): each.body for each in stage.said(UPDATE[spoken]) if ends(each)}
    assert "Traceback" not in run.log
    assert len(ended) == JOBS, run.story()
    for number, damage in enumerate(damages, 1):
        judge(ended[number], damage, spoken)


def taken_by_a_pilot(stage, spoken):
    usual = {"pilot.max_jobs": JOBS, "pilot.black_hole_failures": 0, "panda.dialect": spoken, "slot.cores": 2}
    place = Path(tempfile.mkdtemp(dir=stage.home))
    return PilotKit(
        settings={**stage.settings(), **usual, "data.attempts": 1}, outcome=Payload(files=MADE), tmp=place
    ).run()


def judge(end, damage, spoken):
    """A job that was not even begun says which of its fields were wrong, and none says that the pilot is."""
    names = ("job_status", "pilot_error_code", "pilot_error_diag")
    status, code, why = (end.get(name) for name in (names if spoken == "v1" else ("state", *OLD)))
    if status == "failed":
        assert int(code) not in BROKEN, (why, damage)
        assert why, damage
        assert len(why.encode()) <= 500
        assert int(code) != UNREAD or any(name in why for name in FIELDS), (why, damage)


OLD = ("pilotErrorCode", "pilotErrorDiag")


def _id(heard):
    return int(heard.body.get("job_id") or heard.body["jobId"])


@scenario("D-21")
@pytest.mark.parametrize("spoken", ["v1", "legacy"])
def test_what_nobody_reads_is_seen_in_every_report(stage, pilot, spoken):
    """While the job runs, in what is left when it was cleaned up, and in its log archive."""
    strange = {"strangeField": "kept and seen", "emptyField": "NULL", "deepField": {"a": [1, "seen too"]}}
    stage.submit(DESCRIBED)
    stage.change(ACQUIRE[spoken], lambda answer: with_fields(answer, strange))
    seen = []

    def look(here, env):
        seen.extend(accounts(here.parent, SystemClock()) + accounts(Path(f"{here}.control"), SystemClock()))

    run = pilot(payload=Payload(does=look, files=MADE), **{"panda.dialect": spoken})
    assert run.ending.finished == 1, run.story()
    archive = run.root / "log.tgz"
    archive.write_bytes(stage.stored("log.tgz"))
    for place in (run.root, run.root / "PanDA_Pilot-1.control", archive):
        seen.extend(accounts(place, SystemClock()))
    assert not (run.root / "PanDA_Pilot-1").exists()
    assert len(seen) == 5
    for each in seen:
        assert each.unused["strangeField"] == "kept and seen"
        assert "seen too" in each.unused["deepField"]
    assert all("kept and seen" in page([each], "", 0.0, "") for each in seen)
