"""What the end of a payload tells: exit status, signals, memory, core files, and the line that says why."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from signal import SIGKILL, SIGSEGV, SIGTERM, Signals
from typing import BinaryIO, Final

from pilot_core.errors import Code, PilotError
from pilot_core.io.cgroup import Groups
from pilot_core.io.files import free_bytes
from pilot_core.io.inside import Inside
from pilot_core.model.job import Job
from pilot_core.model.payload import Outcome
from pilot_core.redact import Redactor

LOOKED_AT_B: Final = 65536
SHOWN: Final = 300
LEAST_FREE_B: Final = 1 << 20
COMPLAINTS: Final = (
    ("payload.stdout", re.compile(r"\bCRITICAL\b")),
    ("payload.stderr", re.compile(r"command not found")),
    ("payload.stderr", re.compile(r"error\b|\b(?:fatal|critical)\b", re.IGNORECASE)),
    ("payload.stderr", re.compile(r"\bwarning\b", re.IGNORECASE)),
    ("payload.stdout", re.compile(r"\b(?:ERROR|FATAL)\b")),
)
"""Where a payload says what went wrong, and how; the first row that a line fits wins. Each takes linear time."""
CORE_FILE: Final = re.compile(r"core(?:\.([0-9]+))?")


def memory_kills(groups: Groups) -> dict[str, object]:
    """How often the kernel has killed for want of memory where the payload will run, to be compared afterwards."""
    kills = groups.oom_kills()
    return {} if kills is None or groups.memory is None else {"group": str(groups.memory.path), "kills": kills}


def memory_problem(before: object, groups: Groups) -> Iterator[PilotError]:
    """Tell of kills for want of memory since then; counts of another group say nothing."""
    now = memory_kills(groups)
    if not isinstance(before, Mapping) or before.get("group") != now.get("group") or not now:
        return
    kills = int(str(now["kills"])) - int(str(before.get("kills", now["kills"])))
    if kills > 0:
        yield PilotError(Code.PAYLOADOUTOFMEMORY, f"the kernel killed {kills} of its processes", kills=kills)


def exit_problem(job: Job, outcome: Outcome, said: str) -> Iterator[PilotError]:
    """Judge exit status and signal. A payload that the pilot had to end is not blamed for having been ended."""
    if outcome.clean or (job.errors and outcome.signal in (SIGTERM, SIGKILL)):
        return
    crashed = outcome.transform_code == 128 + SIGSEGV
    code = Code.PAYLOADSIGSEGV if crashed else Code.PAYLOADEXECUTIONFAILURE
    told = f"the payload {outcome}" if outcome.signal else f"the payload ended with {outcome}{_shell_signal(outcome)}"
    yield PilotError(code, f"{told}: {said}" if said else told, trf=outcome.transform_code)


def _shell_signal(outcome: Outcome) -> str:
    """Which signal a shell means by its exit status."""
    with suppress(ValueError):
        return f", a shell's word for {Signals((outcome.exit_code or 0) - 128).name}"
    return ""


def disk_problem(workdir: Path) -> Iterator[PilotError]:
    """Tell of a full disk beside a payload that failed: what it says then is rarely to the point."""
    with suppress(OSError):
        if (free_b := free_bytes(workdir)) < LEAST_FREE_B:
            yield PilotError(Code.NOLOCALSPACE, f"{free_b} B were free when the payload ended", free_b=free_b)


def core_problem(job: Job, outcome: Outcome, workdir: Path) -> Iterator[PilotError]:
    """Tell of core files, and remove them: they are large, and the log archive follows.

    After a clean end only the payload's own counts.
    """
    try:
        with Inside(workdir) as inside:
            for name in inside.names():
                found = CORE_FILE.fullmatch(name)
                if found and (not outcome.clean or found[1] == str(job.notes.get("pid"))):
                    size_b = inside.stat(name).st_size
                    inside.remove(name)
                    yield PilotError(Code.COREDUMP, f"{name} ({size_b} B) was left and is removed", size_b=size_b)
    except OSError:
        return


def complaint(workdir: Path, redactor: Redactor) -> str:
    """The line in which the payload most likely says what is wrong, else the last line of its complaints.

    Only the ends of what it wrote are looked at, however much that is.
    """
    lines = {name: _lines(workdir, name, redactor) for name in ("payload.stdout", "payload.stderr")}
    for name, pattern in COMPLAINTS:
        for line in lines[name]:
            if found := pattern.search(line):
                return line[max(found.start() - SHOWN // 2, 0) if len(line) > SHOWN else 0 :][:SHOWN]
    return lines["payload.stderr"][-1][:SHOWN] if lines["payload.stderr"] else ""


def _lines(workdir: Path, name: str, redactor: Redactor) -> list[str]:
    try:
        with Inside(workdir) as inside, inside.open_read(name) as file:
            text = _ends(file)
    except OSError:
        return []
    shown = ("".join(c if c.isprintable() else " " for c in line) for line in redactor.scrub(text).split("\n"))
    return [line.strip() for line in shown if line.strip()]


def _ends(file: BinaryIO) -> str:
    head = file.read(LOOKED_AT_B)
    begin = max(file.seek(0, 2) - LOOKED_AT_B, len(head))
    file.seek(begin)
    gap = b"\n" if begin > len(head) else b""
    return (head + gap + file.read(LOOKED_AT_B)).decode(errors="replace")
