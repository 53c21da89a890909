"""The three tables: their steps, in order, and what holds for every one of them."""

from __future__ import annotations

from importlib.metadata import entry_points

import pytest

from pilot_core.errors import code
from pilot_core.machine.phases import Step
from pilot_core.model.job import RUNNING, STAGE_IN, STAGE_OUT
from pilot_core.spec.drivers import Workflow
from pilot_core.workflows.payload_stageout import PayloadStageOut
from pilot_core.workflows.stagein import StageIn
from pilot_core.workflows.standard import Standard

TABLES = (Standard, StageIn, PayloadStageOut)
CORE_WORKS = {
    *("verify", "stage_in", "fill_cache", "take_inputs", "prepare", "run", "diagnose"),
    *("stage_out", "archive", "store_log"),
}


def works(table: type[Workflow]) -> list[str]:
    return [step.does for step in table.steps]


def marked(table: type[Workflow], mark: str) -> set[str]:
    return {step.name for step in table.steps if getattr(step, mark)}


def test_the_standard_table():
    steps = ["verify", "stage_in", "prepare", "run", "diagnose", "stage_out", "archive", "store_log"]
    assert works(Standard) == steps
    assert [step.phase for step in Standard.steps] == [*[STAGE_IN] * 2, *[RUNNING] * 2, *[STAGE_OUT] * 4]
    assert marked(Standard, "slot") == {"prepare", "run"}
    assert marked(Standard, "always") == {"diagnose", "stage_out", "archive", "store_log"}
    assert marked(Standard, "resumes") == {"run", "diagnose", "stage_out", "archive", "store_log"}
    assert {step.name for step in Standard.steps if not step.cut} == {"diagnose", "archive", "store_log"}


def test_the_others_differ_where_they_should():
    assert works(StageIn) == ["verify", "fill_cache", "archive", "store_log"]
    assert works(PayloadStageOut) == [work.replace("stage_in", "take_inputs") for work in works(Standard)]
    assert [step.name for step in PayloadStageOut.steps] == [step.name for step in Standard.steps]


@pytest.mark.parametrize("table", TABLES)
def test_every_step_is_bounded_and_has_codes(table: type[Workflow]):
    names = [step.name for step in table.steps]
    assert len(set(names)) == len(names)
    for step in table.steps:
        assert isinstance(step, Step)
        assert step.does in CORE_WORKS
        assert (step.budget_s is None) == (step.name == "run")
        assert code(step.failed)
        assert code(step.expired)


def test_each_is_found_by_its_name():
    found = {each.name: each for each in entry_points(group="pilot_core.workflow")}
    for table in TABLES:
        assert found[table.name].value == f"{table.__module__}:{table.__qualname__}"
