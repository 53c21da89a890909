"""One job: its way through a table of steps, what stops it, and what cannot happen to it."""

from __future__ import annotations

import pytest
from attrs import evolve

from pilot_core.errors import Code, PilotError
from pilot_core.machine import commands as c
from pilot_core.machine import events as e
from pilot_core.machine.course import Course, Stand
from pilot_core.machine.job import RULES, InvalidTransition, Ticketed, step
from pilot_core.machine.phases import Step, budgeted
from pilot_core.model.job import RUNNING, STAGE_IN, STAGE_OUT, Job
from pilot_core.model.payload import Verdict
from pilot_core.testing.world import a_receipt

BRING = Step(name="bring", phase=STAGE_IN, budget_s=60.0, expired=1151)
RUN = Step(name="run", phase=RUNNING, slot=True, resumes=True)
STORE = Step(name="store", phase=STAGE_OUT, budget_s=60.0, always=True, cut=False, resumes=True)
STEPS = (BRING, RUN, STORE)
FAULT = PilotError(Code.PAYLOADEXECUTIONFAILURE, "it broke")
STOP = PilotError(Code.SIGTERM, "the batch system asks")


class Life:
    """A course and what it asked for, event by event."""

    def __init__(self, steps=STEPS, job_id="1"):
        job = Job(id=job_id)
        self.course = Course(job=job)
        self.mono = 0.0
        self.commands = ()
        self.see(e.Accepted, value=job, steps=steps)

    def see(self, kind, after_s=0.0, **fields):
        self.mono += after_s
        if issubclass(kind, Ticketed) and "ticket" not in fields:
            fields["ticket"] = self.course.ticket
        event = kind(job=self.course.job.id, mono=self.mono, at=self.mono, **fields)
        self.course, self.commands = step(self.course, event)
        return self

    def done(self, **result):
        return self.see(e.WorkDone, result=e.Result(**result))

    def run(self):
        return self.done().see(e.SlotGranted)

    def asked(self, kind):
        return [command for command in self.commands if isinstance(command, kind)]

    @property
    def begun(self):
        return [order.work for order in self.asked(c.Begin)]

    @property
    def left_s(self):
        (timer,) = self.asked(c.SetTimer)
        return timer.after_s


def test_a_job_goes_through_its_steps_and_is_reported_and_cleaned_up():
    life = Life()
    assert life.begun == ["bring"]
    life.done()
    assert life.course.stand is Stand.SLOT
    assert life.see(e.SlotGranted, devices=("g1",)).begun == ["run"]
    assert life.course.job.devices == ("g1",)
    life.done()
    assert life.begun == ["store"]
    assert [order.event for order in life.asked(c.Post)] == [e.SlotFreed(job="1")]
    assert life.done().begun == ["conclude"]
    assert life.course.job.phase == "finished"
    assert life.done().begun == ["clean_up"]
    (forget,) = life.done().asked(c.Forget)
    assert forget.job.notes["delivered"] is True
    assert forget.over.error is None
    assert list(life.course.job.times) == ["accepted", "stage_in", "running", "stage_out", "finished"]


def test_after_a_failure_only_what_is_always_done_is_done():
    life = Life()
    assert life.see(e.WorkFailed, error=FAULT).begun == ["store"]
    assert life.see(e.WorkFailed, error=FAULT).begun == ["conclude"]
    assert life.course.job.errors == (FAULT, FAULT)
    assert life.course.job.phase == "failed"


def test_a_job_that_fails_early_claims_no_slot_while_its_report_is_tried():
    life = Life((BRING, RUN))
    life.see(e.WorkFailed, error=FAULT)
    assert e.SlotFreed(job="1") in [order.event for order in life.asked(c.Post)]


def test_a_step_that_hangs_is_left_behind_and_named():
    life = Life().see(e.WorkExpired, after_s=60.0, detail="it hung in tool.py:3 get")
    (left,) = life.asked(c.Abandon)
    assert (left.work, left.ticket) == ("bring", 1)
    assert life.course.job.error.code.number == BRING.expired
    assert "tool.py:3" in life.course.job.error.detail
    assert life.begun == ["store"]


