"""A slot on one node: the launcher "direct" and the resource "node"."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from pilot_core.sdk import Command, Job, Launcher, Resource, Resources, SlotOptions
from pilot_core.sdk.io import Groups, free_bytes

NO_GPUS: Final = frozenset({"", "-1", "none", "void", "NoDevFiles"})
_MEMORY: Final = re.compile(r"^MemTotal:\s+(\d+) kB", re.MULTILINE)
_GPU_NODE: Final = re.compile(r"nvidia(\d+)")


class Direct(Launcher):
    """Starts a command as it is, on the pilot's own node."""

    name = "direct"

    def launch(self, command: Command, job: Job) -> Command:
        """The same command."""
        return command


class Node(Resource):
    """What the pilot may use of the node it runs on; the section ``slot`` overrules what the node tells."""

    name = "node"

    def slot(self, workdir: Path) -> Resources:
        """Cores and memory as granted by the control group, the disk that is free, the GPUs that are visible."""
        known = self.settings.of(SlotOptions)
        groups = Groups.of()
        gpus = known.gpus or _gpus()
        return Resources(
            cores=known.cores or _cores(groups),
            memory_b=known.memory_b or _memory_b(groups),
            disk_b=known.disk_b or free_bytes(workdir),
            gpus=gpus,
            gpu_count=len(gpus),
        )


def _cores(groups: Groups) -> int:
    """Whole cores, as pinned, and within the time that the group is granted."""
    pinned = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(pinned, int(groups.cpu_limit() or pinned)))


def _memory_b(groups: Groups) -> int:
    limit_b, total_b = groups.memory_limit_b(), _total_b()
    return total_b if limit_b is None else min(limit_b, total_b)


def _total_b() -> int:
    try:
        found = _MEMORY.search(Path("/proc/meminfo").read_text())
    except FileNotFoundError:
        found = None
    if found:
        return int(found[1]) * 1024
    import psutil

    return int(psutil.virtual_memory().total)


def _gpus() -> tuple[str, ...]:
    """Those that the batch system shows us, under the names that a payload is given."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES", os.environ.get("NVIDIA_VISIBLE_DEVICES", ""))
    if named == "all":
        return tuple(sorted((found[1] for name in os.listdir("/dev") if (found := _GPU_NODE.fullmatch(name))), key=int))
    return tuple(gpu for each in named.split(",") if (gpu := each.strip()) not in NO_GPUS)
