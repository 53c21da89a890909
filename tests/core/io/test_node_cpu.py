"""Processors as kernels and ``lscpu`` describe them, recorded on machines of several makers."""

from __future__ import annotations

import pytest

from pilot_core.io.node_cpu import Cpu, level_of, nominal_mhz, read_clock_mhz, read_cpuinfo, read_lscpu, read_topology

V1 = "fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat clflush mmx fxsr sse sse2 ht syscall nx lm"
V2 = f"{V1} pni ssse3 cx16 sse4_1 sse4_2 popcnt lahf_lm"
V3 = f"{V2} fma movbe xsave avx f16c rdrand abm bmi1 avx2 bmi2"
V4 = f"{V3} avx512f avx512dq avx512cd avx512bw avx512vl"


def x86(number, package, model, flags, cores=16, siblings=32, mhz="2800.123"):
    return f"""processor\t: {number}
vendor_id\t: GenuineIntel
cpu family\t: 6
model\t\t: 85
model name\t: {model}
stepping\t: 7
cpu MHz\t\t: {mhz}
cache size\t: 22528 KB
physical id\t: {package}
siblings\t: {siblings}
core id\t\t: {number % cores}
cpu cores\t: {cores}
flags\t\t: {flags}
bugs\t\t: spectre_v1 spectre_v2
bogomips\t: 4200.00
power management:
"""


