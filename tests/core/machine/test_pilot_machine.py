"""The pilot: what it admits, when it asks, how it ends."""

from __future__ import annotations

import pytest

from pilot_core.errors import Code, PilotError
from pilot_core.machine import commands as c
from pilot_core.machine import events as e
from pilot_core.machine.pilot import RULES, Limits, Mode, Pilot, Turn, step
from pilot_core.model.queue import Resources

SLOT = Resources(cores=4, memory_b=100, disk_b=1000, gpus=("g0", "g1"))
FAULT = PilotError(Code.PAYLOADEXECUTIONFAILURE, "it broke")
NO_ANSWER = PilotError(Code.COMMUNICATIONFAILURE, "nobody there")
STOP = PilotError(Code.SIGTERM, "now")


class Life:
    """A pilot and what it asked for, event by event."""

    def __init__(self, checked=True, **limits):
        self.pilot = Pilot(slot=SLOT, limits=Limits(**limits))
        self.commands = ()
        if checked:
            self.see(e.Checked())

    def see(self, *events):
        for event in events:
            self.pilot, self.commands = step(self.pilot, event)
        return self

    def take(self, job, again_s=None, **needs):
        return self.see(e.JobTaken(job=job, needs=Resources(**needs)), e.Answered(jobs=1, again_s=again_s))

    def ask(self, job, ticket=1, **needs):
        return self.see(e.SlotAsked(job=job, needs=Resources(**needs), ticket=ticket))

    def asked(self, kind):
        return [command for command in self.commands if isinstance(command, kind)]

    def posted(self, kind):
        return [command.event for command in self.asked(c.Post) if isinstance(command.event, kind)]


def test_nothing_is_asked_for_before_the_node_was_checked():
    life = Life(checked=False)
    assert life.commands == ()
    assert life.see(e.Checked()).asked(c.Ask)


def test_a_node_that_is_not_fit_takes_no_work_and_says_why():
    life = Life(checked=False).see(e.Checked(problems=(PilotError(Code.NOLOCALSPACE, "1 MB"),)))
    assert "1 MB" in life.asked(c.Say)[0].text
    (end,) = life.asked(c.Exit)
    assert end.error.code is Code.NOLOCALSPACE


def test_work_is_asked_for_while_cores_are_free_and_then_for_one_more():
    life = Life(prefetch_jobs=1)
    assert life.take("1", cores=3).asked(c.Ask)[0].free.cores == 1
    assert life.take("2", cores=1).asked(c.Ask) == []
    life.ask("1", cores=3).ask("2", cores=1)
    assert life.asked(c.Ask)[0].free.cores == 4
    assert life.take("3", cores=4).asked(c.Ask) == []


def test_what_waits_for_a_job_is_asked_about_as_soon_as_that_is_over():
    life = Life().take("1", cores=1).take("2", cores=1)
    life.see(e.Answered(again_s=5.0, stay=True, behind=("1",)))
    assert life.see(e.JobOver(job="2")).asked(c.Ask) == []
    assert life.see(e.JobOver(job="1")).asked(c.Ask)


def test_shares_are_granted_in_the_order_of_asking_and_nobody_overtakes():
    life = Life().take("1", cores=3).take("2", cores=2).take("3", cores=1)
    life.ask("1", cores=3)
    assert life.posted(e.SlotGranted)
    assert life.ask("2", cores=2).posted(e.SlotGranted) == []
    assert life.ask("3", cores=1).posted(e.SlotGranted) == []
    assert [grant.job for grant in life.see(e.SlotFreed(job="1")).posted(e.SlotGranted)] == ["2", "3"]


def test_each_is_told_which_devices_are_its_own():
    life = Life().take("1", gpu_count=1).take("2", gpu_count=1).take("3", gpu_count=1)
    devices = [life.ask(job, gpu_count=1).posted(e.SlotGranted) for job in "123"]
    assert [[grant.devices for grant in grants] for grants in devices] == [[("g0",)], [("g1",)], []]
    (grant,) = life.see(e.SlotFreed(job="1")).posted(e.SlotGranted)
    assert (grant.job, grant.devices) == ("3", ("g0",))


