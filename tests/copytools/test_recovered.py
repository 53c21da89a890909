"""A pilot that is killed while an output is stored or registered, and the one that ends what it began."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

CLEAN = {name: os.environ[name] for name in ("PATH", "HOME", "PYTHONPATH") if name in os.environ}

SITE = """
import json, os, signal
from pathlib import Path

from pilot_core.sdk import Replica, hookimpl

HERE = Path(__file__).parent
DEATH = os.environ.get("DEATH", "")


def die(moment):
    if DEATH == moment:
        os.kill(os.getpid(), signal.SIGKILL)


@hookimpl
def pilot_outputs_replicas(files):
    return {file.lfn: [Replica(str(HERE / place / file.lfn)) for place in ("blocked", "open")] for file in files}


@hookimpl
def pilot_transfer_tried(attempt):
    die("tried " + Path(attempt.replica.url).parent.name)


@hookimpl
def pilot_outputs_register(job, receipts):
    die("before")
    with (HERE / "catalogue").open("a") as file:
        file.writelines(f"{job.id} {job.attempt} {each.lfn} {each.url}\\n" for each in receipts)
    die("after")
    return {}
"""


@pytest.fixture
def pilot(tmp_path: Path):
    """Run a command of the pilot that dies at this moment."""
    (tmp_path / "site.py").write_text(SITE)
    (tmp_path / "job.yaml").write_text(json.dumps({
        "id": "7", "script": "echo made > out.txt", "outputs": [{"name": "out.txt"}],
    }))  # fmt: skip
    (tmp_path / "open").mkdir()

    def run(*words: str, death: str = "") -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "pilot_core", *words]
        env = {**CLEAN, **({"DEATH": death} if death else {})}
        return subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120, check=False)

    return run


@pytest.mark.parametrize("death", ["tried blocked", "before", "after"])
def test_an_output_is_stored_once_whenever_the_pilot_is_killed(pilot, tmp_path, death):
    """Its first place is out of order when the pilot dies, and in order when the next comes."""
    (tmp_path / "blocked").write_text("a file where a directory should be")
    options = ("--pilotfile", "site.py", "--workdir", "work")
    died = pilot("run", "--job", "job.yaml", *options, death=death)
    assert died.returncode == -9, died.stderr
    (tmp_path / "blocked").unlink()
    recovered = pilot("recover", "work")
    assert recovered.returncode == 0, recovered.stdout + recovered.stderr
    stored = [path for path in (tmp_path / "blocked/out.txt", tmp_path / "open/out.txt") if path.exists()]
    assert [path.read_text() for path in stored] == ["made\n"]
    known = {line.split(maxsplit=3)[3] for line in (tmp_path / "catalogue").read_text().splitlines()}
    assert known == {str(stored[0])}
    assert death == "tried blocked" or stored == [tmp_path / "open/out.txt"]