def test_a_final_update_and_a_clean_up_that_hang_are_left_behind_too():
    """Found: only steps were, so that nobody reported the threads."""
    life = Life(())
    assert [left.work for left in life.see(e.WorkExpired, after_s=120.0).asked(c.Abandon)] == ["conclude"]
    life.see(e.RetryDue, after_s=2.0).done()
    assert [left.work for left in life.see(e.WorkExpired, after_s=600.0).asked(c.Abandon)] == ["clean_up"]
    assert life.course.stand is Stand.OVER


def test_a_late_answer_is_dropped_but_for_what_it_stored():
    life = Life().see(e.WorkExpired, after_s=60.0)
    before = life.course
    life.see(e.WorkDone, ticket=1, result=e.Result(receipts=(a_receipt("a"),), errors=(FAULT,)))
    assert life.course == evolve(before, job=evolve(before.job, receipts=(a_receipt("a"),)))
    assert life.commands == ()


def test_a_receipt_that_comes_twice_counts_once():
    """Found: twice in one answer counted twice."""
    life = Life().see(e.FileStored, receipt=a_receipt("a"))
    life.done(receipts=(a_receipt("a"), a_receipt("b"), a_receipt("b"), a_receipt("a", "in")))
    assert [(r.lfn, r.direction) for r in life.course.job.receipts] == [("a", "out"), ("b", "out"), ("a", "in")]


def test_a_stop_cancels_what_may_be_cut_and_waits_for_the_rest():
    life = Life().run().see(e.StopAsked, error=STOP, grace_s=10.0)
    (cancel,) = life.asked(c.Cancel)
    assert (cancel.work, cancel.grace_s) == ("run", 10.0)
    assert life.course.stand is Stand.END
    life.done(errors=(FAULT,), receipts=(a_receipt("a"),))
    assert life.course.job.errors == (STOP,)
    assert life.course.job.receipts
    assert life.begun == ["store"]
    assert life.see(e.StopAsked, error=STOP).asked(c.Cancel) == []
    assert life.course.stand is Stand.WORK


SAVING = (
    RUN,
    evolve(STORE, saves=True, cut=True, budget_s=600.0, expired=1152),
    evolve(STORE, name="store_log", saves=True),
)


def while_saving():
    return Life(SAVING).see(e.SlotGranted).done()


def test_outputs_on_their_way_are_brought_home_in_what_time_a_stop_leaves():
    """Found: a copy that needed a second more was cut, the job failed, and its outputs were removed."""
    life = while_saving().see(e.StopAsked, error=STOP, hurry_s=25.0)
    assert not life.asked(c.Cancel)
    assert life.left_s == 20.0
    assert life.done().begun == ["store_log"]
    assert life.done().begun == ["conclude"]
    assert life.course.job.verdict is Verdict.FINISHED


def test_what_a_stop_leaves_no_time_for_is_its_fault():
    life = while_saving().see(e.StopAsked, error=STOP, hurry_s=25.0).see(e.WorkExpired, after_s=20.0)
    assert life.course.job.error.code is Code.SIGTERM
    late = while_saving().see(e.StopAsked, error=STOP, hurry_s=25.0).see(e.WorkDone, after_s=21.0, result=e.Result())
    assert late.begun == ["conclude"]
    assert late.course.job.error.code is Code.SIGTERM
    failed = while_saving().see(e.StopAsked, error=STOP, hurry_s=25.0).see(e.WorkFailed, error=FAULT)
    assert set(failed.course.job.errors) == {STOP, FAULT}


def test_a_stop_that_leaves_time_enough_but_wants_no_outputs_cuts_them_off():
    life = while_saving().see(e.StopAsked, error=STOP)
    assert life.asked(c.Cancel)
    assert life.course.job.error.code is Code.SIGTERM


def test_a_stop_while_waiting_for_the_slot_gives_up_the_place_in_the_line():
    life = Life().done().see(e.StopAsked, error=STOP)
    assert e.SlotFreed(job="1") in [order.event for order in life.asked(c.Post)]
    assert life.begun == ["store"]
    life.see(e.SlotGranted, ticket=2)
    assert life.commands == ()


