"""The facts of a node, gathered from made trees, from real programs, and from the machine the tests run on."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from pilot_core.io.node import NodeFacts, Program, file_system_of, output_of
from pilot_core.io.node_cpu import Cpu
from pilot_core.io.node_gpu import MIB, Gpu

ROME = """processor : {number}
model name : AMD EPYC 7702 64-Core Processor
cpu MHz : 1496.220
physical id : 0
siblings : 4
cpu cores : 2
flags : lm cmov cx8 fpu fxsr mmx syscall sse sse2
"""
MOUNTS = r"""22 28 0:21 / / rw,relatime - overlay overlay rw,lowerdir=/l
30 22 253:1 / /tmp rw,nosuid - xfs /dev/vda2 rw
31 22 0:41 / /home rw shared:1 - nfs4 filer:/home rw
32 31 253:2 / /home/local\040disk rw - ext4 /dev/vdb rw
33 22 0:42 / /pool rw - ext4 /dev/vdc rw
34 22 0:43 / /pool rw - lustre mds:/pool rw
"""


def tree(root, files):
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


@pytest.fixture
def place(tmp_path):
    """``place(files, programs)``: facts of a made machine on which these programs are found and no others."""

    def build(files=(), programs=(), machine="x86_64"):
        tree(
            tmp_path,
            {**dict(files), **{f"bin/{name}": f"#!/bin/sh\n{text}\n" for name, text in dict(programs).items()}},
        )
        for name in dict(programs):
            (tmp_path / "bin" / name).chmod(0o755)
        return NodeFacts(tmp_path, tmp_path, machine=machine, environ={"PATH": str(tmp_path / "bin")})

    return build


def printing(text):
    return f"while IFS= read -r line; do printf '%s\\n' \"$line\"; done <<'END'\n{text}\nEND"


def test_this_machine_is_known(tmp_path):
    facts = NodeFacts(tmp_path)
    assert facts.cpu.logical >= len(os.sched_getaffinity(0))
    assert facts.cpu.architecture == os.uname().machine
    assert facts.memory_b == pytest.approx(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), rel=0.05)
    room = os.statvfs(tmp_path)
    assert facts.disk_b in (None, room.f_blocks * room.f_frsize)


def test_files_alone_tell_of_an_ordinary_machine(place):
    cpuinfo = "\n".join(ROME.format(number=number) for number in range(4))
    lscpu = {"lscpu": "touch $0.asked"}
    facts = place({"proc/cpuinfo": cpuinfo, "proc/meminfo": "MemTotal:  263757524 kB\nMemFree: 1 kB\n"}, lscpu)
    assert facts.cpu == Cpu(
        model="AMD EPYC 7702 64-Core Processor",
        architecture="x86_64",
        level="x86-64-v1",
        logical=4,
        sockets=1,
        cores_per_socket=2,
        threads_per_core=2,
        clock_mhz=1496.22,
    )
    assert facts.memory_b == 263757524 * 1024
    assert not (facts.root / "bin/lscpu.asked").exists()


def test_a_fixed_clock_comes_before_that_of_the_moment(place):
    fixed = {"sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq": "3353515\n"}
    assert place({"proc/cpuinfo": ROME.format(number=0), **fixed}).cpu.clock_mhz == 3353.515


def test_lscpu_tells_what_files_do_not(place):
    text = (
        "Architecture: aarch64\nModel name: Kunpeng-920\nCPU(s): 96\n"
        "Socket(s): 2\nCore(s) per socket: 48\nThread(s) per core: 1"
    )
    arm = (
        "processor: 0\nCPU implementer: 0x48\nCPU part: 0xfff\n\nprocessor: 1\nCPU implementer: 0x48\nCPU part: 0xfff\n"
    )
    cpu = place({"proc/cpuinfo": arm}, {"lscpu": printing(text)}, "aarch64").cpu
    assert (cpu.model, cpu.logical, cpu.sockets, cpu.cores_per_socket) == ("Kunpeng-920", 2, 2, 48)
    assert cpu.level == ""


def test_without_proc_something_is_known_all_the_same(place):
    facts = place(machine="arm64")
    assert facts.cpu == Cpu(architecture="arm64", logical=os.cpu_count())
    assert facts.memory_b is not None
    assert (facts.gpus, facts.memory_limit_b, facts.cpu_limit) == ((), None, None)


@pytest.mark.parametrize(
    ("files", "memory_b", "cores"),
    [
        (
            {
                "proc/self/cgroup": "0::/\n",
                "proc/self/mountinfo": "1 1 0:1 / /sys/fs/cgroup rw - cgroup2 cgroup rw\n",
                "sys/fs/cgroup/memory.max": "16777216000\n",
                "sys/fs/cgroup/cpu.max": "800000 100000\n",
            },
            16777216000,
            8.0,
        ),
        (
            {
                "proc/self/cgroup": "4:memory:/\n3:cpu,cpuacct:/\n",
                "proc/self/mountinfo": "1 1 0:1 / /cg/memory rw - cgroup cgroup rw,memory\n"
                "2 1 0:2 / /cg/cpu rw - cgroup cgroup rw,cpu,cpuacct\n",
                "cg/memory/memory.limit_in_bytes": "4194304000\n",
                "cg/cpu/cpu.cfs_quota_us": "150000\n",
                "cg/cpu/cpu.cfs_period_us": "100000\n",
            },
            4194304000,
            1.5,
        ),
    ],
    ids=["v2", "v1"],
)
def test_a_container_is_granted_less_than_the_node_has(place, files, memory_b, cores):
    facts = place({**files, "proc/meminfo": "MemTotal: 100000000 kB\n"})
    assert (facts.memory_limit_b, facts.cpu_limit) == (memory_b, cores)
    assert facts.memory_b == 102400000000


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/tmp/pilot", "xfs"),
        ("/tmpx", "overlay"),
        ("/home/me", "nfs4"),
        ("/home/local disk/pilot", "ext4"),
        ("/pool/x", "lustre"),
    ],
)
def test_the_file_system_that_a_path_is_in(tmp_path, path, kind):
    assert file_system_of(Path(path), MOUNTS) == kind
    assert file_system_of(tmp_path, "garbage\n - \n1 2 - x\n") == ""


def test_a_disk_elsewhere_is_not_the_nodes(place):
    assert place({"proc/self/mountinfo": "1 1 0:1 / / rw - nfs4 filer:/ rw\n"}).disk_b is None
    assert place({"proc/self/mountinfo": "1 1 0:1 / / rw - ext4 /dev/vda rw\n"}).disk_b > 0


def test_gpus_of_both_makers(place):
    nvidia = (
        "Driver Version : 550.54\nCUDA Version : 12.4\nGPU 00000000:17:00.0\n"
        "    Product Name : NVIDIA L40S\n    FB Memory Usage\n        Total : 46068 MiB"
    )
    amd = json.dumps({"card0": {"Card series": "Instinct MI210"}})
    programs = {"nvidia-smi": f'[ "$*" = -q ] || exit 1\n{printing(nvidia)}', "rocm-smi": printing(amd)}
    facts = place({"opt/rocm/.info/version": "6.1.2-95\n"}, programs)
    first, second = facts.gpus
    assert first == Gpu(
        vendor="NVIDIA",
        model="L40S",
        vram_b=46068 * MIB,
        framework="CUDA",
        framework_version="12.4",
        driver_version="550.54",
    )
    assert (second.vendor, second.model, second.framework_version) == ("AMD", "Instinct MI210", "6.1.2")


def test_a_gpu_program_that_fails_shows_none(place):
    assert place(programs={"nvidia-smi": "echo 'GPU 00000000:17:00.0'; echo ' Product Name : X'; exit 9"}).gpus == ()


def test_programs_are_found_with_their_versions(place):
    facts = place(
        programs={
            "apptainer": "echo apptainer version 1.3.4-1.el9",
            "podman": "echo podman version 5.2.2",
            "shy": "exit 3",
            "quiet": ":",
        }
    )
    (facts.root / "bin/plain").write_text("not a program")
    there = facts.root / "bin"
    assert facts.programs(("apptainer", "docker", "podman", "shy", "quiet", "plain")) == (
        Program(name="apptainer", path=f"{there}/apptainer", version="1.3.4-1.el9"),
        Program(name="podman", path=f"{there}/podman", version="5.2.2"),
        Program(name="shy", path=f"{there}/shy"),
        Program(name="quiet", path=f"{there}/quiet"),
    )


def test_a_program_that_hangs_is_ended_with_all_that_it_started(tmp_path):
    """Both processes hold a pipe open, whose end says that they are gone."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    hangs = 'exec 3>"$0"; echo begun >&3; sleep 600 & sleep 600'
    assert output_of(("/bin/sh", "-c", hangs, str(pipe)), os.environ, 1.0) == ""
    os.set_blocking(reader, True)
    with os.fdopen(reader) as ended:
        assert ended.read() == "begun\n"


def test_a_program_sees_little_of_the_environment(place):
    facts = place(programs={"tell": "echo ${TOKEN:-none} $LC_ALL"})
    environ = {**facts.environ, "TOKEN": "sesame"}
    assert output_of((str(facts.root / "bin/tell"),), environ, 10.0) == "none C\n"
    assert output_of((str(facts.root / "nowhere"),), environ, 10.0) == ""


def test_facts_are_looked_up_once_and_when_asked_for(place):
    facts = place({"proc/cpuinfo": ROME.format(number=0), "proc/meminfo": "MemTotal: 1000 kB\n"})
    assert facts.told() == {}
    assert facts.memory_b == 1024000
    (facts.root / "proc/meminfo").unlink()
    assert facts.told() == {"memory_b": facts.memory_b} == {"memory_b": 1024000}
    assert (facts.gpus, facts.cpu.sockets) == ((), 1)
    told = json.loads(json.dumps(facts.told()))
    assert told.keys() == {"memory_b", "cpu"}
    assert told["cpu"]["model"] == "AMD EPYC 7702 64-Core Processor"