def test_a_grant_carries_the_ticket_of_what_it_answers():
    life = Life().take("1")
    assert life.ask("1", ticket=7).posted(e.SlotGranted)[0].ticket == 7


@pytest.mark.parametrize("needs", [{"cores": 5}, {"memory_b": 101}, {"gpu_count": 3}, {"disk_b": 1001}])
def test_a_job_that_never_fits_is_ended_with_the_reason(needs):
    life = Life().take("1", **needs).ask("1", **needs)
    (stop,) = life.posted(e.StopAsked)
    assert stop.error.code.number == 1344
    assert str(next(iter(needs.values()))) in stop.error.detail
    assert life.pilot.line == ()


def test_a_job_larger_on_disk_than_the_slot_does_not_make_the_pilot_ask_for_less_than_nothing():
    """Found: exactly nothing was the only full."""
    life = Life(prefetch_jobs=0).take("1", disk_b=2000)
    assert life.asked(c.Ask) == []


def test_no_work_ends_the_pilot_with_its_own_code():
    life = Life(empty_answers=2).see(e.Answered(again_s=3.0))
    assert life.asked(c.SetTimer)[0].after_s == 3.0
    (end,) = life.see(e.AskDue(), e.Answered()).asked(c.Exit)
    assert end.error.code.number == 1385


def test_a_hint_ends_a_rest():
    life = Life().see(e.Answered(again_s=3600.0, stay=True))
    assert life.commands[0].after_s == 3600.0
    assert life.see(e.Hinted()).asked(c.Ask)


def test_a_hint_while_a_request_is_under_way_makes_the_next_one_come_at_once():
    life = Life().see(e.Hinted(), e.Answered(again_s=3600.0, stay=True))
    assert life.asked(c.SetTimer)[0].after_s == 0.0
    life.see(e.AskDue(), e.Answered(again_s=3600.0, stay=True))
    assert life.asked(c.SetTimer)[0].after_s == 3600.0


def test_a_hint_does_not_hasten_a_server_that_does_not_answer():
    life = Life(failed_answers=9).see(e.Answered(error=NO_ANSWER, again_s=60.0))
    assert life.see(e.Hinted()).commands == ()
    life.see(e.AskDue(), e.Hinted(), e.Answered(error=NO_ANSWER, again_s=60.0))
    assert life.asked(c.SetTimer)[0].after_s == 60.0


def test_a_server_that_answers_something_else_is_asked_at_once():
    """Found: after a restart of its server that took a second a pilot rested for minutes, though it was heard."""
    life = Life(failed_answers=9).see(e.Answered(error=NO_ANSWER, again_s=60.0))
    assert life.see(e.Hinted(answers=True)).asked(c.Ask)


def test_what_is_asked_again_soon_is_not_counted():
    life = Life(failed_answers=2).see(e.Answered(error=NO_ANSWER, again_s=1.0))
    for again_s in (2.0, 4.0):
        life.see(e.AskDue(), e.Answered(error=NO_ANSWER, again_s=again_s, counts=False))
        assert life.asked(c.SetTimer)[0].after_s == again_s
    assert life.see(e.AskDue(), e.Answered(error=NO_ANSWER)).asked(c.Exit)


def test_an_answer_without_a_job_is_an_answer():
    life = Life(failed_answers=2, empty_answers=9)
    for _ in range(3):
        life.see(e.Answered(error=NO_ANSWER, again_s=1.0), e.AskDue(), e.Answered(again_s=1.0), e.AskDue())
        assert life.asked(c.Ask)


def test_jobs_may_come_one_by_one_and_only_for_a_while():
    life = Life(one_by_one=True, prefetch_jobs=3).take("1")
    assert life.asked(c.Ask) == []
    assert life.see(e.JobOver(job="1")).asked(c.Ask)
    life.take("2").see(e.RefillOver())
    (end,) = life.see(e.JobOver(job="2")).asked(c.Exit)
    assert end.error is None


def test_the_first_job_may_come_late():
    life = Life(one_by_one=True, empty_answers=9).see(e.RefillOver(), e.Answered(again_s=1.0))
    assert life.see(e.AskDue()).asked(c.Ask)
    assert life.take("1").see(e.JobOver(job="1")).asked(c.Exit)


