"""What every workflow must do: whatever happens in a step of its table, the job ends, once."""

from __future__ import annotations

from typing import ClassVar

import pytest

from pilot_core.errors import Code, PilotError, code
from pilot_core.machine import events as e
from pilot_core.machine.phases import Step
from pilot_core.machine.pilot import Pilot
from pilot_core.model.job import Job
from pilot_core.model.queue import Resources
from pilot_core.spec.drivers import Workflow
from pilot_core.testing.contracts.drivers import DriverContract
from pilot_core.testing.world import World


class WorkflowContract(DriverContract):
    """For tables of steps: each step done, failed or hanging, the pilot stopped or killed, and the job ends."""

    kind = Workflow
    core_works: ClassVar[frozenset[str]] = frozenset(
        {
            "verify",
            *("stage_in", "fill_cache", "take_inputs"),
            *("prepare", "run", "diagnose"),
            *("stage_out", "archive", "store_log"),
        }
    )

    @property
    def steps(self) -> tuple[Step, ...]:
        """The table."""
        table: tuple[Step, ...] = self.driver.steps
        return table

    def world(self) -> World:
        """A pilot that has taken one job."""
        world = World(Pilot(slot=Resources(cores=4)))
        world.post(e.Checked())
        world.settle()
        world.answer((Job(id="1"), self.steps), over=True)
        world.settle()
        return world

    def test_steps_have_names_works_and_codes(self) -> None:
        names = [step.name for step in self.steps]
        assert len(names) == len({*names})
        known = self.core_works | self.made.works().keys()
        assert {step.does for step in self.steps} <= known
        for step in self.steps:
            code(step.failed)
            code(step.expired)

    def test_only_what_others_limit_is_without_a_budget(self) -> None:
        assert {step.does for step in self.steps if step.budget_s is None} <= {"run"}

    def test_a_job_for_which_all_goes_well_takes_every_step(self) -> None:
        world, taken = self.world(), []
        while world.under_way:
            (key, order), *_ = world.under_way.items()
            taken.append(order.work)
            world.finish(key)
            world.settle()
        assert taken == [*(step.does for step in self.steps), "conclude", "clean_up"]
        assert world.over["1"].error is None

    @pytest.mark.parametrize("how", ["fails", "hangs", "stops", "dies", "hurries"])
    def test_a_job_ends_whatever_happens_in_a_step(self, how: str) -> None:
        for number in range(len(self.steps)):
            world = self.world()
            for _ in range(number):
                world.finish(min(world.under_way))
                world.settle()
            self._happen(world, how)
            world.settle()
            world.end(answers=how != "hurries")
            assert world.over.keys() == {"1"}
            assert (world.over["1"].error is None) == (how == "dies" and self.steps[number].resumes)

    def _happen(self, world: World, how: str) -> None:
        key, order = next(iter(world.under_way.items()))
        error = PilotError(Code.SIGTERM, "as told")
        match how:
            case "fails":
                world.finish(key, error)
            case "hangs" if order.budget_s is not None:
                world.tick(order.budget_s)
            case "stops" | "hangs":
                world.post(e.StopAsked(job="1", error=error))
            case "hurries":
                world.post(e.HaltAsked(error=error, hurry_s=25.0))
            case _:
                world.crash()
