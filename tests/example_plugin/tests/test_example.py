"""The experiment, the monitor and the workflow: each test runs a whole pilot in this process."""

from __future__ import annotations

import pilot_example
from pilot_core.testing import PilotKit, a_job
from pilot_example.heat import Heat
from pilot_example.inventory import Inventory


def test_the_payload_hears_of_its_geometry():
    run = PilotKit(plugins=[pilot_example]).run(a_job(wire={"geometry": "v7"}))
    assert run.command.env["EXAMPLE_GEOMETRY"] == "v7"
    assert run.trail == ["stage_in", "running", "stage_out", "finished"]
