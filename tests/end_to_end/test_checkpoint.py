"""A payload that needs more time than its attempts have saves how far it has come, and goes on in the next one."""

from __future__ import annotations

import json
import sys
import tarfile

import pytest

from .cluster import Cluster

PAYLOAD = """
import os, pathlib, signal, sys
counter = pathlib.Path(os.environ["PILOT_CHECKPOINT_DIR"], "deep", "counter")
count = int(counter.read_text()) if counter.exists() else 0
def save(*_):
    counter.parent.mkdir(exist_ok=True)
    counter.write_text(str(count + 1))
    sys.exit(int(os.environ["PILOT_CHECKPOINT_EXIT"]))
print("begins at", count, flush=True)
if count < 2:
    signal.signal(signal.SIGUSR1, save)
    while True:
        signal.pause()
pathlib.Path("out.txt").write_text(f"counted to {count + 1}")
"""
DESCRIBED = {
    "command": [sys.executable, "-c", PAYLOAD],
    "outputs": ["out.txt"],
    "log": "log.tgz",
    "limits": {"wall": 600},
    "checkpoint": {"name": "state.tgz", "warning": 600},
}
"""The payload is warned as soon as it listens."""


@pytest.fixture
def cluster(tmp_path):
    made = Cluster(tmp_path)
    yield made
    made.close()


def submit(cluster, **more):
    (cluster.root / "job.json").write_text(json.dumps({**DESCRIBED, **more}))
    return cluster.ask("submit", str(cluster.root / "job.json"))["ids"]


def test_a_job_that_needs_three_attempts_goes_on_where_it_was(cluster):
    cluster.serve()
    submit(cluster)
    for work in ("first", "second", "third"):
        code, said = cluster.run(work, "pilot.max_jobs=1")
        assert code == 0, said
    job = cluster.job()
    assert (job["state"], job["attempt"], job["error"]) == ("finished", 3, None)
    assert [each["state"] for each in job["attempts"]] == ["checkpointed", "checkpointed", "finished"]
    assert cluster.command("fetch", "1", "--to", "here").returncode == 0
    assert (cluster.root / "here/out.txt").read_text() == "counted to 3"
    assert cluster.command("fetch", "1", "--log", "--to", "here").returncode == 0
    with tarfile.open(cluster.root / "here/log.tgz") as tar:
        names = {name.partition("/")[2] for name in tar.getnames()}
    assert {"payload.stdout", "pilotlog.txt"} <= names
    assert not [name for name in names if "state.tgz" in name or "checkpoint" in name]


def test_who_says_so_and_saved_nothing_has_failed(cluster):
    cluster.serve()
    submit(cluster, command=["/bin/sh", "-c", "exit $PILOT_CHECKPOINT_EXIT"])
    cluster.run()
    job = cluster.job()
    assert (job["state"], job["attempt"]) == ("failed", 1)
    assert "there is nothing in" in str(job["error"])


def test_who_did_not_ask_for_it_has_no_status_of_its_own(cluster):
    cluster.serve()
    submit(cluster, checkpoint=None, command=["/bin/sh", "-c", "exit 85"])
    cluster.run()
    assert cluster.job()["state"] == "failed"
