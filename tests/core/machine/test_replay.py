"""A pilot dies after any event of a job: its journal tells all that it knew, and the next pilot ends the job."""

from __future__ import annotations

import json

import pytest

from pilot_core.agent.recover import event_of, replay
from pilot_core.errors import Code, PilotError
from pilot_core.machine import events as e
from pilot_core.machine.course import Stand
from pilot_core.machine.pilot import Mode, Pilot
from pilot_core.model.job import Job
from pilot_core.model.payload import Command, Outcome
from pilot_core.model.queue import Resources
from pilot_core.testing.world import World, a_receipt
from pilot_core.workflows.standard import Standard

BRINGS = {
    "stage_in": e.Result(receipts=(a_receipt("a", "in"),)),
    "prepare": e.Result(command=Command("true", env={"A": "b"})),
    "run": e.Result(outcome=Outcome(exit_code=0, wall_s=1.5)),
    "stage_out": e.Result(receipts=(a_receipt("b"),)),
}


def a_world():
    world = World(Pilot(slot=Resources(cores=4, gpus=("g0", "g1"))))
    world.post(e.Checked())
    world.settle()
    world.answer((Job(id="1", needs=Resources(gpu_count=1)), Standard.steps), over=True)
    world.settle()
    return world


def go_on(world):
    """One thing more: the work under way ends, or the payload starts first."""
    (key, order), *_ = world.under_way.items()
    if order.work == "run" and key not in world.started:
        world.started.add(key)
        world.post(e.PayloadStarted(job="1", ticket=order.ticket, pid=17))
    else:
        world.finish(key, BRINGS.get(order.work))
    world.settle()


def whole_life():
    world = a_world()
    while world.under_way:
        go_on(world)
    return world


MOMENTS = 11


@pytest.mark.parametrize("moment", range(MOMENTS))
@pytest.mark.parametrize("mode", [Mode.DRAINING, Mode.CHECKING])
def test_a_pilot_that_dies_anywhere_leaves_a_job_that_ends_once(moment, mode):
    world = a_world()
    for _ in range(moment):
        go_on(world)
    begun = [order.work for order in world.under_way.values()]
    stored = {receipt.lfn for receipt in world.agent.courses["1"].job.receipts} if "1" in world.agent.courses else set()
    world.crash(mode)
    world.settle()
    world.post(e.DrainAsked())
    world.end()
    job = world.over["1"]
    assert world.told["1"][-1] in {"finished", "failed"}
    assert {receipt.lfn for receipt in job.receipts} >= stored
    resumes = all(step.resumes for step in Standard.steps if step.name in begun)
    assert (job.error is None) == resumes, begun


def test_a_job_whose_last_word_is_nowhere_is_tried_again_by_the_next_pilot():
    """Found: its journal was sealed all the same, and nobody ever heard of the job."""
    world = a_world()
    while world.under_way:
        (_, order), *_ = world.under_way.items()
        if order.work == "conclude":
            break
        go_on(world)
    world.post(e.HaltAsked(error=PilotError(Code.SIGTERM, "now"), hurry_s=0.1))
    world.settle()
    world.finish(next(iter(world.under_way)), PilotError(Code.NOLOCALSPACE, "full"))
    world.settle()
    world.finish(next(iter(world.under_way)))
    world.settle()
    assert world.unsealed == {"1"}
    assert any("neither delivered nor kept" in said for said in world.said)
    world.crash(Mode.DRAINING)
    world.settle()
    assert [order.work for order in world.under_way.values()] == ["conclude"]
    world.end()
    assert world.over["1"].notes["delivered"] is True
    assert not world.unsealed
    assert not world.journals


def test_the_moments_are_all_there_are():
    world, moments = a_world(), 0
    while world.under_way:
        go_on(world)
        moments += 1
    assert moments == MOMENTS


def test_a_payload_that_runs_on_keeps_its_devices_from_the_next_job():
    """Found: the next pilot granted the first free device, whatever the payload had."""
    world = World(Pilot(slot=Resources(cores=4, gpus=("g0", "g1"))))
    world.post(e.Checked())
    world.settle()
    needs = Resources(gpu_count=1)
    world.answer((Job(id="1", needs=needs), Standard.steps), (Job(id="2", needs=needs), Standard.steps))
    for _ in range(3):
        world.settle()
        for key in sorted(world.under_way):
            world.finish(key)
    world.settle()
    assert world.agent.courses["2"].job.devices == ("g1",)
    while "1" in world.agent.courses:
        world.finish(min(world.under_way))
        world.settle()
    world.crash(Mode.CHECKING)
    world.settle()
    world.answer((Job(id="3", needs=needs), Standard.steps))
    for _ in range(2):
        world.settle()
        world.finish(max(world.under_way))
    world.settle()
    assert world.agent.courses["3"].job.devices == ("g0",)


def test_a_recovering_pilot_does_not_end_before_it_has_heard_of_its_jobs():
    """Found: the order to drain overtook ``Resumed``, which goes by way of the journal, and the pilot ended at once."""
    world = a_world()
    world.crash(Mode.DRAINING)
    world.turn()
    assert not world.exits
    world.end()
    assert world.over


def test_a_replayed_story_can_be_told_up_to_any_event():
    lines = []
    world = a_world()
    while world.under_way:
        lines = world.journals.get("1") or lines
        go_on(world)
    stands = [replay(map(event_of, map(json.loads, lines[: n + 1]))).stand for n in range(len(lines))]
    assert stands[0] is Stand.WORK
    assert stands[-1] in {Stand.CLEAN, Stand.OVER}
    assert Stand.SLOT in stands


def test_a_job_that_was_stopped_and_left_is_ended_and_not_begun_again():
    world = a_world()
    for _ in range(4):
        go_on(world)
    world.post(e.StopAsked(job="1", error=PilotError(Code.SIGTERM, "now"), hurry_s=25.0))
    world.settle()
    assert world.agent.courses["1"].stand is Stand.END
    world.crash()
    world.settle()
    assert world.agent.courses["1"].stand is Stand.END
    world.end()
    assert world.over["1"].error.code is Code.SIGTERM


def test_a_job_that_was_over_but_not_sealed_is_not_forgotten_by_its_first_event():
    """Found: any event but ``Resumed`` dropped it, its claim stayed, and the pilot never ended."""
    world = a_world()
    while len(world.journals["1"]) < 13 and world.under_way:
        (key, _), *_ = world.under_way.items()
        if world.agent.courses["1"].stand is Stand.CLEAN:
            world.finish(key)
            world.write()
            break
        go_on(world)
    world.crash()
    assert world.agent.courses["1"].stand is Stand.OVER
    world.box.appendleft(e.JournalLost(job="1", detail="the disk is full"))
    world.end()
    assert world.over
