"""What there is on this node: processors, memory, disk, limits, GPUs, programs. Looked up when asked for, then kept.

Programs are asked where files do not tell; one that hangs is left after a few seconds, and nothing is known then.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

from attrs import asdict, define, evolve, field, frozen

from pilot_core.io.cgroup import Groups
from pilot_core.io.node_cpu import Cpu, nominal_mhz, read_clock_mhz, read_cpuinfo, read_lscpu, read_topology
from pilot_core.io.node_gpu import AMD, NVIDIA, Gpu, read_amd, read_nvidia

if TYPE_CHECKING:
    import subprocess

PROGRAM_S: Final = 10.0
VERSION_S: Final = 5.0
KILLED_S: Final = 1.0
KEPT: Final = ("PATH", "HOME", "LD_LIBRARY_PATH", "XDG_RUNTIME_DIR")
NETWORK: Final = re.compile(
    r"9p|afs|beegfs|ceph|cifs|fuse\.(ceph|glusterfs|sshfs)|glusterfs|gpfs|lustre|nfs4?|orangefs|panfs|pvfs2|smb3|wekafs"
)
"""Kinds of file systems whose disks are elsewhere."""
_MEMORY: Final = re.compile(r"^MemTotal:\s+(\d+) kB", re.MULTILINE)
_VERSION: Final = re.compile(r"\d+(?:\.\d+)+(?:[-+~][\w.+~-]*)?")
_OCTAL: Final = re.compile(r"\\([0-7]{3})")


@frozen(kw_only=True)
class Program:
    """A program that was found, and what it calls its version."""

    name: str
    path: str
    version: str = ""


@define(eq=False, slots=False)
class NodeFacts:
    """The facts of this node, as jobs in ``workdir`` meet them; below another root than ``/`` a made tree is read."""

    workdir: Path
    root: Path = Path("/")
    machine: str = field(factory=lambda: os.uname().machine)
    environ: Mapping[str, str] = field(factory=lambda: os.environ, repr=False)

    @cached_property
    def cpu(self) -> Cpu:
        """All processors of the node, whatever of them this pilot may use."""
        known = read_cpuinfo(self._text("proc/cpuinfo"))
        if known.sockets is None or known.threads_per_core is None:
            known = known.or_else(read_topology(self.root))
        if clock_mhz := nominal_mhz(known.model) or read_clock_mhz(self.root):
            known = evolve(known, clock_mhz=clock_mhz)
        if not known.model or known.sockets is None:
            known = known.or_else(read_lscpu(self._asked(("lscpu",))))
        return known.or_else(Cpu(architecture=self.machine, logical=os.cpu_count()))

    @cached_property
    def memory_b(self) -> int | None:
        """All memory of the node, whatever of it this pilot may use."""
        if found := _MEMORY.search(self._text("proc/meminfo")):
            return int(found[1]) * 1024
        try:
            return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        except (OSError, ValueError):
            return None

    @cached_property
    def memory_limit_b(self) -> int | None:
        """What the control group grants of it."""
        return self._groups.memory_limit_b()

    @cached_property
    def cpu_limit(self) -> float | None:
        """How many cores' worth of time the control group grants."""
        return self._groups.cpu_limit()

    @cached_property
    def disk_b(self) -> int | None:
        """The size of the file system that jobs work in, if its disk is in this node."""
        if NETWORK.fullmatch(file_system_of(self.workdir.absolute(), self._text("proc/self/mountinfo"))):
            return None
        try:
            room = os.statvfs(self.workdir)
        except OSError:
            return None
        return room.f_blocks * room.f_frsize

    @cached_property
    def gpus(self) -> tuple[Gpu, ...]:
        """The GPUs that their makers' programs show."""
        version = self._text("opt/rocm/.info/version").strip().partition("-")[0]
        return (*read_nvidia(self._asked(NVIDIA)), *read_amd(self._asked(AMD), version))

    def programs(self, names: Iterable[str]) -> tuple[Program, ...]:
        """Those of these programs that are on the PATH, each asked for its version."""
        path = self.environ.get("PATH", os.defpath)
        found = ((name, shutil.which(name, path=path)) for name in names)
        return tuple(self._program(name, where) for name, where in found if where)

    def told(self) -> dict[str, object]:
        """What has been looked up so far, as JSON; asking looks up nothing."""
        known = {name: value for name, value in vars(self).items() if name in TOLD and value not in (None, ())}
        return {name: _plain(value) for name, value in known.items()}

    @cached_property
    def _groups(self) -> Groups:
        return Groups.of(root=self.root)

    def _program(self, name: str, where: str) -> Program:
        found = _VERSION.search(output_of((where, "--version"), self.environ, VERSION_S))
        return Program(name=name, path=where, version=found[0] if found else "")

    def _asked(self, argv: Sequence[str]) -> str:
        where = shutil.which(argv[0], path=self.environ.get("PATH", os.defpath))
        return output_of((where, *argv[1:]), self.environ, PROGRAM_S) if where else ""

    def _text(self, name: str) -> str:
        try:
            return (self.root / name).read_text(errors="replace")
        except OSError:
            return ""


TOLD: Final = ("cpu", "memory_b", "memory_limit_b", "cpu_limit", "disk_b", "gpus")


def file_system_of(path: Path, mounts: str) -> str:
    """The kind of file system that a path is in, from the text of a mountinfo; of two mounts in a place the later."""
    best, kind = -1, ""
    for line in mounts.splitlines():
        left, dash, right = line.partition(" - ")
        fields = left.split()
        if dash and len(fields) > 4:
            place = Path(_OCTAL.sub(lambda code: chr(int(code[1], 8)), fields[4]))
            if len(place.parts) >= best and path.is_relative_to(place):
                best, kind = len(place.parts), right.split(" ", 1)[0]
    return kind


def output_of(argv: Sequence[str], environ: Mapping[str, str], limit_s: float, keep: Iterable[str] = ()) -> str:
    """What a program prints within its time; nothing if it fails, hangs or cannot be started.

    Of the environment it gets what every program needs, and these.
    """
    import subprocess

    kept = {name: environ[name] for name in (*KEPT, *keep) if name in environ}
    try:
        process = subprocess.Popen(
            argv,
            env={**kept, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except OSError:
        return ""
    try:
        printed = process.communicate(timeout=limit_s)[0]
    except subprocess.TimeoutExpired:
        _end(process)
        return ""
    return printed if process.returncode == 0 else ""


def _end(process: subprocess.Popen[str]) -> None:
    """Kill a program and what it started; one that the kernel does not let go is not waited for."""
    import signal
    import subprocess

    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    with suppress(subprocess.TimeoutExpired):
        process.wait(KILLED_S)
    if process.stdout is not None:
        process.stdout.close()


def _plain(value: object) -> object:
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    if not isinstance(value, (Cpu, Gpu)):
        return value
    return {name: fact for name, fact in asdict(value).items() if fact not in (None, "")}
