"""What the kernel and ``lscpu`` write about a node's processors, read. Pure, but for the tree of sysfs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from attrs import evolve, fields, frozen


@frozen(kw_only=True)
class Cpu:
    """The processors of a node; what nobody tells is empty."""

    model: str = ""
    architecture: str = ""
    level: str = ""
    """What programs built for a generation of x86-64 find here, such as ``x86-64-v3``."""
    logical: int | None = None
    sockets: int | None = None
    cores_per_socket: int | None = None
    threads_per_core: int | None = None
    clock_mhz: float | None = None

    def or_else(self, other: Cpu) -> Cpu:
        """The same, with what is not known taken from another answer."""
        names = [field.name for field in fields(Cpu) if getattr(self, field.name) in ("", None)]
        return evolve(self, **{name: getattr(other, name) for name in names})


MODEL_KEYS: Final = ("model name", "cpu", "uarch")
CLOCK_KEYS: Final = ("cpu MHz", "clock", "cpu MHz dynamic")
UNKNOWN: Final = frozenset({"", "-", "unknown", "n/a", "not specified"})
ARM: Final[Mapping[tuple[int, int], str]] = {
    (0x41, 0xD08): "Cortex-A72",
    (0x41, 0xD0C): "Neoverse-N1",
    (0x41, 0xD40): "Neoverse-V1",
    (0x41, 0xD49): "Neoverse-N2",
    (0x41, 0xD4F): "Neoverse-V2",
    (0x43, 0x0AF): "ThunderX2 99xx",
    (0x46, 0x001): "A64FX",
    (0x48, 0xD01): "TaiShan-v110",
    (0xC0, 0xAC3): "Ampere-1",
    (0xC0, 0xAC4): "Ampere-1a",
}
"""Processors that give numbers for a name, by who made them and which part they are."""
LEVELS: Final = (
    frozenset({"lm", "cmov", "cx8", "fpu", "fxsr", "mmx", "syscall", "sse", "sse2"}),
    frozenset({"cx16", "lahf_lm", "popcnt", "pni", "sse4_1", "sse4_2", "ssse3"}),
    frozenset({"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave"}),
    frozenset({"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}),
)
"""What each level of x86-64 needs beyond the one before, in the kernel's words."""
_NUMBER: Final = re.compile(r"\d+(?:\.\d+)?")
_NOMINAL: Final = re.compile(r"@ *(\d+(?:\.\d+)?) *([GM])Hz", re.IGNORECASE)


def level_of(flags: Iterable[str]) -> str:
    """The highest level of x86-64 that a processor with these flags reaches; nothing if it is none."""
    there, reached = frozenset(flags), 0
    for level in LEVELS:
        if not level <= there:
            break
        reached += 1
    return f"x86-64-v{reached}" if reached else ""


def read_cpuinfo(text: str) -> Cpu:
    """``/proc/cpuinfo``, of x86, ARM, POWER or RISC-V."""
    blocks = [block for part in re.split(r"\n\s*\n", text) if (block := _pairs(part))]
    processors = [block for block in blocks if block.get("processor", "").isdigit()]
    if not processors:
        return Cpu()
    first, model = processors[0], _model(processors[0])
    cores, siblings = _whole(first.get("cpu cores")), _whole(first.get("siblings"))
    packages = {block["physical id"] for block in processors if "physical id" in block}
    return Cpu(
        model=model,
        level=_level_of_all(processors),
        logical=len(processors),
        sockets=len(packages) or None,
        cores_per_socket=cores,
        threads_per_core=max(siblings // cores, 1) if cores and siblings else None,
        clock_mhz=_first_real(blocks, CLOCK_KEYS),
    )


def read_lscpu(text: str) -> Cpu:
    """What ``lscpu`` prints in the C locale, of any version."""
    told = _pairs(text)
    model = _known(told.get("Model name", ""))
    flags = told.get("Flags", "").split()
    sockets = _whole(told.get("Socket(s)"))
    return Cpu(
        model=model,
        architecture=told.get("Architecture", ""),
        level=level_of(flags),
        logical=_whole(told.get("CPU(s)")),
        sockets=sockets,
        cores_per_socket=_whole(told.get("Core(s) per socket")) if sockets else None,
        threads_per_core=_whole(told.get("Thread(s) per core")),
        clock_mhz=_first_real([told], ("CPU max MHz", "CPU MHz")),
    )


def read_topology(root: Path) -> Cpu:
    """How the processors share cores and sockets, as sysfs tells below ``root``."""
    folders = [each for each in root.glob("sys/devices/system/cpu/cpu[0-9]*/topology") if each.is_dir()]
    cores = {text for each in folders if (text := _text(each / "thread_siblings_list"))}
    packages = {text for each in folders if (text := _text(each / "physical_package_id")) not in ("", "-1")}
    if not cores:
        return Cpu()
    sockets = len(packages) or 1
    return Cpu(
        logical=len(folders),
        sockets=sockets,
        cores_per_socket=max(len(cores) // sockets, 1),
        threads_per_core=max(len(folders) // len(cores), 1),
    )


def read_clock_mhz(root: Path) -> float | None:
    """The clock that sysfs below ``root`` tells of the first processor: what it is made for, else its highest."""
    for name in ("base_frequency", "cpuinfo_max_freq"):
        if khz := _whole(_text(root / "sys/devices/system/cpu/cpu0/cpufreq" / name)):
            return khz / 1000
    return None


def nominal_mhz(model: str) -> float | None:
    """The clock that a processor's name promises."""
    found = _NOMINAL.search(model)
    return None if found is None else round(float(found[1]) * (1000 if found[2] in "Gg" else 1), 3)


def _level_of_all(processors: list[dict[str, str]]) -> str:
    """The level that all processors reach, of which there may be several kinds."""
    written = {block.get("flags", "") for block in processors}
    return level_of(frozenset.intersection(*(frozenset(flags.split()) for flags in written)))


def _model(block: Mapping[str, str]) -> str:
    named = next((name for key in MODEL_KEYS if (name := _known(block.get(key, "")))), "")
    if named:
        return named
    try:
        return ARM.get((int(block["CPU implementer"], 16), int(block["CPU part"], 16)), "")
    except (KeyError, ValueError):
        return ""


def _pairs(text: str) -> dict[str, str]:
    split = (line.partition(":") for line in text.splitlines())
    return {key.strip(): " ".join(value.split()) for key, colon, value in split if colon}


def _known(text: str) -> str:
    return "" if text.lower() in UNKNOWN else text


def _whole(text: str | None) -> int | None:
    """A number of things that there are."""
    return int(text) if text is not None and text.isdecimal() and int(text) else None


def _first_real(blocks: Iterable[Mapping[str, str]], keys: Iterable[str]) -> float | None:
    for block in blocks:
        for key in keys:
            if (found := _NUMBER.match(block.get(key, ""))) and float(found[0]):
                return float(found[0])
    return None


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return ""
