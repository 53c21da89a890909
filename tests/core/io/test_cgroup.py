"""Made trees of every layout met in the field, and the machine the tests run on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pilot_core.config.schema import PayloadOptions
from pilot_core.control.grouped import most_threads
from pilot_core.io.cgroup import Groups

MOUNT_V2 = "31 23 0:28 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate"
MOUNT_MEMORY = "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory"
MOUNT_CPU = r"32 31 0:29 / /sys/fs/cgroup/cpu\040time rw shared:9 - cgroup cgroup rw,cpu,cpuacct"
NO_LIMIT_V1 = "9223372036854771712"


def a_machine(root: Path, own: list[str], mounts: list[str], files: dict[str, str]) -> Groups:
    texts = {"proc/self/cgroup": "\n".join(own), "proc/self/mountinfo": "\n".join(mounts), **files}
    for name, text in texts.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text + "\n" if text else "")
    return Groups.of(root=root)


def v2(root: Path, files: dict[str, str], path: str = "/slot/job", mount: str = MOUNT_V2) -> Groups:
    (root / "sys/fs/cgroup/slot/job").mkdir(parents=True, exist_ok=True)
    return a_machine(root, [f"0::{path}"], [mount], {f"sys/fs/cgroup/{k}": v for k, v in files.items()})


def test_version_2_own_numbers(tmp_path: Path) -> None:
    groups = v2(
        tmp_path,
        {
            "slot/job/memory.max": "4000",
            "slot/job/memory.current": "3000",
            "slot/job/memory.peak": "3900",
            "slot/job/memory.stat": "anon 1000\ninactive_file 1200\nactive_file 800",
            "slot/job/memory.events": "low 0\nhigh 0\nmax 7\noom 3\noom_kill 2\noom_group_kill 0",
            "slot/job/cpu.max": "250000 100000",
        },
    )
    assert groups.memory_limit_b() == 4000
    assert groups.memory_used_b() == 1800
    assert groups.memory_peak_b() == 3900
    assert groups.oom_kills() == 2
    assert groups.cpu_limit() == 2.5


def test_the_tightest_limit_above_binds(tmp_path: Path) -> None:
    files = {"slot/job/memory.max": "max", "slot/memory.max": "2000", "memory.max": "9000"}
    cpus = {"slot/job/cpu.max": "400000 100000", "slot/cpu.max": "max 100000", "cpu.max": "50000 25000"}
    groups = v2(tmp_path, files | cpus)
    assert groups.memory_limit_b() == 2000
    assert groups.cpu_limit() == 2.0


def test_no_limit_is_nothing(tmp_path: Path) -> None:
    groups = v2(tmp_path, {"slot/job/memory.max": "max", "slot/job/cpu.max": "max 100000"})
    assert groups.memory_limit_b() is None
    assert groups.cpu_limit() is None
    assert groups.memory_used_b() is None
    assert groups.oom_kills() is None


def v1_files(directory: str, limit: str) -> dict[str, str]:
    return {
        f"{directory}/memory.limit_in_bytes": limit,
        f"{directory}/memory.usage_in_bytes": "5000",
        f"{directory}/memory.stat": "cache 9\ninactive_file 1\ntotal_inactive_file 2000",
        f"{directory}/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 1",
    }


def test_version_1_with_a_mount_point_of_odd_name(tmp_path: Path) -> None:
    cpu = "sys/fs/cgroup/cpu time/slot"
    groups = a_machine(
        tmp_path,
        ["4:memory:/slot", "2:cpu,cpuacct:/slot", "1:name=systemd:/x", "0::/"],
        [MOUNT_V2, MOUNT_MEMORY, MOUNT_CPU],
        v1_files("sys/fs/cgroup/memory/slot", "8000")
        | {"sys/fs/cgroup/memory/memory.limit_in_bytes": NO_LIMIT_V1}
        | {f"{cpu}/cpu.cfs_quota_us": "150000", f"{cpu}/cpu.cfs_period_us": "100000"},
    )
    assert groups.memory_limit_b() == 8000
    assert groups.memory_used_b() == 3000
    assert groups.oom_kills() == 1
    assert groups.cpu_limit() == 1.5


def test_the_tightest_limit_of_threads_above_binds(tmp_path: Path) -> None:
    groups = v2(tmp_path, {"slot/job/pids.max": "max", "slot/pids.max": "300", "pids.max": "4000"})
    assert groups.thread_limit() == 300
    assert most_threads(PayloadOptions(), groups) == 225
    assert most_threads(PayloadOptions(threads=100), groups) == 100
    assert most_threads(PayloadOptions(threads=100), Groups(None, None)) == 100


def test_version_1_without_limits(tmp_path: Path) -> None:
    cpu = "sys/fs/cgroup/cpu time"
    groups = a_machine(
        tmp_path,
        ["4:memory:/", "2:cpu,cpuacct:/"],
        [MOUNT_MEMORY, MOUNT_CPU],
        v1_files("sys/fs/cgroup/memory", NO_LIMIT_V1)
        | {f"{cpu}/cpu.cfs_quota_us": "-1", f"{cpu}/cpu.cfs_period_us": "100000"},
    )
    assert groups.memory_limit_b() is None
    assert groups.cpu_limit() is None


def test_memory_by_version_1_and_cpu_by_version_2(tmp_path: Path) -> None:
    groups = a_machine(
        tmp_path,
        ["4:memory:/slot", "0::/both"],
        [MOUNT_MEMORY, "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw"],
        v1_files("sys/fs/cgroup/memory/slot", "8000") | {"sys/fs/cgroup/unified/both/cpu.max": "300000 100000"},
    )
    assert groups.memory is not None
    assert groups.cpu is not None
    assert (groups.memory.version, groups.cpu.version) == (1, 2)
    assert groups.memory_limit_b() == 8000
    assert groups.cpu_limit() == 3.0


@pytest.mark.parametrize("path", ["/../../elsewhere", "/slot/gone", "/", "/slot/job/../../../../../tmp"])
def test_a_path_outside_what_we_see_means_the_top(tmp_path: Path, path: str) -> None:
    for outside in ("tmp", "sys/elsewhere"):
        (tmp_path / outside).mkdir(parents=True)
    groups = v2(tmp_path, {"memory.max": "77"}, path)
    assert groups.memory is not None
    assert groups.memory.path == tmp_path / "sys/fs/cgroup"
    assert groups.memory_limit_b() == 77


def test_a_container_sees_its_group_as_the_top(tmp_path: Path) -> None:
    mount = MOUNT_V2.replace(" / /sys", " /pods/one /sys")
    groups = v2(tmp_path, {"memory.max": "99", "slot/job/memory.max": "55"}, "/pods/one/slot/job", mount)
    assert groups.memory_limit_b() == 55


@pytest.mark.parametrize(("own", "mounts"), [([], []), (["0::/"], []), ([], [MOUNT_V2])])
def test_a_machine_without_groups_answers_nothing(tmp_path: Path, own: list[str], mounts: list[str]) -> None:
    groups = a_machine(tmp_path, own, mounts, {})
    assert groups == Groups(None, None) == Groups.of(root=tmp_path / "nowhere")
    answers = groups.memory_limit_b(), groups.cpu_limit(), groups.memory_used_b(), groups.oom_kills()
    assert answers == (None, None, None, None)


def test_this_machine_answers_what_can_be_true() -> None:
    groups = Groups.of()
    total_b = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    used_b, kills = groups.memory_used_b(), groups.oom_kills()
    assert used_b is None or 0 < used_b <= total_b
    assert kills is None or kills >= 0
    assert groups == Groups.of(os.getpid())