def test_a_grant_that_comes_after_the_place_was_given_up_is_not_taken_for_the_next():
    """Found: it was, and two jobs then held one share."""
    life = Life((RUN, evolve(RUN, name="again", always=True)))
    first = life.course.ticket
    life.see(e.StopAsked, error=STOP)
    assert life.course.stand is Stand.SLOT
    assert life.see(e.SlotGranted, ticket=first, devices=("g0",)).begun == []
    assert life.see(e.SlotGranted, devices=("g1",)).begun == ["again"]


def test_the_start_of_a_payload_that_was_left_behind_is_not_the_next_steps():
    """Found: it was, and monitors then watched the diagnosis."""
    life = Life().run()
    ticket = life.course.ticket
    life.see(e.StopAsked, error=STOP).see(e.WorkExpired, after_s=15.0)
    assert life.begun == ["store"]
    assert life.see(e.PayloadStarted, ticket=ticket, pid=1).commands == ()


def test_stops_again_and_again_do_not_keep_a_hanging_step_alive():
    """Found: each set its timer anew, so a server that says stop at each heartbeat kept a hung archive for ever."""
    life = Life().run().done()
    assert life.left_s == 60.0
    assert life.see(e.StopAsked, after_s=50.0, error=STOP, hurry_s=1000.0).left_s == 10.0
    assert life.see(e.StopAsked, after_s=5.0, error=STOP, hurry_s=1000.0).left_s == 5.0


def test_a_payload_that_is_told_to_hurry_again_and_again_gets_no_more_time():
    life = Life().run().see(e.StopAsked, error=STOP, grace_s=10.0, hurry_s=25.0)
    assert life.left_s == 15.0
    assert life.see(e.StopAsked, after_s=14.0, error=STOP, grace_s=10.0, hurry_s=25.0).left_s == 1.0
    assert life.see(e.Hastened, after_s=0.5).left_s == 0.5


def test_in_a_hurry_steps_share_what_is_left_and_the_final_update_has_its_reserve():
    life = Life().see(e.StopAsked, error=STOP, hurry_s=25.0).done()
    (order,) = life.asked(c.Begin)
    assert (order.work, order.budget_s) == ("store", 20.0)
    life.see(e.Hastened, after_s=5.0)
    assert life.left_s == pytest.approx(5.0)
    life.see(e.WorkExpired, after_s=5.0)
    assert life.begun == ["conclude"]
    life.see(e.WorkFailed, error=FAULT, after_s=4.0)
    (order,) = life.asked(c.Begin)
    assert (order.work, order.budget_s) == ("clean_up", 1.0)


def test_in_a_hurry_a_final_update_is_not_tried_for_longer_than_there_is_time():
    """Found: under way when the hurry came, it went on for its whole ten minutes."""
    life = Life(()).see(e.StopAsked, error=STOP, hurry_s=25.0)
    assert life.left_s == 25.0
    life.see(e.WorkFailed, after_s=24.0, error=FAULT)
    assert life.begun == ["clean_up"]


def test_in_a_hurry_nothing_waits_for_the_slot():
    life = Life((BRING, evolve(RUN, always=True), STORE)).see(e.StopAsked, error=STOP, hurry_s=100.0)
    assert life.done().begun == ["store"]


def test_a_final_update_is_tried_until_its_time_is_spent_and_no_longer():
    life = Life(())
    tries = 0
    while life.course.stand is not Stand.CLEAN:
        assert life.begun == ["conclude"]
        tries += 1
        life.see(e.WorkFailed, error=FAULT, after_s=1.0)
        if life.course.stand is Stand.RETRY:
            life.see(e.RetryDue, after_s=life.left_s)
    assert tries == 11
    assert life.mono < 3600.0
    assert life.course.job.notes["delivered"] is False
    assert life.course.job.error is None


def test_why_a_final_update_is_not_delivered_is_said_each_time():
    refused = PilotError(Code.NOPROXY, "the token is revoked")
    (said,) = Life(()).see(e.WorkFailed, error=refused).asked(c.Say)
    assert "the token is revoked" in said.text
    assert "tried again in 12 s" in said.text


