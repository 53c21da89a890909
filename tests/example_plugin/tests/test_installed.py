"""As a site uses it: found by its entry points, in whole pilots that the installed command runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest


def test_everything_is_found_by_its_entry_point():
    assert {f"{each.group}: {each.name}" for each in distribution("pilot-example").entry_points} == {
        "pilot_core.experiment: example",
        "pilot_core.copytool: drawer",
        "pilot_core.monitor: heat",
        "pilot_core.workflow: inventory",
    }


class Site:
    """Runs pilots with this experiment and this copy tool."""

    def __init__(self, root: Path) -> None:
        self.root, self.store = root, root / "store"

    def run(self, *more: str, **job: object) -> dict[str, object]:
        """The record of a job."""
        (self.root / "job.json").write_text(json.dumps({"id": "7", **job}))
        words = ["--experiment", "example", "--set", "data.copytools=drawer", *more]
        told = ["--job", str(self.root / "job.json"), "--workdir", str(self.root / "work")]
        command = [sys.executable, "-m", "pilot_core", "run", *words, *told]
        env = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
        self.ended = subprocess.run(command, cwd=self.root, env=env, capture_output=True, text=True, timeout=120)
        record = self.root / "work/PanDA_Pilot-7.control/record.json"
        found: dict[str, object] = json.loads(record.read_text())
        return found

    def put(self, name: str, text: str) -> dict[str, str]:
        """A file in the drawer, as a job names it."""
        self.store.mkdir(exist_ok=True)
        (self.store / name).write_text(text)
        return {"name": name, "source": f"drawer://{self.store}/{name}"}

    def place(self, name: str) -> dict[str, str]:
        """Where a job puts an output."""
        return {"name": name, "destination": f"drawer://{self.store}/{name}"}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_a_job_is_run_with_the_experiment_and_the_copy_tool(site):
    record = site.run(
        command=["/bin/sh", "-c", 'cat in.txt > out.txt; echo "$EXAMPLE_GEOMETRY" >> out.txt'],
        inputs=[site.put("in.txt", "data\n")],
        outputs=[site.place("out.txt")],
        wire={"geometry": "v7"},
    )
    assert record["state"] == "finished", site.ended
    assert (site.store / "out.txt").read_text() == "data\nv7\n"


def test_the_monitor_stops_a_job_on_a_hot_device(site):
    record = site.run(
        "--set",
        "monitor.monitors=heat",
        "--set",
        "monitor.sample_s=0.05",
        command=["/bin/sh", "-c", "echo 95 > temperature; exec sleep 60"],
    )
    assert record["error"]["acronym"] == "TOOHOT", site.ended


def test_the_workflow_lists_what_came(site):
    inputs = [site.put("b", "12"), site.put("a", "3")]
    record = site.run(
        "--workflow", "inventory", command=["/bin/false"], inputs=inputs, outputs=[site.place("inventory.txt")]
    )
    assert record["state"] == "finished", site.ended
    assert (site.store / "inventory.txt").read_text() == "1 a\n2 b\n"
