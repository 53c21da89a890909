"""What becomes of each job that is offered: taken, refused or given back, whatever happens to the others."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pilot_core.agent.intake as intake_module
from pilot_core.agent.intake import DOUBLE_S, Intake
from pilot_core.agent.jobs import HeldJob, control_of
from pilot_core.config.schema import ReportOptions
from pilot_core.control.job import Refusal
from pilot_core.errors import Code, PilotError
from pilot_core.io.cancel import CancelFlag
from pilot_core.io.files import Lock, Taken
from pilot_core.machine import commands as c
from pilot_core.machine import events as e
from pilot_core.model.job import Job
from pilot_core.model.queue import Resources
from pilot_core.spec.drivers import Offer


class Jobs:
    """A job control that offers three jobs and notes what becomes of each."""

    def __init__(self, takes_back=True):
        self.told, self.takes_back = [], takes_back

    def ask(self, free):
        return Offer(jobs=tuple({"id": name} for name in "abc"))

    def read(self, raw):
        return Job(id=raw["id"])

    def taken(self, raw):
        self.told.append(("taken", raw["id"]))

    def refuse(self, raw, error, root):
        self.told.append(("refused", raw["id"], error))
        return Refusal(job=raw["id"], waits_in=root / "letter.json")

    def give_back(self, raw):
        if self.takes_back:
            self.told.append(("back", raw["id"]))
        return self.takes_back


class Desk:
    """An intake, and what it does to the world."""

    def __init__(self, root, jobs, flushes=(True,)):
        self.flushes, self.flushed, self.loop = list(flushes), 0, SimpleNamespace(ended=False, soon=lambda call: call())
        self.held, self.posted = [], []
        poster = SimpleNamespace(keep=lambda *_: None, post=self.posted.append, flush=self.flush)
        setup = SimpleNamespace(of_job=lambda job: (None, None), settings=SimpleNamespace(of=lambda section: section()))
        self.intake = Intake(setup, root, None, None, poster, self.loop, jobs, None, self.held.append)

    def flush(self, limit_s):
        self.flushed += 1
        return self.flushes.pop(0)

    def ask(self, given_up=None):
        return self.intake.ask(c.Ask(free=Resources(cores=1)), given_up or CancelFlag())


@pytest.fixture
def holding(monkeypatch):
    """Lets a test say which jobs cannot be held, and why."""
    faults = {}

    def hold(root, job, *_):
        if job.id in faults:
            raise faults[job.id]
        return HeldJob(job.id, root, root, None, None, None, None, None)

    monkeypatch.setattr(intake_module, "hold", hold)
    monkeypatch.setattr(Intake, "_accepted", lambda self, job, settings: e.Accepted(job=job.id, value=job, steps=()))
    return faults


FAULTS = [
    OSError(28, os.strerror(28), "/w/pilot.log"),
    OSError(13, os.strerror(13), "/w/x.control"),
    PilotError(Code.NOLOCALSPACE, "/w/x"),
    Taken("/w/lock", 7),
    ValueError("a defect"),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{type(fault).__name__}")
def test_a_job_that_cannot_be_held_goes_back_and_the_others_are_taken(tmp_path, holding, fault):
    """Found: it was lost, and so were all that came after it."""
    holding["a"], jobs = fault, Jobs()
    assert Desk(tmp_path, jobs).ask().jobs == 2
    assert jobs.told == [("back", "a"), ("taken", "b"), ("taken", "c")]


def test_a_job_whose_directory_is_somebody_elses_is_refused(tmp_path, holding):
    """pilot:C01"""
    holding["a"], jobs = PilotError(Code.MKDIR, "/w/PanDA_Pilot-a is there already"), Jobs()
    assert Desk(tmp_path, jobs).ask().jobs == 3
    assert [told[:2] for told in jobs.told] == [("refused", "a"), ("taken", "b"), ("taken", "c")]


def test_one_that_cannot_go_back_is_refused_with_the_place(tmp_path, holding):
    holding["b"], jobs = FAULTS[0], Jobs(takes_back=False)
    desk = Desk(tmp_path, jobs)
    assert desk.ask().jobs == 3
    ((_, name, error),) = [told for told in jobs.told if told[0] == "refused"]
    assert (name, error.code) == ("b", Code.NOLOCALSPACE)
    assert "/w/pilot.log" in str(error)
    assert e.JobRefused(error=error) in desk.posted
    waits = e.LetterWaits(job="b", path=str(tmp_path / "letter.json"), budget_s=ReportOptions().final_budget_s)
    assert waits in desk.posted, "and its end is tried as long as any"


def test_the_answer_waits_until_the_jobs_are_written(tmp_path, holding):
    desk = Desk(tmp_path, Jobs(), flushes=[False, False, True])
    desk.ask()
    assert desk.flushed == 3


def test_a_job_of_an_id_that_is_being_worked_on_comes_again_when_that_one_is_over(tmp_path, holding):
    """Found: it was refused as a left job's, and the advice was to recover what ran."""
    control = tmp_path / f"{Job(id='a').directory}.control"
    control.mkdir()
    jobs = Jobs()
    desk = Desk(tmp_path, jobs, flushes=[True, True, True])
    with Lock(control / "lock"):
        answered = desk.ask()
    assert jobs.told == [("back", "a"), ("taken", "b"), ("taken", "c")]
    assert (answered.jobs, answered.stay, answered.over, answered.again_s) == (2, True, False, DOUBLE_S)
    assert not [each for each in desk.posted if isinstance(each, e.JobRefused)], "no job has failed"
    assert desk.ask().jobs == 3
    assert desk.flushed == 3, "one that is just over may still wait for its journal's seal"


