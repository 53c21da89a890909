from __future__ import annotations

import os

import pytest

from pilot_core.builtin import direct
from pilot_core.builtin.direct import Direct, Node
from pilot_core.model.job import Job
from pilot_core.model.payload import Command
from pilot_core.model.queue import Resources

GROUP = "sys/fs/cgroup"


@pytest.fixture(autouse=True)
def _no_gpus(monkeypatch):
    for name in ("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)


def test_direct_changes_nothing(make):
    command = Command("x")
    assert make(Direct).launch(command, Job(id="1")) is command


def test_a_node_tells_what_it_has(make, tmp_path):
    slot = make(Node).slot(tmp_path)
    assert 1 <= slot.cores <= len(os.sched_getaffinity(0))
    assert 0 < slot.memory_b <= direct._total_b()
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
    ("limits", "cores", "memory_b"),
    [
        ({"cpu.max": "150000 100000", "memory.max": "1000000"}, 1, 1_000_000),
        ({"cpu.max": "50000 100000", "memory.max": "max"}, 1, None),
        ({"cpu.max": "max 100000", "memory.max": "9000000000000000"}, None, None),
    ],
)
def test_the_control_group_grants_less(tmp_path, limits, cores, memory_b):
    (tmp_path / GROUP).mkdir(parents=True)
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("0::/\n")
    (tmp_path / "proc/self/mountinfo").write_text("1 1 0:1 / /sys/fs/cgroup rw - cgroup2 cgroup rw\n")
    for name, text in limits.items():
        (tmp_path / GROUP / name).write_text(text)
    groups = direct.Groups.of(root=tmp_path)
    assert direct._cores(groups) == (cores or len(os.sched_getaffinity(0)))
    assert direct._memory_b(groups) == (memory_b or direct._total_b())


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
