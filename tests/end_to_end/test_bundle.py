"""A bundle of the real distributions with all they need, on a node with an interpreter and no pip."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

HERE = f"3.{sys.version_info.minor}"
OTHER = "3.12" if HERE != "3.12" else "3.13"
TOOLS = ("sh", "dirname", "readlink", "cat")
OURS = ("pilot-copytools", "pilot-core")
JOB = {"id": "bundled", "script": "cat /dev/null; echo done > out.txt", "inputs": []}


def interpreter(python: str) -> str | None:
    """An interpreter of this version that runs, if there is one."""
    own = os.path.realpath(sys.executable) if python == HERE else shutil.which(f"python{python}")
    asked = [own or "false", "-I", "-S", "-c", "import sys; print(sys.executable)"]
    done = subprocess.run(asked, capture_output=True, text=True)
    return os.path.realpath(done.stdout.strip()) if done.returncode == 0 else None


def make(to: Path, *words: str) -> dict:
    """Make a bundle as people do; what was answered."""
    command = [sys.executable, "-m", "pilot_core", "bundle", *OURS, "--to", str(to), "--json", *words]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """An archive for this Python, and what was told of it."""
    archive = tmp_path_factory.mktemp("made") / "pilot.tar.gz"
    return archive, make(archive, "--folder", "pilot3")


@pytest.fixture
def tree(made, tmp_path):
    """The archive, unpacked elsewhere."""
    with tarfile.open(made[0]) as tar:
        tar.extractall(tmp_path / "un packed", filter="data")
    return next((tmp_path / "un packed").iterdir())


class Node:
    """A home, a shell, three tools and an interpreter, and no more."""

    def __init__(self, root: Path, python: str) -> None:
        self.root, self.path = root, root / "tools"
        self.path.mkdir(parents=True)
        for tool in TOOLS:
            (self.path / tool).symlink_to(str(shutil.which(tool)))
        (self.path / "python3").symlink_to(str(interpreter(python)))

    def run(self, program: Path, *words: object) -> subprocess.CompletedProcess[str]:
        environ = {"PATH": str(self.path), "HOME": str(self.root)}
        command = [str(program), *map(str, words)]
        return subprocess.run(command, env=environ, cwd=self.root, capture_output=True, text=True)


@pytest.fixture
def node(tmp_path):
    return Node(tmp_path / "node", HERE)


def runs_a_job(node: Node, tree: Path) -> None:
    stored = node.root / "stored.txt"
    job = node.root / "job.json"
    job.write_text(json.dumps(JOB | {"outputs": [{"name": "out.txt", "destination": str(stored)}]}))
    done = node.run(tree / "bin" / "pilot", "run", "--job", job, "--workdir", node.root / "work")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "warning" not in done.stderr
    assert stored.read_text() == "done\n"


def test_a_job_runs_from_an_unpacked_archive(node, tree):
    runs_a_job(node, tree)


def test_a_wrapper_of_the_older_pilot_finds_what_it_calls(node, tree):
    job = {"PandaID": 77, "taskID": 7, "transformation": "true", "jobPars": "", "attemptNr": 1}
    (tree.parent / "pandaJobData.out").write_text(json.dumps({"77": job}))
    line = [node.path / "python3", "pilot3/pilot.py", "-q", "local", "-i", "PR", "--pilot-user", "generic", "-z"]
    done = subprocess.run(line, env={"PATH": str(node.path)}, cwd=tree.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads((tree.parent / "heartbeat.json").read_text())["job_id"] == 77
    assert (tree / "pandaIDs.out").read_text() == "77\n"
    assert node.run(tree / "bin" / "pilot-verify").returncode == 0


def test_only_what_is_in_the_bundle_is_found_there(node, tree):
    done = node.run(tree / "bin" / "pilot", "plugins", "list", "--json")
    plugins = json.loads(done.stdout)["plugins"]
    assert {each["distribution"] for each in plugins} == {*OURS}
    assert {each["state"] for each in plugins} <= {"loaded", "unsuitable"}
    tools = {each["name"] for each in plugins if (each["kind"], each["state"]) == ("copytool", "loaded")}
    assert {"local", "https"} <= tools
    assert node.run(tree / "bin" / "pilot", "plugins", "doctor").returncode == 0


def test_what_a_run_leaves_behind_does_not_make_it_less_whole(node, tree, made):
    runs_a_job(node, tree)
    done = node.run(tree / "bin" / "pilot-verify")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == f"bundle {made[1]['bundle']}"


def test_a_library_that_was_cut_short_is_named(node, tree):
    library = next((tree / "lib" / "packages" / "psutil").glob("*.so"))
    library.write_bytes(library.read_bytes()[:-1])
    done = node.run(tree / "bin" / "pilot", "plugins", "list")
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(rf".* is not whole: lib/packages/psutil/{library.name} has .*\n", done.stderr)


def test_a_bundle_for_another_python_is_made_by_this_one(tmp_path):
    """It runs a job too, where such an interpreter is at hand."""
    make(tmp_path / "tree", "--python", OTHER)
    compiled = [path.name for path in (tmp_path / "tree").rglob("_yaml*.so")]
    assert [f"cpython-{OTHER.replace('.', '')}-" in name for name in compiled] == [True]
    if interpreter(OTHER):
        runs_a_job(Node(tmp_path / "node", OTHER), tmp_path / "tree")


def test_the_size_is_told_and_small(made, tree):
    archive, answer = made
    parts = (tree / "lib", tree / "bin")
    files = [path.stat().st_size for part in parts for path in part.rglob("*") if path.is_file()]
    assert abs(sum(files) - answer["size_b"]) < 10_000
    assert answer["packed_b"] == archive.stat().st_size
    print(f"{answer['files']} files, {answer['size_b'] / 1e6:.1f} MB, {answer['packed_b'] / 1e6:.1f} MB packed")
    assert answer["size_b"] < 10_000_000
