"""The monitor "gpu": what the GPUs of a job do, as their makers' programs tell."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from pilot_core.sdk import Monitor, Reading, View

if TYPE_CHECKING:
    from pilot_core.sdk.node import GpuUse

PROGRAM_S: Final = 20.0


class Gpus(Monitor):
    """Measures the GPUs that were given to the job, together; of a job without any it asks nobody."""

    name = "gpu"
    interval_s = 60.0

    def look(self, view: View) -> Reading:
        """Ask the programs that are there."""
        if not view.job.devices:
            return Reading()
        own = {name.removeprefix("nvidia") for name in view.job.devices}
        return Reading(measures=measures_of(each for each in uses() if own.intersection(each.names)))


def uses() -> tuple[GpuUse, ...]:
    """What all GPUs of the node do."""
    from pilot_core.sdk.node import AMD_USE, NVIDIA_USE, output_of, read_amd_use, read_nvidia_use

    found: list[GpuUse] = []
    readers: tuple[tuple[tuple[str, ...], Callable[[str], tuple[GpuUse, ...]]], ...] = (
        (NVIDIA_USE, read_nvidia_use),
        (AMD_USE, read_amd_use),
    )
    for argv, read in readers:
        if where := shutil.which(argv[0]):
            found += read(output_of((where, *argv[1:]), os.environ, PROGRAM_S))
    return tuple(found)


def measures_of(gpus: Iterable[GpuUse]) -> dict[str, float]:
    """Sums over GPUs, of what they tell."""
    told = [(each.busy, each.memory_b, each.power_w) for each in gpus]
    columns = zip(("gpu_busy", "gpu_memory_b", "gpu_power_w"), zip(*told, strict=True), strict=False)
    return {
        name: float(sum(value for value in values if value is not None))
        for name, values in columns
        if any(value is not None for value in values)
    }
