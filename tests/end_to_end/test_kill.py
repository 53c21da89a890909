"""``kill -9`` at every position of a job's journal, and what another pilot makes of it."""

from __future__ import annotations

import json

import pytest

from pilot_core.io.journal import read_back

PILOTFILE = '''
"""Ends the pilot right after the record of this number, counted over its life, was written to a job's journal."""
import os, signal
from pilot_core.io import journal

LAST, written = int(os.environ.get("DIES_AFTER", "0")), 0
write = journal.Journal.write

def write_and_die(self, lines):
    global written
    for line in lines.splitlines(keepends=True):
        write(self, line)
        written += 1
        if written == LAST:
            os.kill(os.getpid(), signal.SIGKILL)

journal.Journal.write = write_and_die
'''

SCRIPT = "echo ran >> {ran}; cat data.txt > out.txt; echo done >> out.txt"


def a_job(site, name="kept"):
    (site.root / "data.txt").write_text("input\n")
    return site.job(
        name,
        SCRIPT.format(ran=site.root / "ran"),
        inputs=[{"name": "data.txt", "source": str(site.root / "data.txt")}],
        outputs=[site.output("out.txt")],
        log={"name": "log.tgz", "destination": str(site.store / "log.tgz")},
    )


@pytest.fixture
def mortal(site):
    path = site.root / "pilotfile.py"
    path.write_text(PILOTFILE)
    return f"bootstrap.pilotfile={path}"


def positions(site):
    """How many records the journal of such a job has."""
    a_job(site)
    code, said = site.run()
    assert code == 0, said
    (journal,) = site.work.glob("*.control/journal")
    return len(read_back(journal).records)


def judge(site, said):
    """What must hold after any crash and one recovery."""
    report = site.report("kept")
    ran = (site.root / "ran").read_text().split() if (site.root / "ran").exists() else []
    assert report["final"], said
    assert ran in ([], ["ran"]), "a payload runs once"
    if report["state"] == "finished":
        assert (site.store / "out.txt").read_text() == "input\ndone\n"
    else:
        assert not (site.store / "out.txt").exists(), "an output of a failed job is not stored"
    assert not [each for each in site.store.iterdir() if each.name not in ("out.txt", "log.tgz")]
    assert all(read_back(journal).sealed for journal in site.work.glob("*.control/journal"))
    assert not (site.work / "PanDA_Pilot-kept").exists(), said
    return report


@pytest.mark.timeout(600)
def test_a_job_survives_its_pilot_at_every_position_of_its_journal(new_site):
    """server:J-22"""
    count = positions(new_site("whole"))
    states = []
    for last in range(1, count + 1):
        site = new_site(str(last))
        a_job(site)
        (site.root / "pilotfile.py").write_text(PILOTFILE)
        code, said = site.run(f"bootstrap.pilotfile={site.root / 'pilotfile.py'}", DIES_AFTER=str(last))
        assert code == -9, f"position {last}: {said}"
        code, said = site.recover()
        assert code == 0, f"position {last}: {said}"
        if not (site.box / "reports" / "kept.json").exists():
            code, again = site.run()  # it had not begun, and went back into the box
            assert code == 0, f"position {last}: {said}{again}"
            judge(site, again)
            continue
        states.append(judge(site, f"position {last}: {said}")["state"])
    assert states.index("finished") < len(states) - 4, states
    assert states == sorted(states), "once the payload has ended, nothing is lost any more"


def test_a_second_recovery_does_nothing(site, mortal):
    a_job(site)
    site.run(mortal, DIES_AFTER="12")
    site.recover()
    before = json.dumps(site.report("kept"), sort_keys=True)
    code, said = site.recover()
    assert code == 0, said
    assert json.dumps(site.report("kept"), sort_keys=True) == before


def test_a_new_pilot_ends_what_the_last_one_left_before_it_asks_for_work(site, mortal):
    a_job(site)
    site.run(mortal, DIES_AFTER="12")
    site.job("next", "true")
    code, said = site.run()
    assert code == 0, said
    assert site.report("kept")["final"]
    assert site.report("next")["state"] == "finished"
