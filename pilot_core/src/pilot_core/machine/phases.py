"""The table of steps that a workflow hands to the machine as data.

A job goes through its workflow's steps in order. Once something has failed, or a stop was asked for, only the steps
marked ``always`` are still taken. Steps marked ``slot`` hold the job's share of the slot while they last. After the
last step the machine itself reports the job and cleans up, whatever the workflow.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

from pilot_core.model.change import evolve
from pilot_core.model.job import Phase


@frozen(kw_only=True)
class Step:
    """One piece of work: its name, the phase it belongs to, and what happens if it fails or hangs."""

    name: str
    phase: Phase
    work: str = ""
    """The controller's work to do; the name of the step where it is not given."""
    budget_s: float | None = None
    """How long it may take before it is left behind; ``None`` where the job's own limits watch it."""
    always: bool = False
    """Taken even after a failure or a stop; but a step that was waiting for the slot is given up by a stop."""
    slot: bool = False
    """Holds the job's share of the slot."""
    cut: bool = True
    """Whether a stop cuts it short."""
    saves: bool = False
    """Brings the fruits of a payload into safety: a stop in a hurry leaves it what is left of the time, and is no
    error as long as all of it is done."""
    resumes: bool = False
    """Whether another pilot can take it up after a crash."""
    failed: int = 1319
    """The error code of a failure that brings none of its own."""
    expired: int = 1319
    """The error code of a budget overrun."""

    @property
    def does(self) -> str:
        """The work's name."""
        return self.work or self.name


def budgeted(steps: tuple[Step, ...], budgets: Mapping[str, float]) -> tuple[Step, ...]:
    """The same steps with the site's budgets in place of the table's."""
    return tuple(evolve(step, budget_s=budgets.get(step.name, step.budget_s)) for step in steps)
