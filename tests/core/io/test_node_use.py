"""Counters of devices as their makers' programs and the kernel write them."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from pilot_core.io.node_use import (
    GpuUse,
    energy_j,
    read_amd_use,
    read_energy,
    read_network,
    read_nvidia_use,
)

NVIDIA = """\
0, GPU-22b2c6ac-2d49-4863-197c-9c469071178a, 86, 3011, 176.98
1, GPU-5f3c7b21-8c0c-11ee-9f5a-0242ac120002, [N/A], 1934, [N/A]
"""
AMD = """\
WARNING: AMD GPU device(s) is/are in a low-power state. Check power control/runtime_status
{
  "card0": {
    "Unique ID": "0x8c6b1d4f",
    "Current Socket Graphics Package Power (W)": "7.222",
    "GPU use (%)": "19",
    "VRAM Total Memory (B)": "21458059264",
    "VRAM Total Used Memory (B)": "27856896"
  },
  "card1": {"Unique ID": "N/A", "Average Graphics Package Power (W)": "36.0", "GPU use (%)": "N/A"},
  "system": {"Driver version": "6.3.6"}
}
"""
NET_DEV = """\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo: 1296391   12345    0    0    0     0          0         0  1296391   12345    0    0    0     0       0          0
  eth0: 9145       68      0    0    0     0          0         0    13898     117    0    0    0     0       0          0
  ib0:100 1 0 0 0 0 0 0 200 1 0 0 0 0 0 0
"""  # noqa: E501


def test_nvidia_smi_as_csv() -> None:
    one, two = read_nvidia_use(NVIDIA)
    assert one == GpuUse(
        names=("0", "GPU-22b2c6ac-2d49-4863-197c-9c469071178a"), busy=0.86, memory_b=3011 << 20, power_w=176.98
    )
    assert (two.busy, two.memory_b, two.power_w) == (None, 1934 << 20, None)
    assert read_nvidia_use("No devices were found\n") == ()


def test_rocm_smi_as_json() -> None:
    one, two = read_amd_use(AMD)
    assert one == GpuUse(names=("0", "0x8c6b1d4f"), busy=0.19, memory_b=27856896, power_w=7.222)
    assert (two.busy, two.memory_b, two.power_w) == (None, None, 36.0)


@given(st.text())
def test_whatever_a_program_prints_is_read_or_left(text: str) -> None:
    assert isinstance(read_nvidia_use(text), tuple)
    assert isinstance(read_amd_use(text), tuple)


def test_the_loopback_is_no_network() -> None:
    assert read_network(NET_DEV) == (9245, 14098)


def zone(root: Path, name: str, used: int, most: int = 262143328850) -> None:
    place = root / "sys/class/powercap" / name
    place.mkdir(parents=True, exist_ok=True)
    (place / "energy_uj").write_text(f"{used}\n")
    (place / "max_energy_range_uj").write_text(f"{most}\n")


def test_energy_of_all_packages_and_of_no_part_twice(tmp_path: Path) -> None:
    zone(tmp_path, "intel-rapl:0", 5_000_000)
    zone(tmp_path, "intel-rapl:1", 262143328850 - 1_000_000)
    zone(tmp_path, "intel-rapl:0:0", 4_000_000)
    before = read_energy(tmp_path)
    assert list(before) == ["intel-rapl:0", "intel-rapl:1"]
    zone(tmp_path, "intel-rapl:0", 7_500_000)
    zone(tmp_path, "intel-rapl:1", 500_000)
    assert energy_j(before, read_energy(tmp_path)) == 2.5 + 1.5, "the second counter has begun anew"
    assert read_energy(tmp_path / "nowhere") == {}
