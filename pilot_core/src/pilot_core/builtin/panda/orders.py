"""Commands by which somebody who follows a job looks at it: five programs, inside the job's directory, without a shell.

They show its files and its processes, and nothing else of the node. Whoever may give such an order is known to the
server, and no further than that: so what an order may say is listed here, and everything else is refused.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from attrs import frozen

from pilot_core.builtin.panda.reading import SECRETS_FILE
from pilot_core.sdk import PROXY, Job

LIMIT_S: Final = 20.0
ENTRUSTED: Final = frozenset({SECRETS_FILE, PROXY})
KEPT_B: Final = 1 << 14
"""More than anybody is shown, so that a secret that is cut in two was whole when secrets were looked for."""
SAFE_ENVIRONMENT: Final[Mapping[str, str]] = {"PATH": "/usr/bin:/bin:/usr/local/bin", "LC_ALL": "C"}
_PLAIN: Final = re.compile(r"[\w./=:,+@%~ -]+")
_TAIL_OPTION: Final = re.compile(r"-[qvzs]*[nc]?\+?\d*[bkMG]?", re.ASCII)
_LS_OPTION: Final = re.compile(r"-(?:(?![LH])[A-Za-z0-9])+", re.ASCII)
_DU_OPTION: Final = re.compile(r"-(?:(?![LHDX])[A-Za-z0-9])+", re.ASCII)
_PS_WORDS: Final = {"ax": (), "aux": ("u",), "ux": ("u",)}
"""What the older way of ps asks for, and what of it is no choice among processes."""
_PS_OPTION: Final = re.compile(r"-[eflAa]+", re.ASCII)
_PS_COLUMNS: Final = re.compile(r"(?!.*env)[a-z_%]+(?:,[a-z_%]+)*", re.ASCII)
_PS_VALUES: Final = {"-p": re.compile(r"\d{1,9}(?:,\d{1,9})*", re.ASCII), "-o": _PS_COLUMNS}
_GDB: Final = re.compile(r"(?:--?batch )?(?:-p |--?pid[ =])(\d{1,9})(?: --?batch)?", re.ASCII)


class Refused(ValueError):
    """An order that is not carried out; the message says why."""


@frozen
class Bounds:
    """What may be looked at: a job's directory, and its processes."""

    workdir: Path
    pid: int | None = None
    """The payload's process, while it runs."""

    @classmethod
    def of(cls, job: Job, workdir: Path) -> Bounds:
        """What belongs to a job as it is now; the number of a process that has ended may be another's."""
        pid = str(job.notes.get("pid", ""))
        return cls(workdir, int(pid) if pid.isdecimal() and job.outcome is None else None)

    def pids(self) -> list[int]:
        """The processes that run now."""
        from pilot_core.sdk.processes import tree_of

        if self.pid is None:
            return []
        with tree_of(self.pid) as tree:
            return [member.pid for member in tree.sample().members]


Check = Callable[[Sequence[str], Bounds], Sequence[str]]


def carry_out(order: str, bounds: Bounds, limit_s: float = LIMIT_S) -> str:
    """What the command of an order printed, or why it was not run."""
    try:
        command = command_of(order, bounds)
    except Refused as why:
        return f"refused: {order[:200]}: {why}\n"
    return _run(command, bounds.workdir, limit_s)


def command_of(order: str, bounds: Bounds) -> list[str]:
    """The command that an order stands for; ``Refused`` if it stands for none that is allowed."""
    program, *words = order.split() or [""]
    if program not in PROGRAMS:
        raise Refused(f"only {', '.join(PROGRAMS)} are run")
    if not _PLAIN.fullmatch(order):
        raise Refused("only plain words are taken: no quotes, and nothing that a shell would act on")
    if (found := shutil.which(program, path=SAFE_ENVIRONMENT["PATH"])) is None:
        raise Refused(f"{program} is not installed on this node")
    return [found, *PROGRAMS[program](words, bounds)]


