"""Whose fault it is when a pilot that a workflow drives comes to grief."""

from __future__ import annotations

import pytest

from pilot_core.agent.drive import drive
from pilot_core.errors import Code, PilotError
from pilot_core.plugins.guard import Guard, PluginFailed, PluginRef


def driven_by(workflow):
    return lambda run: Guard().call(PluginRef("theirs"), "drive", workflow, run)


def stumble(error):
    raise error


@pytest.mark.parametrize("error", [ZeroDivisionError("ours"), PilotError(Code.UNKNOWNEXCEPTION, "ours")])
def test_the_cores_own_defect_passes_unchanged(error):
    with pytest.raises(type(error)) as seen:
        drive(driven_by(lambda run: run()), lambda: stumble(error))
    assert seen.value is error


def test_a_workflow_cannot_hide_it():
    def hide(run):
        with pytest.raises(ZeroDivisionError):
            run()

    with pytest.raises(ZeroDivisionError):
        drive(driven_by(hide), lambda: stumble(ZeroDivisionError()))


def test_what_the_workflow_does_wrong_is_its_own():
    def break_down(run):
        run()
        raise ZeroDivisionError("theirs")

    with pytest.raises(PluginFailed, match="plugin theirs failed in drive"):
        drive(driven_by(break_down), lambda: None)
