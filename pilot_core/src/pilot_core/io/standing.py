"""Where processes stand: their state, what they wait for in the kernel, how often they ran; and their stacks.

Whatever has vanished meanwhile, or is hidden from us, is left out.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from attrs import frozen

STATES: Final[Mapping[str, str]] = {
    "R": "runs",
    "S": "sleeps",
    "D": "waits uninterruptibly",
    "T": "is stopped",
    "t": "is traced",
    "Z": "is dead",
    "I": "idles",
}
GDB: Final = ("gdb", "-nx", "-batch", "-iex", "set auto-load no", "-iex", "set print frame-arguments none")
MOST_THREADS: Final = 64
MOST_B: Final = 100_000


@frozen(kw_only=True)
class Standing:
    """Where a process stands, and how often its threads, those that live, have gone to sleep by themselves."""

    pid: int
    name: str
    state: str
    waits_in: str = ""
    switches: int = 0

    def __str__(self) -> str:
        does = STATES.get(self.state, f"is in state {self.state}")
        return f"{self.name} {does}{f' in {self.waits_in}' if self.waits_in else ''}"


def standing_of(pid: int) -> Standing | None:
    """Where a process stands now; nothing if it is gone, or where there is no /proc."""
    told = _status(Path(f"/proc/{pid}/status"))
    if not told:
        return None
    threads = (_status(Path(f"/proc/{pid}/task/{thread}/status")) for thread in _threads(pid))
    waits_in = _text(Path(f"/proc/{pid}/wchan")).strip()
    return Standing(
        pid=pid,
        name=told.get("Name", "?"),
        state=told.get("State", "?")[:1],
        waits_in="" if waits_in == "0" else waits_in,
        switches=sum(int(thread.get("voluntary_ctxt_switches", 0)) for thread in threads),
    )


def in_words(standings: Iterable[Standing], most: int = 3) -> str:
    """How most of them stand: ``2 of sh sleeps in do_wait, cat waits uninterruptibly``."""
    counted = Counter(map(str, standings)).most_common()
    told = [f"{count} of {text}" if count > 1 else text for text, count in counted[:most]]
    return ", ".join([*told, *(["others"] if len(counted) > most else [])])


def write_stacks(pids: Sequence[int], limit_s: float, environ: Mapping[str, str]) -> Iterator[str]:
    """The stacks of processes, those of the first ones by a program if the time allows, by /proc otherwise."""
    until = time.monotonic() + limit_s
    for pid in pids:
        standing = standing_of(pid)
        if standing is not None:
            asked = _asked(pid, until - time.monotonic(), environ)
            yield f"== process {pid}: {standing}\n{asked or _told_by_kernel(pid)}\n"


def _asked(pid: int, left_s: float, environ: Mapping[str, str]) -> str:
    """What a program tells of a process; one that waits uninterruptibly would make the program hang too."""
    from pilot_core.io.node import output_of

    python = os.path.basename(_link(Path(f"/proc/{pid}/exe"))).startswith("python")
    programs = ((*GDB, "-ex", "thread apply all bt", "-p", str(pid)),)
    for argv in (("py-spy", "dump", "--pid", str(pid)), *programs) if python else programs:
        if left_s > 0 and (told := output_of(argv, environ, left_s)):
            return told[-MOST_B:]
    return ""


def _told_by_kernel(pid: int) -> str:
    """For each thread, where it waits in the kernel."""
    parts = []
    for thread in _threads(pid)[:MOST_THREADS]:
        place = Path(f"/proc/{pid}/task/{thread}")
        told = _status(place / "status")
        where = [f"{name}: {text}" for name in ("wchan", "syscall", "stack") if (text := _text(place / name).strip())]
        parts.append("\n".join([f"thread {thread} {told.get('Name', '?')}: {told.get('State', '?')}", *where]))
    return "\n".join(parts)


def _threads(pid: int) -> list[str]:
    try:
        return os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []


def _status(path: Path) -> dict[str, str]:
    pairs = (line.partition(":") for line in _text(path).splitlines())
    return {name: value.strip() for name, _, value in pairs}


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _link(path: Path) -> str:
    try:
        return str(path.readlink())
    except OSError:
        return ""