def test_where_it_cannot_go_back_it_waits_here_and_the_one_under_way_speaks_first(tmp_path, holding):
    """Found: the next attempt at a job whose last word was still to be delivered was refused, and so had failed."""
    control = tmp_path / f"{Job(id='a').directory}.control"
    control.mkdir()
    jobs = Jobs(takes_back=False)
    desk = Desk(tmp_path, jobs, flushes=[True] * 4)
    with Lock(control / "lock"):
        for count in (2, 0):
            answered = desk.ask()
            assert (answered.jobs, answered.stay, answered.over, answered.again_s) == (count, True, False, DOUBLE_S)
            assert answered.behind == ("a",)
    assert desk.posted.count(e.OfferedAgain(job="a")) == 2, "it was not heard of at once, and is told again"
    assert jobs.told == [("taken", "b"), ("taken", "c")]
    assert desk.ask().jobs == 1
    assert jobs.told == [("taken", "b"), ("taken", "c"), ("taken", "a")], "and nobody was asked for more meanwhile"


class Attempts(Jobs):
    """A job control whose server retries jobs whenever it likes, also while an earlier attempt is under way here."""

    def __init__(self, offers):
        super().__init__(takes_back=False)
        self.offers = offers
        self.offered, self.taken_ones = [], []

    def ask(self, free):
        batch = self.offers.pop(0) if self.offers else ()
        jobs = [{"id": name, "attempt": sum(name == each for each, _ in self.offered)} for name in batch]
        self.offered += [(raw["id"], raw["attempt"]) for raw in jobs]
        return Offer(jobs=tuple(jobs))

    def taken(self, raw):
        self.taken_ones.append((raw["id"], raw["attempt"]))


OFFERS = st.lists(st.lists(st.sampled_from("abc"), max_size=3, unique=True), max_size=6)
ENDS = st.lists(st.sampled_from("abc-"), min_size=6, max_size=30)


@given(offers=OFFERS, ends=ENDS)
def test_each_attempt_that_is_offered_begins_once_when_the_one_before_is_over(offers, ends):
    """In every order of offers and ends: none is refused, none is lost, and no two of one job are under way."""
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        root, under_way = Path(folder), {}
        jobs = Attempts(offers)
        desk = Desk(root, jobs, flushes=[True] * 200)

        def hold(_, job, *__):
            control = control_of(root, job)
            control.mkdir(exist_ok=True)
            assert job.id not in under_way
            under_way[job.id] = Lock(control / "lock").take()
            return HeldJob(job.id, root, root, None, None, None, None, None)

        patch.setattr(intake_module, "hold", hold)
        patch.setattr(Intake, "_accepted", lambda self, job, settings: e.Accepted(job=job.id, value=job, steps=()))
        for end in [*ends, *"abc" * 8]:
            desk.ask()
            if end in under_way:
                under_way.pop(end).release()
        for lock in under_way.values():
            lock.release()
    assert sorted(jobs.taken_ones) == sorted(jobs.offered)
    assert [each for each in jobs.taken_ones if each[0] == "a"] == [each for each in jobs.offered if each[0] == "a"]
    assert not jobs.told, "none was refused or given back"


@pytest.mark.parametrize("how", ["given up", "ended"])
def test_an_answer_that_nobody_waits_for_brings_no_job(tmp_path, holding, how):
    """Found: a slow server's jobs were taken when the pilot had ended."""
    jobs = Jobs()
    desk, given_up = Desk(tmp_path, jobs, flushes=[False]), CancelFlag()
    if how == "ended":
        desk.loop.ended = True
    else:
        given_up.set()
    assert desk.ask(given_up).jobs == 0
    assert jobs.told == [("back", name) for name in "abc"]
    assert not desk.held
