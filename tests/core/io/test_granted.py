"""What a node grants, and who says so."""

from __future__ import annotations

import os
import time

import pytest

from pilot_core.io.granted import by_features, granted, read_features

GROUP = "sys/fs/cgroup"
TOTAL_B = 4096 * 1024


@pytest.fixture
def root(tmp_path):
    """A made node with 4 MiB of memory and an empty control group."""
    (tmp_path / GROUP).mkdir(parents=True)
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/meminfo").write_text("MemTotal:     4096 kB\n")
    (tmp_path / "proc/self/cgroup").write_text("0::/\n")
    (tmp_path / "proc/self/mountinfo").write_text("1 1 0:1 / /sys/fs/cgroup rw - cgroup2 cgroup rw\n")
    return tmp_path


@pytest.fixture
def features(tmp_path):
    """Writes the features of the job; the variables that name them."""

    def write(**told):
        for name, text in told.items():
            (tmp_path / name).write_text(f"{text}\n")
        return {"JOBFEATURES": str(tmp_path)}

    return write


@pytest.mark.parametrize(
    ("limits", "cores", "memory_b"),
    [
        ({"cpu.max": "150000 100000", "memory.max": "1000000"}, 1, 1_000_000),
        ({"cpu.max": "50000 100000", "memory.max": "max"}, 1, None),
        ({"cpu.max": "max 100000", "memory.max": "9000000000000000"}, None, None),
    ],
)
def test_the_control_group_grants_less(root, limits, cores, memory_b):
    for name, text in limits.items():
        (root / GROUP / name).write_text(text)
    slot = granted(root, {}, root)
    assert slot.cores.value == (cores or len(os.sched_getaffinity(0)))
    assert slot.memory_b.value == (memory_b or TOTAL_B)
    assert slot.memory_b.by == ("control group" if memory_b else "/proc/meminfo")
    assert slot.left_s is None


def test_the_jobs_features_grant_less(root, features):
    slot = granted(root, features(job_id="7.batch", max_rss_bytes="1000", scratch_limit_bytes="2000"), root)
    assert (slot.memory_b.value, slot.memory_b.by) == (1000, "$JOBFEATURES/max_rss_bytes")
    assert (slot.disk_b.value, slot.job.value) == (2000, "7.batch")


def test_what_features_say_nonsense_is_not_believed(root, features):
    variables = features(max_rss_bytes="plenty", allocated_cpu="-1", wall_limit_secs="60", shutdowntime_job="")
    slot = granted(root, variables, root)
    assert (slot.memory_b.value, slot.left_s) == (TOTAL_B, None)


@pytest.mark.parametrize("name", ["shutdowntime", "shutdowntime_job"])
def test_a_shutdown_ends_the_slot_unless_it_was_of_others_before_us(features, name):
    assert by_features(read_features(features(**{name: int(time.time()) - 60}))).left_s is None
    left = by_features(read_features(features(**{name: int(time.time()) + 3600}))).left_s
    assert 3000 < left.value <= 3600


def test_wall_time_counts_from_the_start_of_the_job(features):
    told = read_features(features(jobstart_secs=int(time.time()) - 1000, wall_limit_secs=7200))
    assert 5600 < by_features(told).left_s.value <= 6200


def test_what_is_no_plain_file_is_no_feature(tmp_path, features):
    os.mkfifo(tmp_path / "shutdowntime")
    (tmp_path / "hs06").mkdir()
    assert read_features(features(total_cpu=4)).keys() == {"total_cpu"}
    assert read_features({"MACHINEFEATURES": str(tmp_path / "nowhere")}) == {}


def test_amd_cards_are_seen(root):
    assert granted(root, {"ROCR_VISIBLE_DEVICES": "0,1"}, root).gpus.value == ("0", "1")
    (root / "dev").mkdir()
    (root / "dev/nvidia0").touch()
    assert granted(root, {"NVIDIA_VISIBLE_DEVICES": "all"}, root).gpus.value == ("0",)
