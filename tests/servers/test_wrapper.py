"""The wrapper where batch systems and containers start it for real."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from pilot_core.cli.wrapper import SCRIPT

from .conftest import insist
from .containers import lacks, let_go, make_image
from .install import missing

LIMIT_S = 120
ENDED = "the pilot ended with"


@pytest.fixture
def job(tmp_path):
    """A job that says when it begins, and then waits to be stopped or not."""

    def describe(script: str, root: Path = tmp_path) -> Path:
        path = root / "job.json"
        path.write_text(json.dumps({"id": "7", "script": script}))
        path.chmod(0o644)
        (root / "scratch").mkdir(mode=0o777)
        (root / "scratch").chmod(0o777)
        return path

    return describe


def words(job: Path) -> list[str]:
    return ["-p", sys.executable, "-d", str(job.parent / "scratch"), "--", "--job", str(job)]


def make_bundle(path: Path) -> None:
    """A bundle for the Python of the system."""
    make = [sys.executable, "-m", "pilot_core", "bundle", "pilot-core", "--python", "3.11", "--to", str(path)]
    assert subprocess.run(make, capture_output=True).returncode == 0
    path.chmod(0o644)


def is_clean(job: Path) -> bool:
    return not any((job.parent / "scratch").iterdir())


def test_a_job_of_slurm_runs_a_pilot(slurm, job, tmp_path):
    described = job("true")
    ran = subprocess.run(
        ["srun", "-n1", "-t", "5", f"--chdir={tmp_path}", "sh", str(SCRIPT), *words(described)],
        env=slurm.environ(),
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    assert f"{ENDED} 0" in ran.stderr
    assert is_clean(described)


def test_a_job_that_slurm_cancels_ends_its_pilot(slurm, job, tmp_path):
    begun, said = tmp_path / "begun", tmp_path / "said"
    os.mkfifo(begun)
    described = job(f"echo begun >{begun}; sleep 600")
    options = ["--parsable", "--wait", "-n1", "-t", "5", "-o", str(said), f"--chdir={tmp_path}"]
    batch = subprocess.Popen(
        ["sbatch", *options, str(SCRIPT), *words(described)], env=slurm.environ(), stdout=subprocess.PIPE, text=True
    )
    assert batch.stdout
    number = batch.stdout.readline().strip()
    assert begun.read_text() == "begun\n"
    slurm.said("scancel", "--batch", "--signal=TERM", number)
    batch.communicate(timeout=LIMIT_S)
    assert batch.returncode == 1
    assert "SIGTERM, which the pilot gets as well" in said.read_text()
    assert f"{ENDED} 143" in said.read_text()
    assert is_clean(described)


def test_a_job_of_htcondor_runs_a_pilot_from_a_bundle(condor, job):
    place = condor.jobs / "wrapped"
    place.mkdir()
    described = job("true", place)
    bundle = place / "pilot.tar.gz"
    make_bundle(bundle)
    shutil.copy(SCRIPT, place / "wrapper")
    line = ["-b", str(bundle), "-p", "/usr/bin/python3", *words(described)[2:]]
    lines = (
        f"executable = {place}/wrapper",
        f'arguments = "{" ".join(line)}"',
        "should_transfer_files = YES",
        f"error = {condor.jobs}/wrapped.err",
        f"log = {condor.jobs}/wrapped.log",
        "queue",
    )
    (condor.jobs / "wrapped.submit").write_text("\n".join(lines))
    condor.said("condor_submit", condor.jobs / "wrapped.submit")
    condor.said("condor_wait", condor.jobs / "wrapped.log")
    said = (condor.jobs / "wrapped.err").read_text()
    assert f"{ENDED} 0" in said
    assert "return value 0" in (condor.jobs / "wrapped.log").read_text()
    assert is_clean(described)


def test_inside_a_container_it_runs_as_outside(job, tmp_path):
    insist(missing("bwrap", "busybox"))
    described = job("true")
    inside = ["bwrap", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--unshare-pid"]
    inside += ["--bind", str(tmp_path), str(tmp_path), "--chdir", str(tmp_path)]
    ran = subprocess.run(
        [*inside, "busybox", "sh", str(SCRIPT), *words(described)], capture_output=True, text=True, timeout=LIMIT_S
    )
    assert ran.returncode == 0, ran.stderr
    assert is_clean(described)


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """A shell and its tools, with places for the programs of this machine, its Python among them."""
    insist(missing("busybox"))
    root = tmp_path_factory.mktemp("image") / "root"
    with tempfile.TemporaryDirectory(prefix="p-") as short:
        made = make_image(root, Path(short))
        (root / "lib").symlink_to("usr/lib")
        (root / "lib64").symlink_to("usr/lib64")
        (root / "work").mkdir()
        for name in ("group", "hosts", "resolv.conf"):
            (root / "etc" / name).touch()
        yield made
        let_go(Path(short))


def in_charliecloud(image, folder: Path, line: Sequence[str]) -> list[str]:
    return ["ch-run", "-b", "/usr:/usr", "-b", f"{folder}:/work", "-c", "/work", str(image.path), "--", *line]


def in_podman(image, folder: Path, line: Sequence[str]) -> list[str]:
    own = next(word for word in image.settings("podman") if word.startswith("container.arguments="))
    most = min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], 2**20)
    limits = [f"--ulimit=nofile={most}:{most}", "--ulimit=nproc=4096:4096"]
    mounts = ["-v", "/usr:/usr:ro", "-v", f"{folder}:/work", "-w", "/work"]
    own_words = own.partition("=")[2].split(",")
    run = ["run", "--rm", "--log-driver=none", "--network=host", *limits, *mounts]
    return ["podman", *own_words, *run, "--rootfs", str(image.path), *line]


@pytest.mark.parametrize(("runtime", "inside"), [("charliecloud", in_charliecloud), ("podman", in_podman)])
def test_inside_an_image_a_bundle_is_started_by_its_shell(image, job, tmp_path, runtime, inside):
    insist(lacks(runtime))
    described = job("true")
    make_bundle(tmp_path / "pilot.tar.gz")
    shutil.copy(SCRIPT, tmp_path / "wrapper")
    line = ["sh", "wrapper", "-b", "/work/pilot.tar.gz", "-p", "/usr/bin/python3", "-d", "/work/scratch"]
    ran = subprocess.run(
        inside(image, tmp_path, [*line, "--", "--job", "/work/job.json"]),
        env={"USER": "nobody", **os.environ},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
    assert ran.returncode == 0, ran.stderr
    assert f"{ENDED} 0" in ran.stderr
    assert is_clean(described)
