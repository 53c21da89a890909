"""Whose job it is: what a dead pilot left is reported to whom it came from, once, and nobody's report is another's."""

from __future__ import annotations

import json
import signal
import time

import pytest

from pilot_core.io.journal import read_back

DIES = """
import os, signal
from pilot_core.agent.intake import Intake

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

Intake._take = die
"""
"""Ends the pilot when a job is in its journal, and still offered to it by the box."""


def killed(site, name="one", script="sleep 300", *settings):
    """Leave a job whose pilot is dead; the pid of its payload."""
    site.job(name, f"echo $$ > {site.root}/pid; {script}")
    pilot = site.start(*site.arguments(*settings))
    payload = int(site.await_file(site.root / "pid"))
    pilot.send_signal(signal.SIGKILL)
    pilot.communicate()
    return payload


def run(site, *arguments):
    pilot = site.start(*arguments)
    said, _ = pilot.communicate(timeout=60)
    return pilot.returncode, said


def one_job(site):
    path = site.root / "ok.yaml"
    path.write_text("command: ['true']\n")
    return ["run", "--job", str(path), "--workdir", str(site.work)]


def test_a_box_hears_of_its_job_though_another_pilot_worked_there_meanwhile(site):
    """Found: the report was lost, and the box said "running" for ever."""
    killed(site, "one", "sleep 2")
    code, said = run(site, *one_job(site))
    assert code == 0, said
    assert "'filebox' is to hear of it, and this pilot speaks with 'jobfile'" in said
    assert f"`pilot recover {site.work}`" in said
    assert not site.report("one")["final"]
    code, said = site.recover()
    assert code == 0, said
    assert site.report("one")["final"]


def test_a_job_is_reported_into_its_own_box(new_site):
    """Found: a pilot with another box in the same work directory reported it there."""
    first, second = new_site("a"), new_site("b")
    killed(first, "one", "sleep 1")
    _, said = run(second, "run", "--filebox", str(second.box), "--workdir", str(first.work))
    assert first.report("one")["final"], said
    assert not (second.box / "reports").exists()
    assert [path.name for path in (first.box / "done").iterdir()] == ["one.json"]
    assert not list((first.box / "taken").iterdir())


@pytest.fixture
def offered(site):
    """A site whose pilot died with a job in its journal that was only offered to it."""
    site.job("one", f"echo ran >> {site.root}/ran")
    pilotfile = site.root / "pilotfile.py"
    pilotfile.write_text(DIES)
    code, said = site.run(f"bootstrap.pilotfile={pilotfile}")
    assert code == -signal.SIGKILL, said
    pilotfile.write_text("")
    assert len(list((site.box / "offered").glob("*.json"))) == 1
    return site


def test_what_another_pilot_finished_is_not_refused_by_the_first(offered):
    """Found: the report said "failed" in the end."""
    code, said = run(offered, "run", "--filebox", str(offered.box), "--workdir", str(offered.root / "other"))
    assert code == 0, said
    assert offered.report("one")["state"] == "finished"
    code, said = offered.recover()
    assert code == 0, said
    assert offered.report("one")["state"] == "finished"
    assert [path.name for path in (offered.box / "reports").iterdir()] == ["one.json"]
    assert (offered.root / "ran").read_text() == "ran\n"


def test_what_never_began_is_given_back_to_its_box_and_by_no_other_pilot(offered):
    code, said = run(offered, *one_job(offered))
    assert code == 0, said
    assert "is left as it is" in said
    code, said = offered.recover()
    assert code == 0, said
    assert (offered.box / "one.json").is_file()


def damage(journal):
    """Spoil the record of the job's acceptance."""
    data = journal.read_bytes()
    at = data.index(b'"Accepted"')
    journal.write_bytes(data[:at] + b"?" + data[at + 1 :])


def test_a_job_with_a_damaged_journal_is_neither_given_back_nor_run_twice(site):
    """Found: it went back into the box while its payload ran on."""
    killed(site, "one", f"echo ran >> {site.root}/ran; sleep 300", "payload.orphan=finish")
    (journal,) = site.work.glob("PanDA_Pilot-one.control/journal")
    damage(journal)
    before = journal.read_bytes()
    code, said = site.recover()
    assert code == 1, said
    assert f"{journal}: is damaged at byte" in said
    assert f"remove {journal.parent} to give the job up" in said
    assert journal.read_bytes() == before, "evidence is kept"
    assert not (site.box / "one.json").exists()
    assert not read_back(journal).sealed
    code, said = site.run()
    assert (site.root / "ran").read_text() == "ran\n", said


def test_two_jobs_of_one_id_run_one_after_the_other_and_have_a_report_each(site):
    """Found: the second was refused as a left job's, over the report of the first."""
    for name, word in (("a", "first"), ("b", "second")):
        script = f"echo {word} >> {site.root}/ran; while [ ! -e {site.root}/go ]; do sleep 0.05; done"
        (site.box / f"{name}.json").write_text(json.dumps({"id": "same", "script": script}))
    pilot = site.start(*site.arguments("slot.cores=2"))
    until = time.monotonic() + 20
    while (
        not (log := site.work / "pilotlog.txt").exists() or "is given back until another is over" not in log.read_text()
    ):
        assert time.monotonic() < until
        time.sleep(0.02)
    (site.root / "go").touch()
    said, _ = pilot.communicate(timeout=60)
    assert pilot.returncode == 0, said
    assert "this very pilot is working on another job same" in said
    assert (site.root / "ran").read_text().split() == ["first", "second"]
    reports = {path.name: json.loads(path.read_text()) for path in (site.box / "reports").iterdir()}
    assert {name: told["state"] for name, told in reports.items()} == {
        "same.json": "finished",
        "same.2.json": "finished",
    }
    assert {told["taken"].partition("-")[2] for told in reports.values()} == {"a.json", "b.json"}
    assert "2 finished, 0 failed" in said


def test_a_pilot_that_was_killed_is_not_told_to_contradict_itself(site):
    """Found: 1319, "The pilot contradicts itself"."""
    killed(site, "one", "sleep 300", "payload.orphan=stop", "payload.grace_s=1")
    code, said = site.recover()
    assert code == 0, said
    error = site.report("one")["error"]
    assert (error["number"], error["party"], error["stage"]) == (1200, "site", "stop")
    assert "the pilot died before the job was over" in error["detail"]
