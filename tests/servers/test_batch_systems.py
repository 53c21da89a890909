"""The slot that a real job of a real batch system has, as the resource drivers tell it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from pilot_core.config.layers import Schema
from pilot_core.config.schema import CORE
from pilot_hpc import resources

from .condor import MEMORY_MB
from .slurm import NODE

PILOT = (sys.executable, "-m", "pilot_core")
PINNED = len(os.sched_getaffinity(0))
MIB = 1 << 20


def env_of(said: str):
    """What ``pilot env --json`` says of the slot."""
    return {name: told["value"] for name, told in json.loads(said).items() if name.startswith("slot.")}


@pytest.fixture
def within(monkeypatch):
    """Puts this process into the environment of a job; the driver of a name, there."""

    def enter(name, environ):
        for variable in list(os.environ):
            if variable.startswith(("SLURM_", "_CONDOR_")):
                monkeypatch.delenv(variable)
        for variable, value in environ.items():
            monkeypatch.setenv(variable, value)
        return getattr(resources, name)(Schema(CORE).merge())

    return enter


def test_slurm_tells_a_step_what_it_has(slurm):
    slot = env_of(slurm.said("srun", "-n1", "-c2", "--mem=1000", "-t", "5", *PILOT, "env", "--json"))
    assert (slot["slot.system"], slot["slot.queue"], slot["slot.nodes"]) == ("slurm", "main", [NODE])
    assert slot["slot.cores"] == min(2, PINNED)
    assert slot["slot.memory_b"] == 1000 * MIB
    assert 0 < slot["slot.left_s"] <= 300


def test_the_tasks_of_a_slurm_step_share_its_node(slurm):
    task = 'import os, sys; os.environ["SLURM_PROCID"] == "1" and os.execv(sys.argv[1], sys.argv[1:])'
    words = ("srun", "-n2", "-c1", "--mem=1000", "-t", "5", sys.executable, "-c", task, *PILOT, "env", "--json")
    slot = env_of(slurm.said(*words))
    assert (slot["slot.cores"], slot["slot.memory_b"]) == (1, 500 * MIB)


def test_slurms_time_is_asked_again_and_a_job_may_get_more(slurm, within):
    gate = slurm.home / "gate"
    os.mkfifo(gate)
    job = slurm.said("sbatch", "--parsable", "-n1", "-t", "5", "-o", "/dev/null", "--wrap", f"cat {gate}").strip()
    with gate.open("w"):
        driver = within("Slurm", {**slurm.environ(), "SLURM_JOB_ID": job})
        assert 0 < driver.time_left_s() <= 300
        slurm.said("scontrol", "update", f"JobId={job}", "TimeLimit=60")
        assert 300 < driver.time_left_s() <= 3600


def test_a_pilot_in_slurm_stops_before_its_time_is_over(slurm, tmp_path):
    (tmp_path / "job.yaml").write_text("id: 7\nscript: echo begun; sleep 600\nlog: log.tar.gz\n")
    settings = ("pilot.resource=auto", "pilot.stop_s=40", "payload.grace_s=1")
    words = [*PILOT, "run", "--job", "job.yaml", "--plain", *(word for each in settings for word in ("--set", each))]
    ran = subprocess.run(
        ["srun", "-n1", "-t", "1", f"--chdir={tmp_path}", *words], env=slurm.environ(), capture_output=True, text=True
    )
    assert "TIME LIMIT" not in ran.stderr
    assert "REACHEDMAXTIME" in ran.stderr or "1213" in ran.stdout + ran.stderr
    (log,) = tmp_path.glob("**/archive/*.tar.gz")
    with tarfile.open(log) as archive:
        assert any("stdout" in name for name in archive.getnames())


@pytest.fixture
def condor_job(condor):
    """Starts a job that waits; its environment, while its directory is there."""
    told, gate = condor.jobs / "told", condor.jobs / "gate"
    for path in (told, gate):
        os.mkfifo(path)
        path.chmod(0o666)
    lines = (
        "executable = /bin/sh",
        f"arguments = \"-c 'env -0 > {told}; cat {gate}'\"",
        "transfer_executable = false",
        "should_transfer_files = YES",
        "request_cpus = 2",
        "request_memory = 512",
        "allowed_job_duration = 3600",
        f"log = {condor.jobs}/log",
        "queue",
    )
    (condor.jobs / "submit").write_text("\n".join(lines))
    condor.said("condor_submit", condor.jobs / "submit")
    environ = dict(each.split("=", 1) for each in told.read_text().split("\0") if each)
    with gate.open("w"):
        yield environ
    condor.said("condor_wait", condor.jobs / "log")


def test_htcondor_tells_a_job_what_it_has(condor_job, within):
    driver = within("HTCondor", {name: text for name, text in condor_job.items() if name.startswith("_CONDOR_")})
    told = driver.allotted(Path(condor_job["_CONDOR_SCRATCH_DIR"]))
    assert told.system.value == "htcondor"
    assert told.cores.value == min(2, PINNED)
    assert told.memory_b.value == 512 * MIB < MEMORY_MB * MIB
    assert told.disk_b.by == "machine ad: Disk"
    assert (0 < told.left_s.value <= 3600, told.left_s.by) == (True, "job ad: AllowedJobDuration")
