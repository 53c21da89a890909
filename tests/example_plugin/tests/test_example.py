"""The experiment, the monitor and the workflow."""

from __future__ import annotations

from pathlib import Path

import pilot_example
import pytest
from pilot_example.codes import Codes
from pilot_example.heat import Heat, HeatOptions
from pilot_example.inventory import take_stock

from pilot_core.sdk import FileSpec, Job, JobExtras, Outcome, Queue, Task, Usage, View
from pilot_core.sdk.io import CancelFlag
from pilot_core.testing import PilotKit, a_job

QUEUE = Queue(name="example")


class Settings:
    """Every section at its defaults, but for what is given."""

    def __init__(self, *given: object) -> None:
        self.given = {type(each): each for each in given}

    def of(self, section, /):
        return self.given.get(section) or section()


def test_the_payload_runs_under_the_geometry_of_its_job():
    run = PilotKit(plugins=[pilot_example]).run(a_job(wire={"geometry": "v7"}))
    assert run.command.env["EXAMPLE_GEOMETRY"] == "v7"
    assert run.trail == ["stage_in", "running", "stage_out", "finished"]


def test_the_complaint_about_the_geometry_is_an_error_of_our_own(tmp_path: Path):
    (tmp_path / "payload.stderr").write_text("starting\nthe geometry is too old: v7\n")
    job = Job(id="1", extras=JobExtras({"example.geometry": "v7"}))
    (error,) = pilot_example.pilot_payload_diagnose(job, Outcome(exit_code=2), tmp_path)
    assert (error.code, error.facts["asked"]) == (Codes.OLDGEOMETRY, "v7")
    assert pilot_example.pilot_payload_diagnose(job, Outcome(exit_code=0), tmp_path) == []


@pytest.mark.parametrize(("told", "limit", "stops"), [("95", 90.0, True), ("95", 96.0, False), ("warm", 0.0, False)])
def test_a_payload_on_a_hot_device_is_stopped(tmp_path: Path, told: str, limit: float, stops: bool):
    (tmp_path / "temperature").write_text(told)
    view = View(job=Job(id="1"), queue=QUEUE, workdir=tmp_path, usage=Usage(), running_s=1.0, mono=1.0)
    reading = Heat(Settings(HeatOptions(limit=limit))).look(view)
    assert (reading.breach is not None) == stops
    assert reading.measures == ({"heat.celsius": 95.0} if told == "95" else {})


def test_the_inventory_names_every_input(tmp_path: Path):
    inputs = (FileSpec(lfn="b"), FileSpec(lfn="a"))
    (tmp_path / "a").write_bytes(b"123")
    (tmp_path / "b").write_bytes(b"")
    task = Task(
        job=Job(id="1", inputs=inputs),
        queue=QUEUE,
        settings=Settings(),
        workdir=tmp_path,
        control=tmp_path,
        cancel=CancelFlag(),
        stored=lambda _: None,
    )
    assert take_stock(task).notes == {"inventory": 2}
    assert (tmp_path / "inventory.txt").read_text() == "3 a\n0 b\n"
