"""What the distribution brings, and that it brings nothing of others."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import distribution
from typing import ClassVar

from pilot_core.testing.contracts.plugin import PluginContract
from pilot_lsst import plugin


def test_it_installs_beside_the_core():
    installed = distribution("pilot-lsst")
    assert installed.version == distribution("pilot-core").version
    assert {f"{each.group}: {each.name}" for each in installed.entry_points} == {
        "pilot_core.experiment: lsst",
        "pilot_core.experiment: rubin",
        "pilot_core.monitor: lsst_log",
    }


LOOK = """
import sys
from pilot_core.cli.main import main
main(["config", "show", "--set", "bootstrap.experiment=lsst", "--set", "connection.info_sources="])
print(sorted(name for name in sys.modules if name.startswith(("pilot_lsst", "pilot_hpc", "pilot_atlas"))))
"""


def test_whoever_chooses_this_experiment_gets_no_other():
    looked = subprocess.run([sys.executable, "-c", LOOK], capture_output=True, text=True, check=True)
    shown, _, modules = looked.stdout.rstrip().rpartition("\n")
    assert "https://usdf-panda-server.slac.stanford.edu:8443" in shown
    assert "pilot_lsst.plugin" in modules
    assert "pilot_atlas" not in modules
    assert "pilot_hpc" not in modules


class TestPlugin(PluginContract):
    plugin = plugin
    settings: ClassVar = {"monitor.monitors": [], "connection.info_sources": [], "connection.url": []}
