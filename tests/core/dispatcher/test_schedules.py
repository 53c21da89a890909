"""Nothing lost, nothing finished twice, whatever happens to messages, pilots and processes."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from attrs import define, field
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pilot_core.dispatcher.leases import LEASED, OVER
from pilot_core.dispatcher.store import Store
from pilot_core.testing.fakes import FakeClock

from .storing import QUEUE, REPORT, finish, order, show, take

WRITER = """
import json, random, sys
from pathlib import Path
from pilot_core.clock import SystemClock
from pilot_core.dispatcher.config import ServedQueue
from pilot_core.dispatcher.store import Store, Wanted
from pilot_core.dispatcher.wire import labels_for, read_order

store = Store(Path(sys.argv[1]), SystemClock())
order = read_order({"description": {"command": ["x"]}, "count": 2}, ServedQueue(name="q"), (), "")
held = []
while True:
    for job in store.submit("q", [order]):
        print("submitted", job, 1, flush=True)
    for text in store.acquire(Wanted(queue="q", labels=labels_for(""), count=2)):
        job = json.loads(text)
        held.append((job["PandaID"], job["attemptNr"]))
        print("held", *held[-1], flush=True)
    job, attempt = held.pop(0)
    store.tell({"job_id": job, "attempt_nr": attempt, "job_status": "running", "cpu_consumption_time": 1})
    print("running", job, attempt, flush=True)
    ruling, _ = store.tell({"job_id": job, "attempt_nr": attempt, "job_status": random.choice(["finished", "failed"])})
    print(ruling.state, job, attempt, flush=True)