def test_what_nobody_heard_is_why_the_pilot_ends():
    silent = PilotError(Code.COMMUNICATIONFAILURE, "nobody answers")
    life = Life(max_jobs=2).take("1").take("2").see(e.JobOver(job="1", unheard=silent), e.JobOver(job="2"))
    assert life.asked(c.Exit)[0].error is silent
    plain = PilotError(Code.INTERNALPILOTPROBLEM, "odd")
    (end,) = Life(max_jobs=1).take("1").see(e.JobOver(job="1", unheard=plain)).asked(c.Exit)
    assert (end.error.code.number, "odd" in end.error.detail) == (1318, True)


def test_no_more_work_after_some_is_no_error():
    life = Life().take("1").see(e.JobOver(job="1"), e.Answered(over=True))
    assert [end.error for end in life.asked(c.Exit)] == [None]


def test_an_answer_to_a_paused_pilot_is_no_reason_to_end_with():
    """Found: a pilot that was paused while it asked exited with "no work", whatever it did after."""
    life = Life().see(e.PauseAsked(), e.Answered(over=True))
    assert life.commands == ()
    assert life.see(e.ResumeAsked()).asked(c.Ask)
    life.take("1").see(e.DrainAsked(), e.Answered(), e.JobOver(job="1"))
    assert [end.error for end in life.asked(c.Exit)] == [None]


def test_no_answers_end_the_pilot_after_a_while():
    life = Life(failed_answers=2).see(e.Answered(error=NO_ANSWER, again_s=60.0))
    assert life.asked(c.SetTimer)[0].after_s == 60.0
    error = life.see(e.AskDue(), e.Answered(error=NO_ANSWER)).asked(c.Exit)[0].error
    assert error.code.number == 1318
    assert str(NO_ANSWER) in error.detail


def test_jobs_that_fail_quickly_in_a_row_make_a_black_hole():
    life = Life(black_hole_failures=2, black_hole_s=60.0).take("1").take("2").take("3")
    life.see(e.JobOver(job="1", error=FAULT, lasted_s=1.0))
    assert life.pilot.mode is Mode.OPEN
    life.see(e.JobOver(job="2", error=FAULT, lasted_s=1.0))
    assert life.pilot.mode is Mode.DRAINING
    assert "2 jobs in a row" in life.asked(c.Say)[0].text
    life.see(e.Answered(), e.JobOver(job="3"))
    assert life.asked(c.Exit)[0].error.code.number == 1332


def test_a_slow_failure_or_a_success_between_makes_none():
    life = Life(black_hole_failures=2, black_hole_s=60.0).take("1").take("2").take("3")
    life.see(e.JobOver(job="1", error=FAULT, lasted_s=1.0), e.JobOver(job="2", error=FAULT, lasted_s=99.0))
    life.see(e.JobOver(job="3", error=FAULT, lasted_s=1.0))
    assert life.pilot.mode is Mode.OPEN


def test_a_draining_pilot_finishes_what_it_has():
    life = Life().take("1").see(e.DrainAsked(), e.Answered())
    assert life.asked(c.Exit) == []
    assert life.see(e.JobOver(job="1")).asked(c.Exit)


def test_a_halt_stops_every_job_and_a_second_one_hastens():
    life = Life().take("1").take("2").see(e.HaltAsked(error=STOP, hurry_s=25.0))
    assert [(stop.job, stop.hurry_s) for stop in life.posted(e.StopAsked)] == [("1", 25.0), ("2", 25.0)]
    assert [each.job for each in life.see(e.HaltAsked(error=STOP)).posted(e.Hastened)] == ["1", "2"]
    life.see(e.AskGivenUp(), e.JobOver(job="1"), e.JobOver(job="2"))
    assert life.asked(c.Exit)[0].error == STOP


def test_a_job_that_comes_while_stopping_is_stopped():
    life = Life().see(e.HaltAsked(error=STOP))
    assert life.asked(c.Exit) == []
    life.see(e.JobTaken(job="1", needs=Resources()))
    assert life.posted(e.StopAsked)


