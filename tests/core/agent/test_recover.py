"""What a dead pilot left, as the next one reads it."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from contextlib import closing
from types import SimpleNamespace

import pytest

from pilot_core.agent.intake import Intake
from pilot_core.agent.recover import RECORD, LeftJob, end_left, how_it_died, left_jobs, record_of
from pilot_core.errors import Code, Party, PilotError
from pilot_core.io.journal import Journal, read_back
from pilot_core.io.process import OrphanPolicy, ProcessSpec, Started
from pilot_core.io.process_keeper import KeeperStarter, attach
from pilot_core.machine import events as e
from pilot_core.model.job import Job


def died(root, record):
    (root / RECORD).parent.mkdir()
    (root / RECORD).write_text(json.dumps({"why": "died", "status": None, "signal": None, **record}))
    return how_it_died(root)


DEATHS = [
    ({"signal": signal.SIGKILL}, Code.KILLSIGNAL, "(signal 9)"),
    ({"signal": signal.SIGTERM}, Code.SIGTERM, "(signal 15)"),
    ({"signal": signal.SIGSEGV}, Code.SIGSEGV, "(signal 11)"),
    ({}, Code.KILLSIGNAL, "(nobody knows how)"),
]


@pytest.mark.parametrize(("record", "code", "how"), DEATHS)
def test_a_pilot_that_was_ended_from_outside_does_not_contradict_itself(tmp_path, record, code, how):
    """Found: a kill was told as 1319."""
    error = died(tmp_path, record)
    assert (error.code, error.code.party) == (code, Party.SITE)
    assert how in error.detail


@pytest.mark.parametrize("record", [{"why": "hung", "signal": signal.SIGKILL}, {"status": 1}])
def test_one_that_hung_or_failed_is_at_fault_itself(tmp_path, record):
    assert died(tmp_path, record).code is Code.INTERNALPILOTPROBLEM


@pytest.mark.parametrize("text", [None, "{", "[]"])
def test_of_whom_nothing_is_known_was_ended_from_outside(tmp_path, text):
    if text is not None:
        (tmp_path / RECORD).parent.mkdir()
        (tmp_path / RECORD).write_text(text)
    assert how_it_died(tmp_path).code is Code.KILLSIGNAL


def leave(root, *records, name="one"):
    control = root / f"PanDA_Pilot-{name}.control"
    control.mkdir()
    journal = Journal.create(control / "journal")
    for record in ({"raw": {"id": name}}, *records):
        journal.append(record)
    journal.close()
    return control


def accepted(name="one"):
    return record_of(e.Accepted(job=name, value=Job(id=name), steps=(), communicator="filebox"))


def test_a_left_job_is_its_communicator_s(tmp_path):
    leave(tmp_path, accepted())
    (left,) = left_jobs(tmp_path)
    assert (left.communicator, left.raw, left.problem) == ("filebox", {"id": "one"}, None)


def test_damage_inside_a_journal_is_a_problem_and_not_a_job_that_never_began(tmp_path):
    """Found: the job was given back while its payload ran on."""
    control = leave(tmp_path, accepted(), {"event": "SlotGranted"})
    data = (control / "journal").read_bytes()
    at = data.index(b"Accepted")
    (control / "journal").write_bytes(data[:at] + b"?" + data[at + 1 :])
    (left,) = left_jobs(tmp_path)
    assert (left.course, left.raw) == (None, {})
    assert isinstance(left.problem, PilotError)
    assert "is damaged at byte" in str(left.problem)


def test_a_torn_last_line_is_none(tmp_path):
    control = leave(tmp_path, accepted())
    data = (control / "journal").read_bytes()
    (control / "journal").write_bytes(data.rstrip(b"\0")[:-20] + bytes(100))
    (left,) = left_jobs(tmp_path)
    assert (left.course, left.raw, left.problem) == (None, {"id": "one"}, None)


@pytest.fixture
def keeper(tmp_path):
    starter = KeeperStarter(tmp_path / "keeper.log")
    starter.start()
    yield starter
    starter.close()


def await_start(processes, limit_s=10.0):
    until = time.monotonic() + limit_s
    while not (started := [each for each in processes.read() if isinstance(each, Started)]):
        assert time.monotonic() < until
        time.sleep(0.01)
    return started[0]


@pytest.fixture
def running(tmp_path, keeper):
    """The control directory of a left job whose payload runs on, and the payload's pid."""
    control = leave(tmp_path)
    processes = keeper.open("one", control, OrphanPolicy("finish"), 1.0)
    argv = (sys.executable, "-c", "import time; time.sleep(300)")
    spec = ProcessSpec("payload", argv, {}, tmp_path, tmp_path / "out", tmp_path / "err")
    with closing(processes):
        processes.start(spec)
        pid = await_start(processes).pid
    yield control, pid
    end_left(control, 0.0)


def runs(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_what_runs_of_a_left_job_is_ended_and_its_keeper_released(running):
    control, pid = running
    end_left(control, 1.0)
    assert not runs(pid)
    assert attach(control) is None


def an_intake(root, give_back):
    options = SimpleNamespace(of=lambda _: SimpleNamespace(grace_s=1.0))
    setup = SimpleNamespace(communicator=SimpleNamespace(name="filebox"), settings=options)
    jobs = SimpleNamespace(give_back=give_back, refuse=lambda *_: pytest.fail("it was refused"))
    return Intake(setup, root, None, None, None, None, jobs, None, None)


def test_nothing_runs_any_more_of_a_job_that_is_given_back(tmp_path, running):
    """Found: it was run a second time while it ran."""
    control, pid = running
    (left,) = left_jobs(tmp_path)
    seen = []

    def give_back(_):
        seen.append(runs(pid))
        return True

    an_intake(tmp_path, give_back).refuse_left(left, how_it_died(tmp_path))
    assert seen == [False]
    assert read_back(control / "journal").sealed


def test_a_job_that_never_began_goes_back_by_its_own_communicator_only(tmp_path):
    left = LeftJob(leave(tmp_path), None, {"id": "one"}, "panda")
    with pytest.raises(PilotError, match="'panda' is to hear of it, and this pilot speaks with 'filebox'") as raised:
        an_intake(tmp_path, lambda _: pytest.fail("given back")).refuse_left(left, how_it_died(tmp_path))
    assert f"`pilot recover {tmp_path}`" in str(raised.value.facts["way_out"])


def test_where_nothing_runs_there_is_nothing_to_end(tmp_path):
    end_left(leave(tmp_path), 1.0)
