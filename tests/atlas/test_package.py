"""What the distribution brings, and that it brings nothing of others."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import distribution
from typing import ClassVar

from pilot_atlas import plugin
from pilot_core.testing.contracts.plugin import PluginContract
from pilot_core.testing.fakes import Payload

from .jobs import PRODUCTION, job_report


def test_it_installs_beside_the_core():
    installed = distribution("pilot-atlas")
    assert installed.version == distribution("pilot-core").version
    brought = {f"{each.group}: {each.name}" for each in installed.entry_points}
    assert brought == {
        "pilot_core.experiment: atlas",
        "pilot_core.container: alrb",
        "pilot_core.monitor: atlas_memory",
    }


LOOK = """
import sys
from pilot_core.cli.main import main
main(["config", "show", "--set", "bootstrap.experiment=atlas", "--set", "connection.info_sources="])
print(sorted(name for name in sys.modules if name.startswith(("pilot_lsst", "pilot_hpc", "pilot_atlas"))))
"""


def test_whoever_chooses_this_experiment_gets_no_other():
    looked = subprocess.run([sys.executable, "-c", LOOK], capture_output=True, text=True, check=True)
    shown, _, modules = looked.stdout.rstrip().rpartition("\n")
    assert "https://pandaserver.cern.ch:25443" in shown
    assert "pilot_atlas.plugin" in modules
    assert "pilot_lsst" not in modules
    assert "pilot_hpc" not in modules


class TestPlugin(PluginContract):
    plugin = plugin
    wire = PRODUCTION
    payload = Payload(files={"jobReport.json": json.dumps(job_report()).encode()})
    settings: ClassVar = {
        "atlas.without_cvmfs": True,
        "monitor.monitors": [],
        "connection.info_sources": [],
        "connection.url": [],
    }
