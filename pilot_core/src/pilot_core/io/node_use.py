"""How much of the node's devices is in use now: GPUs, the network, energy. Files and programs' answers, read."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from attrs import frozen

from pilot_core.io.node_gpu import MIB, NOTHING

NVIDIA_USE: Final = (
    "nvidia-smi",
    "--query-gpu=index,uuid,utilization.gpu,memory.used,power.draw",
    "--format=csv,noheader,nounits",
)
AMD_USE: Final = ("rocm-smi", "--showuse", "--showmeminfo", "vram", "--showpower", "--showuniqueid", "--json")
PACKAGES: Final = "sys/class/powercap"
_AMD_POWER: Final = ("average graphics package power (w)", "current socket graphics package power (w)")


@frozen(kw_only=True)
class GpuUse:
    """What one GPU does; ``names`` are those by which it can be given to a job."""

    names: tuple[str, ...]
    busy: float | None = None
    memory_b: int | None = None
    power_w: float | None = None


def read_nvidia_use(text: str) -> tuple[GpuUse, ...]:
    """What ``nvidia-smi`` prints as CSV without header and units."""
    rows = csv.reader(text.splitlines(), skipinitialspace=True)
    return tuple(_nvidia(*row) for row in rows if len(row) == 5 and row[0].isdecimal())


def _nvidia(index: str, uuid: str, busy: str, memory: str, power: str) -> GpuUse:
    percent, mebibytes = _number(busy), _number(memory)
    return GpuUse(
        names=(index, uuid),
        busy=None if percent is None else percent / 100,
        memory_b=None if mebibytes is None else int(mebibytes * MIB),
        power_w=_number(power),
    )


def read_amd_use(text: str) -> tuple[GpuUse, ...]:
    """What ``rocm-smi`` prints as JSON, after what it warns of."""
    try:
        told = json.loads(text[text.index("{") :])
    except ValueError:
        return ()
    cards = ((str(name), card) for name, card in told.items() if isinstance(card, Mapping))
    return tuple(_amd(name.removeprefix("card"), card) for name, card in cards if name.startswith("card"))


def _amd(index: str, card: Mapping[object, object]) -> GpuUse:
    known = {str(name).lower(): str(value) for name, value in card.items()}
    percent, memory = _number(known.get("gpu use (%)", "")), _number(known.get("vram total used memory (b)", ""))
    return GpuUse(
        names=tuple(name for name in (index, known.get("unique id", "")) if name),
        busy=None if percent is None else percent / 100,
        memory_b=None if memory is None else int(memory),
        power_w=next((power for name in _AMD_POWER if (power := _number(known.get(name, ""))) is not None), None),
    )


def read_network(text: str) -> tuple[int, int]:
    """Bytes received and sent by all interfaces of a ``/proc/<pid>/net/dev`` but the loopback."""
    rows = [line.partition(":") for line in text.splitlines()]
    fields = [told.split() for name, colon, told in rows if colon and name.strip() != "lo"]
    return sum(int(each[0]) for each in fields), sum(int(each[8]) for each in fields)


def read_energy(root: Path = Path("/")) -> dict[str, tuple[int, int]]:
    """What each processor package has used, in microjoules, and where its counter begins anew."""
    found = {}
    for zone in sorted((root / PACKAGES).glob("intel-rapl:*")):
        used, most = _whole(zone / "energy_uj"), _whole(zone / "max_energy_range_uj")
        if zone.name.count(":") == 1 and used is not None and most:
            found[zone.name] = used, most
    return found


def energy_j(before: Mapping[str, tuple[int, int]], now: Mapping[str, tuple[int, int]]) -> float:
    """What was used between two readings, each counter having begun anew once at most."""
    spent: Iterable[int] = (
        used - before[name][0] + (most if used < before[name][0] else 0)
        for name, (used, most) in now.items()
        if name in before
    )
    return sum(spent) / 1e6


def _number(text: str) -> float | None:
    if text in NOTHING:
        return None
    try:
        return float(text)
    except ValueError:
        return None


def _whole(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None
