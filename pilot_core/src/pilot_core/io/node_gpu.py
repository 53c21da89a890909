"""What ``nvidia-smi`` and ``rocm-smi`` print of a node's GPUs, read. Pure."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from attrs import evolve, frozen

MIB: Final = 1 << 20
NOTHING: Final = frozenset({"", "N/A", "[N/A]", "Not Found", "Unknown Error", "[Unknown Error]", "ERR!"})
_GPU: Final = re.compile(r"GPU [0-9A-Fa-f]+:[0-9A-Fa-f]+:")
_INTRO: Final = re.compile(r"^(AMD |Advanced Micro Devices.*\] *)", re.IGNORECASE)


@frozen(kw_only=True)
class Gpu:
    """GPUs of one kind, and how many of them there are."""

    vendor: str
    model: str
    count: int = 1
    vram_b: int | None = None
    architecture: str = ""
    framework: str = ""
    framework_version: str = ""
    driver_version: str = ""


NVIDIA: Final = ("nvidia-smi", "-q")
AMD: Final = ("rocm-smi", "--showproductname", "--showmeminfo", "vram", "--showdriverversion", "--json")


def read_nvidia(text: str) -> tuple[Gpu, ...]:
    """What ``nvidia-smi -q`` prints."""
    general, *each = _sections(text)
    found = (
        Gpu(
            vendor="NVIDIA",
            model=_told(section, "Product Name").removeprefix("NVIDIA ").strip(),
            vram_b=_mebibytes(_told(section, "FB Memory Usage/Total")),
            architecture=_told(section, "Product Architecture"),
            framework="CUDA",
            framework_version=_told(general, "CUDA Version"),
            driver_version=_told(general, "Driver Version"),
        )
        for section in each
    )
    return _counted(gpu for gpu in found if gpu.model)


def read_amd(text: str, framework_version: str = "") -> tuple[Gpu, ...]:
    """What ``rocm-smi`` prints as JSON, after what it warns of."""
    try:
        told = json.loads(text[text.index("{") :])
    except ValueError:
        return ()
    cards = {str(name): _lower(card) for name, card in told.items() if isinstance(card, Mapping)}
    driver = cards.get("system", {}).get("driver version", "")
    found = (_amd(card, driver, framework_version) for name, card in cards.items() if name.startswith("card"))
    return _counted(gpu for gpu in found if gpu.model)


def _amd(card: Mapping[str, str], driver: str, framework_version: str) -> Gpu:
    vram = card.get("vram total memory (b)", "")
    return Gpu(
        vendor="AMD",
        model=_INTRO.sub("", card.get("card series") or card.get("card model", "")),
        vram_b=int(vram) if vram.isdecimal() else None,
        architecture=card.get("gfx version", ""),
        framework="ROCm",
        framework_version=framework_version,
        driver_version=driver,
    )


def _counted(gpus: Iterable[Gpu]) -> tuple[Gpu, ...]:
    return tuple(evolve(gpu, count=count) for gpu, count in Counter(gpus).items())


def _sections(text: str) -> Iterator[dict[str, str]]:
    """The part before the first GPU, then one part for each, keys with those that they stand below."""
    told: dict[str, str] = {}
    above: list[tuple[int, str]] = []
    for line in text.splitlines():
        if _GPU.match(line):
            yield told
            told, above = {}, []
            continue
        key, colon, value = (part.strip() for part in line.partition(" :"))
        depth = len(line) - len(line.lstrip())
        above = [(deep, name) for deep, name in above if deep < depth]
        if colon:
            told.setdefault("/".join([*(name for deep, name in above if deep), key]), value)
        elif key:
            above.append((depth, key))
    yield told


def _told(section: Mapping[str, str], key: str) -> str:
    value = section.get(key, "")
    return "" if value in NOTHING else value


def _mebibytes(text: str) -> int | None:
    number, _, unit = text.partition(" ")
    return int(number) * MIB if number.isdecimal() and unit == "MiB" else None


def _lower(card: Mapping[object, object]) -> dict[str, str]:
    values = {str(key).lower(): str(value).strip() for key, value in card.items()}
    return {key: "" if value in NOTHING else value for key, value in values.items()}
