"""All five in one environment: who chooses an experiment gets that one, whatever else is installed or broken."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

CHOSEN = {
    "atlas": {"atlas": {"without_cvmfs": True}, "rucio": {"host": "", "trace_url": "", "traces": False}},
    "lsst": {},
    "generic": {},
}
OWN = {"atlas": {"pilot_atlas"}, "lsst": {"pilot_lsst"}, "generic": set()}
PROGRAM = """
import json, sys
from pathlib import Path
from pilot_core.cli.main import main
code = main(sys.argv[1:])
print(json.dumps({"code": code, "modules": sorted({name.partition(".")[0] for name in sys.modules})}))
"""
KINDS = ("experiment", "copytool", "monitor", "workflow", "communicator", "container", "launcher", "resource")
FAULTS = {
    "division": "1 / 0",
    "library": "import no_such_library",
    "exit": "raise SystemExit(3)",
    "syntax": "def (",
    "signal": "raise KeyboardInterrupt",
}


def put(shelf: Path, name: str, groups: dict[str, dict[str, str]], **modules: str) -> None:
    """A distribution as pip leaves it."""
    info = shelf / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    sections = (
        "\n".join([f"[pilot_core.{group}]", *(f"{k} = {v}" for k, v in points.items())])
        for group, points in groups.items()
    )
    (info / "entry_points.txt").write_text("\n".join(sections))
    for module, source in modules.items():
        (shelf / f"{module}.py").write_text(source)


class Node:
    """Where pilots run, with more distributions on the path."""

    def __init__(self, root: Path) -> None:
        self.root, self.shelf = root, root / "shelf"
        self.shelf.mkdir()

    def call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        known = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
        command = [sys.executable, "-c", PROGRAM, *arguments]
        env = {**known, "PYTHONPATH": str(self.shelf)}
        return subprocess.run(command, env=env, cwd=self.root, capture_output=True, text=True, timeout=120)

    def site(self, experiment: str) -> str:
        """The settings of a site without a server."""
        settings = {
            "bootstrap": {"experiment": experiment},
            "connection": {"url": [], "info_sources": []},
            "slot": {"free_disk_b": 0},
            "data": {"reserve_b": 0},
            **CHOSEN[experiment],
        }
        (self.root / "site.json").write_text(json.dumps(settings))
        return str(self.root / "site.json")

    def run(self, experiment: str) -> set[str]:
        """The packages that a pilot has imported which has run a job."""
        (self.root / "job.json").write_text(json.dumps({"id": "7", "command": ["/bin/echo", "x"]}))
        arguments = ("--config", self.site(experiment), "--job", str(self.root / "job.json"))
        ended = self.call("run", *arguments, "--workdir", str(self.root / "work"))
        told = json.loads(ended.stdout.splitlines()[-1])
        assert told["code"] == 0, ended.stdout + ended.stderr
        return set(told["modules"])


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


@pytest.mark.parametrize("experiment", sorted(CHOSEN))
def test_who_chooses_an_experiment_imports_no_other(node, experiment):
    imported = node.run(experiment)
    assert imported & {"pilot_atlas", "pilot_lsst"} == OWN[experiment]
    assert "pilot_core" in imported


@pytest.mark.parametrize("fault", sorted(FAULTS))
def test_a_broken_plugin_stops_no_pilot_that_does_not_use_it(node, fault):
    groups = {kind: {f"zz-{kind}": "zz_broken:Broken"} for kind in KINDS}
    put(node.shelf, "zz-broken", groups, zz_broken=FAULTS[fault])
    assert "zz_broken" not in node.run("lsst")


@pytest.mark.parametrize("fault", sorted(FAULTS.keys() - {"signal"}))
def test_a_plugin_for_every_pilot_that_cannot_be_imported_is_left_out_and_the_doctor_says_why(node, fault):
    put(node.shelf, "zz-broken", {"plugin": {"zz-broken": "zz_broken"}}, zz_broken=FAULTS[fault])
    node.run("generic")
    told = node.call("plugins", "doctor", "--json", "--config", node.site("generic")).stdout
    rows = json.loads(told.rpartition('{"code"')[0])["plugins"]
    (row,) = (row for row in rows if row["name"] == "zz-broken")
    assert row["state"] == ("unsuitable" if fault == "library" else "broken")
    assert row["reason"]
    assert not row["used"]


ANSWERS = """
from pilot_core.sdk import Job, hookimpl

@hookimpl
def pilot_payload_container(job: Job) -> str | None:
    return None
"""


def test_two_plugins_that_answer_one_question_are_told_of_with_both_names(node):
    for name in ("zz_one", "zz_two"):
        put(node.shelf, name.replace("_", "-"), {"plugin": {name: name}}, **{name: ANSWERS})
    told = node.call("plugins", "doctor", "--config", node.site("generic")).stdout
    (line,) = (line for line in told.splitlines() if line.startswith("several answers: pilot_payload_container"))
    assert "plugin zz_one (zz-one 1.0)" in line
    assert "plugin zz_two (zz-two 1.0)" in line


def test_two_that_claim_one_name_are_told_of_with_both_owners(node):
    for owner in ("zz-one", "zz-two"):
        put(node.shelf, owner, {"monitor": {"zz-watch": "zz_watch:Watch"}})
    node.run("generic")
    told = node.call("plugins", "doctor", "--config", node.site("generic")).stdout
    (line,) = (line for line in told.splitlines() if "zz-watch" in line)
    assert "zz-one 1.0" in line
    assert "zz-two 1.0" in line
