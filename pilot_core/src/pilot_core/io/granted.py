"""What this node grants a process: by the kernel, by control groups, and by what its site writes into files.

Sites may tell the features of the machine and of the job in two directories that ``$MACHINEFEATURES`` and
``$JOBFEATURES`` name, a file for each.
"""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Mapping
from functools import reduce
from pathlib import Path
from typing import Final

from pilot_core.config.schema import SlotOptions
from pilot_core.io.cgroup import Groups
from pilot_core.io.files import free_bytes
from pilot_core.model.allotment import Allotment, Told, tightest, told
from pilot_core.model.queue import Resources

FEATURES: Final = ("MACHINEFEATURES", "JOBFEATURES")
FEATURE_B: Final = 4096
NO_GPUS: Final = frozenset({"", "-1", "none", "void", "NoDevFiles"})
GPU_VARIABLES: Final = ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES")
_MEMORY: Final = re.compile(r"^MemTotal:\s+(\d+) kB", re.MULTILINE)
_GPU_NODE: Final = re.compile(r"nvidia(\d+)")


def granted(workdir: Path, environ: Mapping[str, str] | None = None, root: Path = Path("/")) -> Allotment:
    """The tightest of all that the node tells; below another root than ``/`` a made tree is read."""
    environ = os.environ if environ is None else environ
    parts = (by_kernel(workdir, environ, root), by_groups(Groups.of(root=root)), by_features(read_features(environ)))
    return reduce(Allotment.within, parts)


def as_slot(allotment: Allotment, known: SlotOptions) -> Resources:
    """What a pilot may give to jobs: the allotment, unless the site knows better."""
    gpus = known.gpus or (allotment.gpus.value if allotment.gpus else ())
    return Resources(
        cores=known.cores or (allotment.cores.value if allotment.cores else 1),
        memory_b=known.memory_b or (allotment.memory_b.value if allotment.memory_b else None),
        disk_b=known.disk_b or (allotment.disk_b.value if allotment.disk_b else None),
        gpus=gpus,
        gpu_count=len(gpus),
    )


def by_kernel(workdir: Path, environ: Mapping[str, str], root: Path) -> Allotment:
    """Cores as pinned, all memory, the disk that is free, the GPUs that are shown."""
    pinned = hasattr(os, "sched_getaffinity")
    cores = len(os.sched_getaffinity(0)) if pinned else os.cpu_count() or 1
    return Allotment(
        cores=Told(cores, "affinity" if pinned else "kernel"),
        memory_b=_memory(root),
        disk_b=Told(free_bytes(workdir), f"free in {workdir.absolute()}"),
        gpus=_gpus(environ, root),
    )


def by_groups(groups: Groups) -> Allotment:
    """Whole cores' worth of time, and memory."""
    limit = groups.cpu_limit()
    return Allotment(
        cores=told(None if limit is None else max(1, int(limit)), "control group"),
        memory_b=told(groups.memory_limit_b(), "control group"),
    )


def by_features(features: Mapping[str, Told[str]]) -> Allotment:
    """The part of a node that the job's features tell of, and its time."""
    return Allotment(
        job=features.get("job_id"),
        cores=_whole(features, "allocated_cpu"),
        memory_b=_whole(features, "max_rss_bytes"),
        disk_b=_whole(features, "scratch_limit_bytes"),
        left_s=left_by_features(features),
    )


def left_by_features(features: Mapping[str, Told[str]]) -> Told[float] | None:
    """Until machine or job is shut down or the job's wall time is over; what is past was of others before us."""
    ends = [_whole(features, name) for name in ("shutdowntime", "shutdowntime_job")]
    began, limit = _whole(features, "jobstart_secs"), _whole(features, "wall_limit_secs")
    if began and limit:
        ends.append(Told(began.value + limit.value, limit.by))
    now = time.time()
    return tightest(*(Told(end.value - now, end.by) for end in ends if end and end.value > now))


def time_left_s() -> float | None:
    """How long features grant the slot, asked now."""
    left = left_by_features(read_features(os.environ))
    return None if left is None else left.value


def read_features(environ: Mapping[str, str]) -> dict[str, Told[str]]:
    """All features of machine and job by their names."""
    found: dict[str, Told[str]] = {}
    for variable in FEATURES:
        folder = Path(environ.get(variable) or os.devnull)
        for name in sorted(os.listdir(folder)) if folder.is_dir() else ():
            if text := _small_text(folder / name):
                found[name] = Told(text, f"${variable}/{name}")
    return found


def _small_text(path: Path) -> str:
    """A file's first words; a pipe or a device that somebody left there is not waited for."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return os.read(fd, FEATURE_B).decode(errors="replace").strip() if stat.S_ISREG(os.fstat(fd).st_mode) else ""
    finally:
        os.close(fd)


def _whole(features: Mapping[str, Told[str]], name: str) -> Told[int] | None:
    said = features.get(name)
    return Told(int(said.value), said.by) if said and said.value.isdecimal() and int(said.value) else None


def _memory(root: Path) -> Told[int]:
    try:
        found = _MEMORY.search((root / "proc/meminfo").read_text())
    except OSError:
        found = None
    if found:
        return Told(int(found[1]) * 1024, "/proc/meminfo")
    import psutil

    return Told(int(psutil.virtual_memory().total), "kernel")


def _gpus(environ: Mapping[str, str], root: Path) -> Told[tuple[str, ...]] | None:
    """Those that the batch system shows us, under the names that a payload is given."""
    variable = next((name for name in GPU_VARIABLES if name in environ), None)
    if variable is None:
        return None
    named = environ[variable]
    if named == "all":
        devices = (found[1] for name in os.listdir(root / "dev") if (found := _GPU_NODE.fullmatch(name)))
        return Told(tuple(sorted(devices, key=int)), variable)
    return Told(tuple(gpu for each in named.split(",") if (gpu := each.strip()) not in NO_GPUS), variable)
