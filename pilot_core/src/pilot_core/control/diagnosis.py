"""What the end of a payload tells: exit status, signals, memory, core files, and the line that says why."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path
from signal import SIGKILL, SIGSEGV, SIGTERM, Signals
from typing import TYPE_CHECKING, Final

from pilot_core.control.said import STDERR, Line, Said
from pilot_core.errors import Code, ErrorCode, PilotError
from pilot_core.io.files import free_bytes
from pilot_core.io.inside import Inside
from pilot_core.model.job import Job
from pilot_core.model.payload import Outcome

if TYPE_CHECKING:
    from pilot_core.control.patterns import Pattern

SHOWN: Final = 300
LEAST_FREE_B: Final = 1 << 20
ERROR: Final = re.compile(
    r"(?<!\b0 )(?<!\bno )(?:(?<![^\W_])|(?-i:(?<=[a-z])(?=E)))(?:error|fatal|critical)\b", re.IGNORECASE
)
COMPLAINTS: Final = (
    ("payload.stdout", re.compile(r"\bCRITICAL\b")),
    ("payload.stderr", re.compile(r"command not found")),
    ("payload.stderr", ERROR),
    ("payload.stderr", re.compile(r"\bwarning\b", re.IGNORECASE)),
    ("payload.stdout", re.compile(r"\b(?:ERROR|FATAL)\b")),
)
"""Where a payload says what went wrong, and how; the first row that a line fits wins. Each takes linear time."""
CORE_FILE: Final = re.compile(r"core(?:\.(.+))?", re.DOTALL)
ET_CORE: Final = (b"\4\0", b"\0\4")
"""The kind of an ELF file that is the memory of a process, in either order of bytes."""


def exit_problem(
    job: Job, outcome: Outcome, said: Said, known: PilotError | None = None, patterns: Collection[Pattern] = ()
) -> Iterator[PilotError]:
    """Judge exit status and signal, by what is ``known`` or else by what the payload complained of.

    A payload that the pilot had to end is not blamed for having been ended.
    """
    if outcome.clean or (job.errors and outcome.transform_code in (128 + SIGTERM, 128 + SIGKILL)):
        return
    code = _code_of(outcome, known)
    told = f"the payload {outcome}" if outcome.signal else f"the payload ended with {outcome}{_shell_signal(outcome)}"
    if known is not None and _explains(known, code):
        yield PilotError(code, f"{told}: {known.detail}", **known.facts, trf=outcome.transform_code)
        return
    facts: dict[str, object] = {"trf": outcome.transform_code}
    if line := complaint(said, patterns):
        told = f"{told}: {line.text}"
        facts |= {"file": line.file, "line": line.number, "said": line.text}
    tail = said.tail(line.file if line else "")
    yield PilotError(code, told, **facts, **({"tail": tail} if tail else {}))


def _code_of(outcome: Outcome, known: PilotError | None) -> ErrorCode:
    if outcome.transform_code == 128 + SIGSEGV:
        return Code.PAYLOADSIGSEGV
    return known.code if known is not None and known.code.vague else Code.PAYLOADEXECUTIONFAILURE


def _explains(known: PilotError, code: ErrorCode) -> bool:
    """Whether what is known is what the exit status tells of, and no error of its own."""
    return known.code is code or (known.code.vague and (code.vague or known.facts.get("class") == "crash"))


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
    with suppress(OSError), Inside(workdir) as inside:
        for name in inside.names():
            found = CORE_FILE.fullmatch(name)
            if found and (not outcome.clean or found[1] == str(job.notes.get("pid"))) and _is_core(inside, name):
                size_b = inside.stat(name).st_size
                inside.remove(name)
                yield PilotError(Code.COREDUMP, f"{name} ({size_b} B) was left and is removed", size_b=size_b)


def _is_core(inside: Inside, name: str) -> bool:
    """Whether a plain file holds the memory of a process: anything may be named so."""
    with suppress(OSError), inside.open_read(name) as file:
        head = file.read(18)
        return head.startswith(b"\x7fELF") and head[16:] in ET_CORE
    return False


def complaint(said: Said, patterns: Collection[Pattern] = ()) -> Line | None:
    """The line in which the payload most likely says what is wrong, else the last line of its complaints."""
    from pilot_core.control.evidence import says_nothing

    for name, pattern in COMPLAINTS:
        for line in said.lines(name):
            if (found := pattern.search(line.text)) and not says_nothing(line.text, patterns):
                start = max(found.start() - SHOWN // 2, 0) if len(line.text) > SHOWN else 0
                return Line(name, line.number, line.text[start : start + SHOWN])
    last = next((line for line in reversed(said.lines(STDERR)) if not says_nothing(line.text, patterns)), None)
    return Line(STDERR, last.number, last.text[:SHOWN]) if last else None


def known_problem(said: Said, outcome: Outcome, patterns: Collection[Pattern]) -> PilotError | None:
    """The error that the most telling known failure stands for, with the end of the log that told it."""
    from pilot_core.control.evidence import recognise

    found = recognise(said, patterns, outcome)
    if not found or not found[0].believed:
        return None
    also = ", ".join(match.pattern.name for match in found[1:])
    return found[0].error(tail=said.tail(found[0].line.file), **({"also": also} if also else {}))