def test_a_halt_after_the_end_ends_nothing_twice():
    """Found: a second signal, in the same turn as the exit, gave another exit with another code."""
    life = Life().see(e.DrainAsked(), e.Answered())
    assert life.asked(c.Exit)
    assert life.see(e.HaltAsked(error=STOP)).commands == ()


def test_the_pilot_ends_after_the_jobs_that_it_was_to_do():
    life = Life(max_jobs=1).take("1")
    assert life.asked(c.Ask) == []
    assert life.see(e.JobOver(job="1")).asked(c.Exit)


def test_a_refused_job_counts_as_one():
    life = Life(max_jobs=1).see(e.JobRefused(error=FAULT), e.Answered(jobs=1))
    assert (life.pilot.failed, life.pilot.taken) == (1, 1)
    assert life.asked(c.Exit)


def refused(**limits):
    """A pilot whose only job was refused, with the letter about it on its way."""
    waits = e.LetterWaits(job="7", path="/w/7.json", budget_s=100.0, mono=1000.0)
    life = Life(max_jobs=1, **limits).see(waits)
    assert life.asked(c.Deliver) == [c.Deliver(path="/w/7.json")]
    return life.see(e.JobRefused(error=FAULT), e.Answered(jobs=1))


def tried(mono, error=NO_ANSWER):
    return e.LetterTried(path="/w/7.json", error=error, mono=mono)


def test_a_pilot_does_not_end_before_the_end_of_a_refused_job_is_told():
    """Found: it was told once, and the pilot ended with 0."""
    life = refused()
    assert not life.asked(c.Exit)
    (again,) = life.see(tried(1001.0)).asked(c.SetTimer)
    assert 7 < again.after_s < 13
    assert life.see(again.event).asked(c.Deliver)
    (end,) = life.see(tried(1020.0, None)).asked(c.Exit)
    assert end.error is None


def test_the_end_of_a_refused_job_that_nobody_hears_is_the_pilots_error():
    life, mono = refused(), 1000.0
    while again := life.see(tried(mono)).asked(c.SetTimer):
        mono += again[0].after_s
        life.see(again[0].event)
    (end,) = life.asked(c.Exit)
    assert (end.error.code, end.error.code.exit_code) == (Code.COMMUNICATIONFAILURE, 79)
    assert mono < 1100


def test_a_stop_leaves_the_end_of_a_refused_job_a_last_try():
    life = refused().see(tried(1001.0), e.HaltAsked(error=STOP, hurry_s=5.0, mono=1002.0))
    (now,) = [each for each in life.asked(c.SetTimer) if each.key == "letter//w/7.json"]
    assert now.after_s == 0
    assert life.see(now.event).asked(c.Deliver)
    assert life.see(now.event).commands == (), "one at a time"
    assert life.see(tried(1003.0)).asked(c.Exit)


def test_descriptions_that_make_no_sense_make_no_black_hole():
    """Found: five misspelt keys in a box, and the node took no more work."""
    life = Life(black_hole_failures=2).see(*[e.JobRefused(error=FAULT)] * 3)
    assert life.pilot.mode is Mode.OPEN
    assert life.pilot.failed == 3


def test_a_job_that_another_pilot_left_is_none_of_those_to_do():
    """Found: `pilot run --job` where a job was left ended that one and never ran its own."""
    life = Life(max_jobs=1).see(e.JobTaken(job="left", needs=Resources(), inherited=True))
    assert life.pilot.taken == 0
    assert life.take("1").pilot.taken == 1


def test_a_job_that_ended_holds_its_disk_until_it_is_over():
    life = Life().take("1", cores=4, disk_b=600).ask("1", cores=4, disk_b=600).see(e.SlotFreed(job="1"))
    assert life.pilot.claims["1"].turn is Turn.ENDING
    assert life.pilot.free().disk_b == 400
    assert life.pilot.free(Turn.RUNNING).cores == 4


def test_there_is_a_rule_for_every_event_of_the_pilot():
    kinds = {kind for kind in e.Event.__subclasses__() if kind is not e.JobEvent}
    assert kinds == set(RULES)