"""
FINAL = ("finished", "failed", "evicted")
RANK = {"submitted": 0, "activated": 0, "held": 1, "sent": 1, "running": 2, "finished": 3, "failed": 3}


def test_kill_at_any_moment_loses_nothing_that_was_answered(tmp_path):
    path, clock = tmp_path / "dispatcher.sqlite", FakeClock()
    answered: dict[int, str] = {}
    for _ in range(8):
        for line in killed_writer(path, lines=random.randint(1, 60)):
            state, job, _ = line.split()
            answered[int(job)] = state
        check_all_there(path, clock, answered)
    assert {"finished", "failed"} <= set(answered.values())


def killed_writer(path: Path, lines: int) -> list[str]:
    """What a process said before it was killed; it was writing on all the while."""
    with subprocess.Popen([sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout
        said = [writer.stdout.readline() for _ in range(lines)]
        writer.send_signal(signal.SIGKILL)
        said += writer.stdout.readlines()
    assert said[0].endswith("\n")
    return [line for line in said if line.endswith("\n")]


def check_all_there(path: Path, clock: FakeClock, answered: dict[int, str]) -> None:
    store = Store(path, clock)
    with store.reading() as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        kept = dict(database.execute("SELECT id, state FROM jobs").fetchall())
        counted = dict(database.execute("SELECT state, n FROM counts WHERE n > 0").fetchall())
    store.close()
    for job, state in answered.items():
        assert RANK[kept[job]] >= RANK[state]
        if state in OVER:
            assert kept[job] == state
    assert counted == {state: list(kept.values()).count(state) for state in set(kept.values())}


@define(eq=False)
class Pilot:
    """Believes what it was told, for as long as it hears nothing else."""

    name: str
    believes: set[tuple[int, int]] = field(factory=set)


class Schedules(RuleBasedStateMachine):
    """Pilots whose words are late, lost or come twice, and a dispatcher that takes jobs away, restarts, is steered."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "d.sqlite"
        self.clock = FakeClock()
        self.store = Store(self.path, self.clock)
        self.pilots = [Pilot(name) for name in "abc"]
        self.under_way: list[tuple[Pilot, dict]] = []
        self.given: dict[tuple[int, int], str] = {}
        self.attempts: dict[int, int] = {}
        self.finished: dict[int, set[tuple[str, int]]] = {}
        self.acknowledged: dict[int, set[int]] = {}
        self.ends: dict[tuple[int, int], int] = {}
        self.first: dict[tuple[int, int], str] = {}

    def teardown(self) -> None:
        try:
            self.bring_to_an_end()
        finally:
            self.store.close()
            self.folder.cleanup()

    @rule(count=st.integers(1, 2))
    def submit(self, count):
        for job in self.store.submit("q", [order(count=count)]):
            self.attempts[job] = 1

    @rule(who=st.integers(0, 2), count=st.integers(1, 2), heard=st.booleans(), twice=st.booleans())
    def ask(self, who, count, heard, twice):
        for arrives in (heard, False) if twice else (heard,):
            self.give(self.pilots[who], count, arrives)

    def give(self, pilot, count, arrives):
        for key in take(self.store, count=count):
            assert key not in self.given, f"{key} was given to {self.given[key]} already"
            self.given[key] = pilot.name
            if arrives:
                pilot.believes.add(key)

    @rule(who=st.integers(0, 2), other=st.integers(0, 2), ends=st.booleans())
    def another_believes_it_too(self, who, other, ends):
        """A pilot restored from a copy of another: it holds the same attempt, in another batch job."""
        self.pilots[other].believes |= self.pilots[who].believes
        for job, attempt in sorted(self.pilots[who].believes) if ends else ():
            for pilot in (self.pilots[who], self.pilots[other]):
                self.arrive(pilot, self.word(pilot, job, attempt, "finished"), reply_lost=False)

    @precondition(lambda self: any(pilot.believes for pilot in self.pilots))
    @rule(data=st.data(), status=st.sampled_from(["starting", "running", "holding", "transferring", *FINAL]))
    def say(self, data, status):
        pilot = data.draw(st.sampled_from([pilot for pilot in self.pilots if pilot.believes]))
        job, attempt = data.draw(st.sampled_from(sorted(pilot.believes)))
        self.under_way.append((pilot, self.word(pilot, job, attempt, status)))

    def word(self, pilot, job, attempt, status):
        word = {"job_id": job, "attempt_nr": attempt, "job_status": status, "batch_id": f"{pilot.name}#1"}
        if status == "evicted":
            word |= {"job_status": "failed", "pilot_error_code": 1379}
        return {**word, "job_output_report": REPORT}

    @precondition(lambda self: self.under_way)
    @rule(data=st.data(), stays=st.booleans(), reply_lost=st.booleans())
    def deliver(self, data, stays, reply_lost):
        number = data.draw(st.integers(0, len(self.under_way) - 1))
        pilot, word = self.under_way[number] if stays else self.under_way.pop(number)
        self.arrive(pilot, word, reply_lost)

    def arrive(self, pilot, word, reply_lost):
        before = show(self.store, word["job_id"])
        ruling, _ = self.store.tell(word)
        self.check(pilot, word, before, ruling)
        if not reply_lost and ruling.command in ("tobekilled", "alreadydone"):
            pilot.believes.discard((word["job_id"], word["attempt_nr"]))

    def check(self, pilot, word, before, ruling):
        job, attempt = key = word["job_id"], word["attempt_nr"]
        if ruling.state is not None:
            assert self.may_speak(key, before)
            assert self.first.setdefault(key, pilot.name) == pilot.name
        elif before["state"] == "activated" and self.may_speak(key, before):
            assert self.first[key] != pilot.name, "its pilot came back while nobody else had the job, and was refused"
        if ruling.state in OVER:
            self.ends[job, attempt] = self.ends.get((job, attempt), 0) + 1
        if ruling.state == "finished":
            self.finished.setdefault(job, set()).add((pilot.name, attempt))
        if ruling.command == "alreadydone" and before["state"] == "finished":
            self.acknowledged.setdefault(job, set()).add(attempt)

    def may_speak(self, key, job):
        """Whether an attempt is the last that was handed out, and nobody has ended it."""
        return job["attempt"] == key[1] and (
            job["state"] in LEASED or (job["state"] == "activated" and key in self.given)
        )

    @precondition(lambda self: self.given)
    @rule(data=st.data())
    def store_a_file(self, data):
        key = data.draw(st.sampled_from(sorted(self.given)))
        may = self.may_speak(key, show(self.store, key[0]))
        assert self.store.holds(*key) == may
        assert (show(self.store, key[0])["state"] in LEASED) >= may

    @precondition(lambda self: self.under_way)
    @rule(data=st.data())
    def lose_a_word(self, data):
        self.under_way.pop(data.draw(st.integers(0, len(self.under_way) - 1)))

    @rule(who=st.integers(0, 2), other=st.integers(0, 2), count=st.integers(0, 2))
    def taken_over(self, who, other, count):
        """A pilot falls silent, another gets some of its jobs, and then the first one has done them."""
        believed = sorted(self.pilots[who].believes)
        self.pass_time(QUEUE.lost_after_s)
        if count:
            self.give(self.pilots[other], count, arrives=True)
        for job, attempt in believed:
            self.arrive(self.pilots[who], self.word(self.pilots[who], job, attempt, "finished"), reply_lost=False)

    @rule(far=st.booleans())
    def time_passes(self, far):
        self.pass_time(QUEUE.lost_after_s if far else 100)

    def pass_time(self, seconds):
        self.clock.advance(seconds)
        self.store.sweep(lambda name: QUEUE)

    @rule()
    def restart(self):
        self.store.close()
        self.store = Store(self.path, self.clock)

    @precondition(lambda self: self.attempts)
    @rule(data=st.data(), what=st.sampled_from(["cancel", "retry"]))
    def steer(self, data, what):
        getattr(self.store, what)([data.draw(st.sampled_from(sorted(self.attempts)))])

    @invariant()
    def attempts_only_grow(self):
        for job, state, attempt in self.store.states(list(self.attempts)):
            assert attempt >= self.attempts[job], (job, state)
            self.attempts[job] = attempt

    @invariant()
    def nobody_finishes_what_another_finished(self):
        """One pilot's word finishes a job; ``alreadydone`` hears only who speaks of the attempt that did."""
        assert all(len(who) == 1 for who in self.finished.values())
        assert all(count == 1 for count in self.ends.values())
        for job, attempts in self.acknowledged.items():
            assert attempts == {attempt for _, attempt in self.finished[job]}

    def bring_to_an_end(self) -> None:
        self.clock.advance(QUEUE.lost_after_s)
        self.store.sweep(lambda name: QUEUE)
        for job, attempt in take(self.store, count=1000):
            assert finish(self.store, job, attempt).state == "finished"
        assert {state for _, state, _ in self.store.states(list(self.attempts))} <= set(OVER)


Schedules.TestCase.settings = settings(max_examples=80, stateful_step_count=30, deadline=None)
TestSchedules = Schedules.TestCase