XEON = "Intel(R) Xeon(R) Silver 4216 CPU @ 2.10GHz"
INTEL = "\n".join(x86(number, number // 16 % 2, XEON, V4) for number in range(64))
ROME = "\n".join(x86(n, n // 64, "AMD EPYC 7702 64-Core Processor", V3, 64, 64, "1496.220") for n in range(128))
HIDDEN = """processor : 0
model name : QEMU Virtual CPU version 2.5+
cpu MHz : 2394.454
flags : fpu de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat mmx fxsr sse sse2 syscall nx lm

processor : 1
model name : QEMU Virtual CPU version 2.5+
cpu MHz : 2394.454
flags : fpu de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat mmx fxsr sse sse2 syscall nx lm
"""
ARM = "\n".join(
    f"""processor\t: {number}
BogoMIPS\t: 50.00
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x3
CPU part\t: 0xd0c
CPU revision\t: 1
"""
    for number in range(4)
)
POWER = """processor\t: 0
cpu\t\t: POWER9, altivec supported
clock\t\t: 3450.000000MHz
revision\t: 2.2 (pvr 004e 1202)

processor\t: 4
cpu\t\t: POWER9, altivec supported
clock\t\t: 2800.000000MHz
revision\t: 2.2 (pvr 004e 1202)

timebase\t: 512000000
platform\t: PowerNV
machine\t\t: PowerNV 8335-GTH
"""


@pytest.mark.parametrize(
    ("flags", "level"),
    [(V1, "x86-64-v1"), (V2, "x86-64-v2"), (V3, "x86-64-v3"), (V4, "x86-64-v4"), ("fp asimd aes", ""), ("", "")],
)
def test_the_level_is_the_highest_of_which_every_flag_is_there(flags, level):
    assert level_of(flags.split()) == level


@pytest.mark.parametrize(
    ("gone", "level"), [("popcnt", "x86-64-v1"), ("fma", "x86-64-v2"), ("lm", ""), ("avx512vl", "x86-64-v3")]
)
def test_a_level_that_misses_one_flag_is_not_reached_and_none_above(gone, level):
    assert level_of(set(V4.split()) - {gone}) == level


def test_two_sockets_with_hyperthreads():
    assert read_cpuinfo(INTEL) == Cpu(
        model=XEON,
        level="x86-64-v4",
        logical=64,
        sockets=2,
        cores_per_socket=16,
        threads_per_core=2,
        clock_mhz=2800.123,
    )
    assert nominal_mhz(XEON) == 2100.0


def test_two_sockets_without_hyperthreads():
    cpu = read_cpuinfo(ROME)
    assert (cpu.model, cpu.level) == ("AMD EPYC 7702 64-Core Processor", "x86-64-v3")
    assert (cpu.logical, cpu.sockets, cpu.cores_per_socket, cpu.threads_per_core) == (128, 2, 64, 1)
    assert (cpu.clock_mhz, nominal_mhz(cpu.model)) == (1496.22, None)


def test_a_machine_that_hides_how_it_is_built():
    cpu = read_cpuinfo(HIDDEN)
    assert (cpu.level, cpu.logical, cpu.sockets, cpu.threads_per_core) == ("x86-64-v1", 2, None, None)


def test_processors_of_two_kinds_reach_what_both_reach():
    assert read_cpuinfo(x86(0, 0, XEON, V4) + "\n" + x86(1, 0, XEON, V2)).level == "x86-64-v2"


def test_arm_gives_numbers_for_a_name():
    assert read_cpuinfo(ARM) == Cpu(model="Neoverse-N1", logical=4)
    assert read_cpuinfo(ARM.replace("0xd0c", "0xfff")).model == ""
    assert read_cpuinfo(ARM.replace("0x41", "what")).model == ""


def test_power_has_other_keys():
    assert read_cpuinfo(POWER) == Cpu(model="POWER9, altivec supported", logical=2, clock_mhz=3450.0)


@pytest.mark.parametrize("text", ["", "nonsense", "model name: x", ":\n:\n", "\n\n\n", "processor: -\n"])
def test_a_text_that_tells_nothing_says_nothing(text):
    assert read_cpuinfo(text) == read_lscpu("nonsense") == Cpu()


LSCPU_ARM = """Architecture:           aarch64
  CPU op-mode(s):       32-bit, 64-bit
  Byte Order:           Little Endian
CPU(s):                 80
  On-line CPU(s) list:  0-79
Vendor ID:              ARM
  BIOS Vendor ID:       Ampere(R)
  Model name:           Neoverse-N1
    BIOS Model name:    Ampere(R) Altra(R) Processor
    Model:              1
    Thread(s) per core: 1
    Core(s) per socket: 80
    Socket(s):          1
    Stepping:           r3p1
    CPU max MHz:        3000.0000
    CPU min MHz:        1000.0000
    Flags:              fp asimd evtstrm aes pmull
"""
LSCPU_OLD = f"""Architecture:          x86_64
CPU op-mode(s):        32-bit, 64-bit
CPU(s):                32
Thread(s) per core:    2
Core(s) per socket:    8
Socket(s):             2
Model name:            Intel(R) Xeon(R) CPU E5-2630 v3 @ 2.40GHz
CPU MHz:               1199.950
Flags:                 {V3}
"""


def test_lscpu_of_an_arm_machine():
    assert read_lscpu(LSCPU_ARM) == Cpu(
        model="Neoverse-N1",
        architecture="aarch64",
        logical=80,
        sockets=1,
        cores_per_socket=80,
        threads_per_core=1,
        clock_mhz=3000.0,
    )


def test_lscpu_of_an_old_system():
    cpu = read_lscpu(LSCPU_OLD)
    assert (cpu.level, cpu.logical, cpu.sockets, cpu.cores_per_socket) == ("x86-64-v3", 32, 2, 8)
    assert (cpu.clock_mhz, nominal_mhz(cpu.model)) == (1199.95, 2400.0)


def test_lscpu_that_does_not_know():
    text = LSCPU_ARM.replace("1\n    Stepping", "-\n    Stepping").replace(
        "Model name:           Neoverse-N1", "Model name: -"
    )
    cpu = read_lscpu(text)
    assert (cpu.model, cpu.sockets, cpu.cores_per_socket) == ("", None, None)


def sysfs(root, threads_of, package_of):
    for number, (threads, package) in enumerate(zip(threads_of, package_of, strict=True)):
        folder = root / f"sys/devices/system/cpu/cpu{number}/topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(f"{threads}\n")
        (folder / "physical_package_id").write_text(f"{package}\n")


def test_sysfs_tells_who_shares_a_core_and_a_socket(tmp_path):
    sysfs(tmp_path, ["0,4", "1,5", "2,6", "3,7"] * 2, [0, 0, 1, 1] * 2)
    assert read_topology(tmp_path) == Cpu(logical=8, sockets=2, cores_per_socket=2, threads_per_core=2)


def test_sysfs_of_a_machine_without_packages(tmp_path):
    sysfs(tmp_path, [0, 1], [-1, -1])
    assert read_topology(tmp_path) == Cpu(logical=2, sockets=1, cores_per_socket=2, threads_per_core=1)
    assert read_topology(tmp_path / "sys") == Cpu()


def test_the_clock_it_is_made_for_comes_before_its_highest(tmp_path):
    folder = tmp_path / "sys/devices/system/cpu/cpu0/cpufreq"
    folder.mkdir(parents=True)
    assert read_clock_mhz(tmp_path) is None
    (folder / "cpuinfo_max_freq").write_text("3900000\n")
    assert read_clock_mhz(tmp_path) == 3900.0
    (folder / "base_frequency").write_text("2100000\n")
    assert read_clock_mhz(tmp_path) == 2100.0


def test_what_one_answer_lacks_another_gives():
    known = Cpu(model="A", logical=4).or_else(Cpu(model="B", logical=8, sockets=2, level="x86-64-v2"))
    assert known == Cpu(model="A", logical=4, sockets=2, level="x86-64-v2")
