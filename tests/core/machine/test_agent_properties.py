"""The machine in every order of events: what must hold is checked by the ``World`` after each."""

from __future__ import annotations

from hypothesis import Phase as Stage
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from pilot_core.errors import Code, PilotError
from pilot_core.machine import events as e
from pilot_core.machine.final import WAITS_IN
from pilot_core.machine.phases import Step
from pilot_core.machine.pilot import Limits, Mode, Pilot
from pilot_core.model.job import Job, Phase
from pilot_core.model.payload import Outcome, Usage
from pilot_core.model.queue import Resources
from pilot_core.testing.world import World, a_receipt
from pilot_core.workflows.payload_stageout import PayloadStageOut
from pilot_core.workflows.stagein import StageIn
from pilot_core.workflows.standard import Standard

PHASES = (Stage.explicit, Stage.reuse, Stage.generate, Stage.target, Stage.shrink)
"""All but the explanation of a failure, which takes longer than a test may."""
ERRORS = st.sampled_from(
    [PilotError(code, "as told") for code in (Code.STAGEINFAILED, Code.PAYLOADEXECUTIONFAILURE, Code.SIGTERM)]
)
SECONDS = st.sampled_from([0.0, 0.05, 1.0, 4.0, 7.0, 30.0, 400.0, 4000.0])


@st.composite
def tables(draw):
    """A workflow's table, ours or somebody's."""
    if draw(st.booleans()):
        return draw(st.sampled_from([Standard.steps, StageIn.steps, PayloadStageOut.steps]))
    return tuple(
        Step(
            name=f"step{number}",
            phase=Phase(draw(st.sampled_from(["stage_in", "running", "stage_out"]))),
            budget_s=draw(st.sampled_from([None, 3.0, 60.0, 5000.0])),
            always=draw(st.booleans()),
            slot=draw(st.booleans()),
            cut=draw(st.booleans()),
            saves=draw(st.booleans()),
            resumes=draw(st.booleans()),
        )
        for number in range(draw(st.integers(0, 5)))
    )


def needs(cores, memory_b, disk_b, gpus):
    return st.builds(Resources, cores=cores, memory_b=memory_b, disk_b=disk_b, gpu_count=gpus)


NEEDS = needs(st.integers(1, 4), st.sampled_from([None, 10, 60]), st.sampled_from([None, 10]), st.integers(0, 2))
TOO_MUCH = needs(st.integers(1, 5), st.sampled_from([None, 101]), st.sampled_from([None, 2000]), st.integers(1, 3))
RECEIPTS = st.sampled_from([a_receipt("a"), a_receipt("b"), a_receipt("a", "in")])
RESULTS = st.builds(
    e.Result,
    errors=st.lists(ERRORS, max_size=1).map(tuple),
    receipts=st.lists(RECEIPTS, max_size=3).map(tuple),
    outcome=st.none() | st.builds(Outcome, exit_code=st.integers(0, 1), usage=st.just(Usage(rss_b=7))),
    notes=st.sampled_from([{}, {}, {WAITS_IN: "the outbox"}]),
)