def test_jobs_that_are_not_delivered_do_not_come_back_all_at_once():
    waits = set()
    for number in range(20):
        life = Life((), str(number)).see(e.WorkFailed, error=FAULT)
        waits.add(life.left_s)
    assert len(waits) == 20
    assert 7.5 <= min(waits) < max(waits) <= 12.5


def test_a_delivery_that_is_heard_of_late_is_not_repeated():
    """Found: the answer of a try that had expired a moment before was dropped, and the update sent again."""
    life = Life(()).see(e.WorkExpired, after_s=120.0)
    assert life.course.stand is Stand.RETRY
    assert life.done().begun == ["clean_up"]


def test_a_delivery_is_heard_of_even_while_the_next_try_is_under_way():
    """Found: the late answer of the first try was forgotten, and a pilot that took over sent the update again."""
    life = Life(()).see(e.WorkExpired, after_s=120.0).see(e.RetryDue, after_s=2.0)
    first, second = life.course.ticket - 1, life.course.ticket
    life.see(e.WorkDone, ticket=first, result=e.Result())
    assert life.asked(c.Abandon)[0].ticket == second
    assert life.begun == ["clean_up"]
    assert life.course.job.notes["delivered"] is True


def test_heartbeats_go_on_until_the_final_update():
    life = Life()
    assert life.see(e.HeartbeatDue).asked(c.Report)
    assert life.left_s == 1800.0
    life = Life(())
    assert c.DropTimer(key="1/heartbeat") in life.commands
    assert life.see(e.HeartbeatDue).commands == ()


def test_when_another_attempt_is_offered_this_one_speaks_at_once():
    assert Life().see(e.OfferedAgain).asked(c.Report)
    life = Life(()).see(e.OfferedAgain)
    assert life.commands == (), "its final update is under way"
    life.see(e.WorkExpired, after_s=120.0)
    assert life.course.stand is Stand.RETRY
    assert life.see(e.OfferedAgain).begun[-1] == "conclude"
    assert life.course.stand is Stand.REPORT


def test_monitors_watch_while_the_payload_runs():
    life = Life().run().see(e.PayloadStarted, pid=17)
    assert life.asked(c.Watch)
    assert life.asked(c.Report)
    assert life.done().asked(c.Unwatch)
    assert life.done().asked(c.Unwatch) == []


ILLEGAL = [
    (Stand.NEW, e.StopAsked(job="1", error=STOP)),
    (Stand.NEW, e.Resumed(job="1", error=FAULT)),
    (Stand.WORK, e.Accepted(job="1", value=Job(id="1"), steps=())),
    (Stand.OVER, e.Accepted(job="1", value=Job(id="1"), steps=())),
]


@pytest.mark.parametrize(("stand", "event"), ILLEGAL, ids=lambda each: getattr(each, "value", type(each).__name__))
def test_what_cannot_happen_raises_and_tells_the_story(stand, event):
    course = Course(job=Job(id="1"), stand=stand, story=("Accepted", "WorkDone"))
    before = evolve(course)
    with pytest.raises(
        InvalidTransition, match=f"job 1: .* in {stand}: Accepted -> WorkDone -> {type(event).__name__}"
    ):
        step(course, event)
    assert course == before


def test_the_story_keeps_its_end():
    life = Life()
    for _ in range(80):
        life.see(e.HeartbeatDue)
    assert len(life.course.story) == 50


def test_every_event_has_a_rule_in_every_stand_in_which_it_can_come():
    """All but answers with tickets, whose rules say in which stands they are awaited."""
    anywhere = {kind for kind in e.JobEvent.__subclasses__() if not issubclass(kind, (e.Accepted, Ticketed))}
    taken = [stand for stand in Stand if stand is not Stand.NEW]
    assert [(s, k.__name__) for s in taken for k in anywhere if (s, k) not in RULES] == []
    assert [kind for stand, kind in RULES if stand is Stand.NEW] == [e.Accepted]


def test_a_site_sets_budgets_by_the_names_of_steps():
    assert [each.budget_s for each in budgeted(STEPS, {"bring": 1.0})] == [1.0, None, 60.0]