def _files(option: re.Pattern[str]) -> Check:
    """Arguments that are options of a kind, or lie inside the job's directory."""

    def check(words: Sequence[str], bounds: Bounds) -> Sequence[str]:
        workdir = bounds.workdir
        for word in words:
            if word.startswith("-"):
                if not option.fullmatch(word):
                    raise Refused(f"the option {word} is not taken")
            elif not _is_inside(workdir / word, workdir):
                raise Refused(f"{word} is not in the job's directory")
            elif ENTRUSTED & {Path(word).name, (workdir / word).resolve().name}:
                raise Refused(f"{word} is what the job's owner entrusted to it")
        return words

    return check


def _is_inside(path: Path, workdir: Path) -> bool:
    try:
        return path.resolve().is_relative_to(workdir.resolve())
    except (OSError, RuntimeError):
        return False


def _processes(words: Sequence[str], bounds: Bounds) -> Sequence[str]:
    """Arguments by which ps shows the job's processes, whichever are asked for, and never their environments.

    What it cannot read in one way of its two, it reads in the other. So each is of a closed list, and beside one of the
    older way no option is taken that means something else there.
    """
    older = not _PS_WORDS.keys().isdisjoint(words)
    pids, shape, following = [str(pid) for pid in bounds.pids()], list[str](), iter(words)
    for word in following:
        if word == "-o" or (word in ("-p", "-u") and not older):
            value = next(following, "")
            fits = _is_ps_value(word, value)
            shape += ("-o", value) if word == "-o" else ()
            pids = [pid for pid in pids if word != "-p" or pid in value.split(",")]
        else:
            fits = word in _PS_WORDS or (not older and bool(_PS_OPTION.fullmatch(word)))
            shape += _PS_WORDS.get(word) or [f"-{letter}" for letter in word if letter in "fl"]
        if not fits:
            raise Refused(f"{word} is not taken so, as it may show what processes have in their environment")
    if not pids:
        raise Refused("the job has no such process now")
    return [*shape, "-p", ",".join(pids)]


def _is_ps_value(option: str, value: str) -> bool:
    return _is_user(value) if option == "-u" else bool(_PS_VALUES[option].fullmatch(value))


def _is_user(name: str) -> bool:
    """Whether ps will take it for a user."""
    from pwd import getpwnam

    try:
        return (name.isascii() and name.isdecimal() and len(name) < 10) or bool(getpwnam(name))
    except KeyError:
        return False


def _stacks(words: Sequence[str], bounds: Bounds) -> Sequence[str]:
    """Arguments by which gdb prints the stacks of a process of the job, and does nothing else."""
    found = _GDB.fullmatch(" ".join(words))
    if found is None:
        raise Refused("only 'gdb -p NUMBER' is taken, and prints all stacks of that process")
    if int(found[1]) not in bounds.pids():
        raise Refused(f"{found[1]} is no process of the job; 'ps -f' shows which are")
    return ["-nx", "-batch", "-iex", "set auto-load no", "-ex", "thread apply all bt", "-p", found[1]]


PROGRAMS: Final[Mapping[str, Check]] = {
    "tail": _files(_TAIL_OPTION),
    "ls": _files(_LS_OPTION),
    "ps": _processes,
    "du": _files(_DU_OPTION),
    "gdb": _stacks,
}
"""For each program what checks its arguments."""


def _run(command: Sequence[str], workdir: Path, limit_s: float) -> str:
    """The end of what a command prints; one that takes too long is ended."""
    try:
        process = subprocess.Popen(
            command,
            cwd=workdir,
            env=SAFE_ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        return f"{command[0]}: {error.strerror}\n"
    late = threading.Event()

    def end() -> None:
        late.set()
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)

    timer = threading.Timer(limit_s, end)
    timer.start()
    with process:
        printed = _end_of(process)
    timer.cancel()
    if late.is_set():
        return f"{printed}\nended after {limit_s:g} s\n"
    return printed or f"nothing was printed, exit status {process.returncode}\n"


def _end_of(process: subprocess.Popen[bytes]) -> str:
    kept = b""
    assert process.stdout is not None
    while block := process.stdout.read1(KEPT_B):  # type: ignore[attr-defined]
        kept = (kept + block)[-KEPT_B:]
    return kept.decode(errors="replace")