class PilotLife(RuleBasedStateMachine):
    """One pilot, and those that take over after it.

    What happens is seen at once, until a rule holds events back; then each gets on by itself, in the order of its way.
    """

    @initialize(
        limits=st.builds(
            Limits,
            prefetch_jobs=st.integers(0, 2),
            max_jobs=st.sampled_from([None, None, 3]),
            black_hole_failures=st.sampled_from([0, 2]),
        ),
        data=st.data(),
        count=st.integers(0, 3),
    )
    def begin(self, limits, data, count):
        slot = Resources(cores=4, memory_b=100, disk_b=1000, gpus=("g0", "g1"))
        self.world = World(Pilot(slot=slot, limits=limits))
        self.numbers = self.crashes = self.halts = 0
        self.eager = True
        if count:
            self.post(e.Checked())
            self.world.answer(*[self.a_job(data.draw) for _ in range(count)])
            self.world.settle()

    def a_job(self, draw):
        self.numbers += 1
        return Job(id=str(self.numbers), needs=draw(NEEDS | NEEDS | TOO_MUCH)), draw(tables())

    def post(self, *events):
        for event in events:
            self.world.post(event)
        self.seen()

    def seen(self):
        if self.eager:
            self.world.settle()

    def some_job(self, data):
        return data.draw(st.sampled_from(sorted(self.world.agent.courses)))

    @precondition(lambda self: self.eager)
    @rule()
    def hold_back(self):
        self.eager = False

    @precondition(lambda self: not self.eager)
    @rule()
    def let_go(self):
        self.eager = True
        self.world.settle()

    @precondition(lambda self: self.world.box and not self.world.exits)
    @rule()
    def turn(self):
        self.world.turn()

    @precondition(lambda self: self.world.writing)
    @rule()
    def write(self):
        self.world.write()

    @precondition(lambda self: self.world.asked)
    @rule(data=st.data(), count=st.sampled_from([0, 1, 1, 2, 3]), again_s=st.sampled_from([None, 0.0, 5.0]))
    def answer(self, data, count, again_s):
        jobs = [self.a_job(data.draw) for _ in range(count)]
        self.world.answer(*jobs, again_s=again_s, over=data.draw(st.booleans()) and not count)
        self.seen()

    @precondition(lambda self: self.world.asked)
    @rule(error=ERRORS)
    def do_not_answer(self, error):
        self.world.asked = None
        self.post(e.Answered(error=error, again_s=1.0))

    @rule(event=st.sampled_from([e.Hinted(), e.RefillOver()]))
    def tell_of_work(self, event):
        self.post(event)

    @precondition(lambda self: self.world.agent.pilot.mode is Mode.CHECKING)
    @rule(problems=st.lists(ERRORS, max_size=1).map(tuple))
    def check(self, problems):
        self.post(e.Checked(problems=problems))

    @precondition(lambda self: self.world.under_way)
    @rule(data=st.data(), result=RESULTS | ERRORS | st.none())
    def finish(self, data, result):
        self.world.finish(data.draw(st.sampled_from(sorted(self.world.under_way))), result)
        self.seen()

    @precondition(lambda self: self.world.under_way)
    @rule(count=st.integers(1, 6))
    def finish_well(self, count):
        for _ in range(count):
            if self.world.under_way:
                self.world.finish(min(self.world.under_way))
                self.seen()

    @precondition(lambda self: self.runs())
    @rule(data=st.data())
    def start_the_payload(self, data):
        job, ticket = data.draw(st.sampled_from(self.runs()))
        self.world.started.add((job, ticket))
        self.post(e.PayloadStarted(job=job, ticket=ticket, pid=1))

    def runs(self):
        return [
            key for key, order in self.world.under_way.items() if order.work == "run" and key not in self.world.started
        ]

    @precondition(lambda self: self.world.agent.courses)
    @rule(data=st.data(), receipt=RECEIPTS, ticket=st.integers(1, 9))
    def store(self, data, receipt, ticket):
        """Progress, or the answer of a worker that was left behind."""
        job = self.some_job(data)
        if ticket >= self.world.agent.courses[job].ticket or (job, ticket) in self.world.concludes:
            self.post(e.FileStored(job=job, receipt=receipt))
        else:
            self.post(e.WorkDone(job=job, ticket=ticket, result=e.Result(receipts=(receipt, receipt))))

    @rule(after_s=SECONDS)
    def tick(self, after_s):
        self.world.tick(after_s)
        self.seen()

    @precondition(lambda self: self.world.timers)
    @rule()
    def tick_to_the_next_timer(self):
        self.world.tick(max(min(due for due, _ in self.world.timers.values()) - self.world.mono, 0.0))
        self.seen()

    @precondition(lambda self: self.world.agent.courses)
    @rule(data=st.data(), error=ERRORS, hurry_s=st.sampled_from([None, None, 2.0, 25.0]))
    def stop(self, data, error, hurry_s):
        self.post(e.StopAsked(job=self.some_job(data), error=error, hurry_s=hurry_s))

    @precondition(lambda self: self.world.agent.courses)
    @rule(data=st.data(), which=st.integers(0, 2))
    def tell_what_is_not_journaled(self, data, which):
        job = self.some_job(data)
        lost, sampled = e.JournalLost(job=job, detail="full"), e.Sampled(job=job, usage=Usage(rss_b=1))
        self.post((lost, sampled, e.HeartbeatSet(job=job, every_s=30.0))[which])

    @precondition(lambda self: self.world.agent.courses)
    @rule(data=st.data())
    def offer_another_attempt(self, data):
        self.post(e.OfferedAgain(job=self.some_job(data)))

    @precondition(lambda self: self.numbers and self.halts < 3)
    @rule(error=ERRORS, hurry_s=st.sampled_from([3.0, 25.0, 500.0]))
    def halt(self, error, hurry_s):
        self.halts += 1
        self.post(e.HaltAsked(error=error, hurry_s=hurry_s))

    @precondition(lambda self: self.numbers)
    @rule(event=st.sampled_from([e.DrainAsked(), e.PauseAsked(), e.ResumeAsked(), e.ResumeAsked()]))
    def order(self, event):
        self.post(event)

    @precondition(lambda self: (self.world.agent.courses or self.world.unsealed) and self.crashes < 2)
    @rule(written=st.integers(0, 3), mode=st.sampled_from([Mode.DRAINING, Mode.CHECKING]))
    def crash(self, written, mode):
        self.crashes += 1
        for _ in range(min(written, len(self.world.writing))):
            self.world.write()
        self.world.crash(mode)
        self.seen()

    def teardown(self):
        if not hasattr(self, "world"):
            return
        self.world.post(e.DrainAsked())
        self.world.end()
        assert self.world.agent.pilot.mode is Mode.ENDED
        assert not self.world.agent.courses
        assert not self.world.agent.pilot.claims


class PilotDeath(PilotLife):
    """The same, but in the end nobody answers any more: a halt ends it within its time all the same.

    A second halt doesn't set a time of its own: it halves what the first one left.
    """

    def teardown(self):
        if not hasattr(self, "world"):
            return
        self.world.post(e.HaltAsked(error=PilotError(Code.SIGTERM, "now"), hurry_s=60.0))
        took_s = self.world.end(answers=False)
        limit_s = 500.0 if self.halts else 60.0
        assert took_s <= limit_s + 3.0, self.world.tell(f"took {took_s} s")


TestEveryOrder = PilotLife.TestCase
TestEveryOrder.settings = settings(max_examples=150, stateful_step_count=40, deadline=None, phases=PHASES)
TestEveryOrderWithoutAnswers = PilotDeath.TestCase
TestEveryOrderWithoutAnswers.settings = settings(max_examples=60, stateful_step_count=30, deadline=None, phases=PHASES)
