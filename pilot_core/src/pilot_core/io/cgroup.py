"""What the control groups of this process, version 1 or 2, grant it and tell about it; nothing is changed.

Where a file is missing, or says "no limit", the answer is nothing.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from attrs import frozen

_V1_NO_LIMIT_B = 1 << 60


@frozen
class Group:
    """A group's directory in one hierarchy, and that hierarchy's top as far as we can see it."""

    path: Path
    top: Path
    version: int

    def lineage(self) -> list[Path]:
        """The group and those above it, whose limits bind it too."""
        above = [path for path in self.path.parents if path.is_relative_to(self.top)]
        return [self.path, *above]


@frozen
class Groups:
    """Who accounts for a process's memory, who for its CPU time, and who for how many of its kind there are."""

    memory: Group | None
    cpu: Group | None
    pids: Group | None = None
    unified: Group | None = None
    """That of version 2, whatever it accounts for."""

    @classmethod
    def of(cls, pid: int | str = "self", root: Path = Path("/")) -> Groups:
        """Those of a process; below another root than `/` it reads a made tree."""
        try:
            lines = (root / f"proc/{pid}/cgroup").read_text().splitlines()
            mounts = (root / "proc/self/mountinfo").read_text().splitlines()
        except OSError:
            return cls(None, None)
        return cls(*(_find(name, lines, mounts, root) for name in ("memory", "cpu", "pids", None)))

    def memory_limit_b(self) -> int | None:
        """The tightest limit of the group and those above it."""
        if self.memory is None:
            return None
        name = "memory.max" if self.memory.version == 2 else "memory.limit_in_bytes"
        limits = [_number(path / name) for path in self.memory.lineage()]
        return min((limit for limit in limits if limit is not None and limit < _V1_NO_LIMIT_B), default=None)

    def thread_limit(self) -> int | None:
        """How many threads all processes of the group, and of the tightest above it, may have."""
        limits = [_number(path / "pids.max") for path in (self.pids.lineage() if self.pids else ())]
        return min((limit for limit in limits if limit is not None), default=None)

    def cpu_limit(self) -> float | None:
        """How many cores' worth of time is granted; the set of cores is `os.sched_getaffinity`'s to tell."""
        if self.cpu is None:
            return None
        quota = _quota_v2 if self.cpu.version == 2 else _quota_v1
        return min((limit for path in self.cpu.lineage() if (limit := quota(path))), default=None)

    def memory_used_b(self) -> int | None:
        """What is charged, less file pages that the kernel would give back before it kills."""
        if self.memory is None:
            return None
        v2 = self.memory.version == 2
        charged_b = _number(self.memory.path / ("memory.current" if v2 else "memory.usage_in_bytes"))
        spare_b = _entry(self.memory.path / "memory.stat", "inactive_file" if v2 else "total_inactive_file")
        return None if charged_b is None else max(0, charged_b - (spare_b or 0))

    def memory_peak_b(self) -> int | None:
        """The most that was ever charged, file pages and all."""
        if self.memory is None:
            return None
        return _number(self.memory.path / ("memory.peak" if self.memory.version == 2 else "memory.max_usage_in_bytes"))

    def oom_kills(self) -> int | None:
        """How many processes the kernel has killed here for want of memory, since the group was made."""
        if self.memory is None:
            return None
        return kills_in(self.memory.path)


def kills_in(group: Path) -> int | None:
    """How many processes the kernel has killed in this group for want of memory, if it counts them."""
    kills = _entry(group / "memory.events", "oom_kill")
    return _entry(group / "memory.oom_control", "oom_kill") if kills is None else kills


def _find(controller: str | None, lines: list[str], mounts: list[str], root: Path) -> Group | None:
    """The version 1 group if that has the controller, else the unified one."""
    unified = None
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            return _place(controller, path, mounts, root)
        if not controllers:
            unified = path
    return None if unified is None else _place(None, unified, mounts, root)


def _place(controller: str | None, path: str, mounts: list[str], root: Path) -> Group | None:
    """Where the group is mounted; what a container sees of the hierarchy may start further down."""
    for line in mounts:
        left, _, right = line.partition(" - ")
        fields, (kind, _, options) = left.split(), right.split(" ", 2)
        if kind == "cgroup2" if controller is None else controller in options.split(","):
            top = root / _unescaped(fields[4]).lstrip("/")
            below = _below(path, _unescaped(fields[3]))
            found = top / below if (top / below).is_dir() else top
            return Group(found, top, 2 if controller is None else 1)
    return None


def _below(path: str, mounted: str) -> str:
    pure = PurePosixPath(path)
    return str(pure.relative_to(mounted)) if pure.is_relative_to(mounted) and ".." not in pure.parts else ""


def _unescaped(field: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field)


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _number(path: Path) -> int | None:
    text = _text(path).strip()
    return int(text) if text.lstrip("-").isdigit() else None


def _entry(path: Path, name: str) -> int | None:
    for line in _text(path).splitlines():
        key, _, value = line.partition(" ")
        if key == name:
            return int(value)
    return None


def _quota_v2(path: Path) -> float | None:
    quota, _, period = _text(path / "cpu.max").partition(" ")
    return int(quota) / int(period) if quota.isdigit() else None


def _quota_v1(path: Path) -> float | None:
    quota, period = _number(path / "cpu.cfs_quota_us"), _number(path / "cpu.cfs_period_us")
    return quota / period if quota and period and quota > 0 else None
