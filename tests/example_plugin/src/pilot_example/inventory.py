"""The workflow "inventory": bring the inputs, list them, store the list; no payload runs."""

from __future__ import annotations

from collections.abc import Mapping

from pilot_core.sdk import RUNNING, STAGE_IN, STAGE_OUT, Result, Step, Task, Work, Workflow

LIST = "inventory.txt"


class Inventory(Workflow):
    """A table of steps, one of them with a work of its own."""

    name = "inventory"
    steps = (
        Step(name="verify", phase=STAGE_IN, budget_s=60.0),
        Step(name="stage_in", phase=STAGE_IN, budget_s=3600.0, failed=1099, expired=1151),
        Step(name="take_stock", phase=RUNNING, budget_s=60.0, slot=True),
        Step(name="stage_out", phase=STAGE_OUT, budget_s=3600.0, always=True, failed=1137, expired=1152),
    )

    def works(self) -> Mapping[str, Work]:
        """The work that the core does not have."""
        return {"take_stock": take_stock}


def take_stock(task: Task) -> Result:
    """Write the name and the size of every input."""
    sizes = {file.lfn: (task.workdir / file.lfn).stat().st_size for file in task.job.inputs}
    lines = (f"{size} {name}\n" for name, size in sorted(sizes.items()))
    (task.workdir / LIST).write_text("".join(lines))
    return Result(notes={"inventory": len(sizes)})
