from __future__ import annotations

import os
import time

import pytest

from pilot_core.builtin.direct import Direct, Node
from pilot_core.model.job import Job
from pilot_core.model.payload import Command
from pilot_core.model.queue import Resources


@pytest.fixture(autouse=True)
def _nothing_told(monkeypatch):
    for name in (
        "CUDA_VISIBLE_DEVICES",
        "ROCR_VISIBLE_DEVICES",
        "NVIDIA_VISIBLE_DEVICES",
        "MACHINEFEATURES",
        "JOBFEATURES",
    ):
        monkeypatch.delenv(name, raising=False)


def test_direct_changes_nothing(make):
    command = Command("x")
    assert make(Direct).launch(command, Job(id="1")) is command


def test_a_node_tells_what_it_has(make, tmp_path):
    slot = make(Node).slot(tmp_path)
    assert 1 <= slot.cores <= len(os.sched_getaffinity(0))
    assert 0 < slot.memory_b <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    room = os.statvfs(tmp_path)
    assert slot.disk_b <= room.f_blocks * room.f_frsize
    assert slot.gpus == ()
    assert make(Node).time_left_s() is None


def test_the_site_knows_better(make, tmp_path):
    known = {"cores": 64, "memory_b": "2 GB", "disk_b": "3 GB", "gpus": ["a", "b"]}
    assert make(Node, slot=known).slot(tmp_path) == Resources(
        cores=64, memory_b=2 * 10**9, disk_b=3 * 10**9, gpus=("a", "b"), gpu_count=2
    )


@pytest.mark.parametrize(
    ("variables", "gpus"),
    [
        ({"CUDA_VISIBLE_DEVICES": "0,2"}, ("0", "2")),
        ({"CUDA_VISIBLE_DEVICES": ""}, ()),
        ({"CUDA_VISIBLE_DEVICES": "GPU-1a, GPU-2b", "NVIDIA_VISIBLE_DEVICES": "none"}, ("GPU-1a", "GPU-2b")),
        ({"NVIDIA_VISIBLE_DEVICES": "void"}, ()),
        ({"NVIDIA_VISIBLE_DEVICES": "3"}, ("3",)),
        ({"CUDA_VISIBLE_DEVICES": "-1"}, ()),
    ],
    ids=range(6),
)
def test_gpus_are_those_that_the_batch_system_shows(make, tmp_path, monkeypatch, variables, gpus):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    slot = make(Node).slot(tmp_path)
    assert (slot.gpus, slot.gpu_count) == (gpus, len(gpus))


def test_a_job_that_is_told_how_long_it_lasts_knows(make, tmp_path, monkeypatch):
    (tmp_path / "shutdowntime_job").write_text(f"{time.time() + 3600:.0f}\n")
    monkeypatch.setenv("JOBFEATURES", str(tmp_path))
    assert 3000 < make(Node).time_left_s() <= 3601
    assert make(Node).allotted(tmp_path).left_s.by == "$JOBFEATURES/shutdowntime_job"
