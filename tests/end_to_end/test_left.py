"""One bad job's directory or one job's defect: it is named, and its neighbours come to their end."""

from __future__ import annotations

import shutil

import pytest

from pilot_core.io.journal import Journal, read_back

DIES = """
import os, signal
from pilot_core.machine import job

step = job.step

def die(course, event):
    if type(event).__name__ == "PayloadStarted":
        os.kill(os.getpid(), signal.SIGKILL)
    return step(course, event)

job.step = die
"""


@pytest.fixture
def left(site):
    """A site whose pilot was killed while the job "good" ran."""
    site.job("good", "sleep 0.2")
    pilotfile = site.root / "pilotfile.py"
    pilotfile.write_text(DIES)
    code, said = site.run(f"bootstrap.pilotfile={pilotfile}")
    assert code == -9, said
    pilotfile.write_text("")
    return site


def unknown_event(bad, good):
    journal = Journal.create(bad / "journal")
    journal.append({"raw": {}})
    journal.append({"event": "Exploded", "job": "bad"})
    journal.close()


def event_without_fields(bad, good):
    journal = Journal.create(bad / "journal")
    journal.append({"raw": {}})
    journal.append({"event": "Accepted"})
    journal.close()


def log_is_a_directory(bad, good):
    shutil.copy(good / "journal", bad / "journal")
    (bad / "pilot.log").mkdir()


def no_journal(bad, good):
    (bad / "journal").write_text("nonsense\n")


@pytest.mark.parametrize("spoil", [unknown_event, event_without_fields, log_is_a_directory, no_journal])
def test_a_job_that_cannot_be_taken_up_stays_and_holds_up_no_other(left, spoil):
    bad = left.work / "PanDA_Pilot-bad.control"
    bad.mkdir(mode=0o700)
    spoil(bad, left.work / "PanDA_Pilot-good.control")
    stacks = left.work / "pilot.control" / "stacks.txt"
    stacks.write_text("where the dead pilot hung\n")
    code, said = left.recover()
    assert code == 1, said
    assert stacks.read_text() == "where the dead pilot hung\n", "evidence is kept"
    assert f"a job remains in {bad}" in said
    assert "is left as it is" in said
    assert left.report("good")["final"], said
    if spoil is not no_journal:
        assert not read_back(bad / "journal").sealed
    left.job("next", "true")
    code, said = left.run()
    assert code == 0, said
    assert left.report("next")["state"] == "finished"


DEAF = """
from pilot_core.control.running import Running

hear = Running.hear

def stumble(self, event, control):
    if self.job.id == "bad":
        raise ZeroDivisionError("hearing")
    hear(self, event, control)

Running.hear = stumble
"""

UNTOLD = """
from pilot_core.control.running import Running

begin = Running.begin

def stumble(self, *rest):
    if self.job.id == "bad":
        raise ZeroDivisionError("beginning")
    begin(self, *rest)

Running.begin = stumble
"""


@pytest.mark.parametrize("defect", [DEAF, UNTOLD], ids=["hearing", "beginning"])
def test_a_defect_in_the_loop_with_one_job_fails_that_job_alone(site, defect):
    """pilot:H07"""
    site.job("bad", "sleep 1")
    site.job("good", "sleep 1")
    pilotfile = site.root / "pilotfile.py"
    pilotfile.write_text(defect)
    _, said = site.run(f"bootstrap.pilotfile={pilotfile}", "slot.cores=2")
    assert site.report("good")["state"] == "finished", said
    report = site.report("bad")
    assert (report["state"], report["final"]) == ("failed", True)
    assert 1319 in report["error"].values(), report
    assert "ZeroDivisionError" in said


def test_a_pilot_whose_work_directory_is_removed_says_so_and_ends(site):
    site.job("vandal", f"rm -rf {site.work}/*")
    code, said = site.run("payload.isolation=none")
    assert code == 0, said
    assert "1 failed" in said
    assert "own record could not be written" in said
