"""A payload in a container: its first step there, which says that the runtime did its part, and what if it did not.

The first step reads the payload's environment, gives a sign, and becomes the payload. Who keeps the processes holds the
file of that sign, so the payload cannot take it back. So a runtime that fails is
never taken for a payload, whatever its exit code; nothing of a job's environment is the runtime's; and no value stands
on a command line.
"""

from __future__ import annotations

import logging
import re
import shlex
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from pilot_core.control.record import CONTAINED
from pilot_core.errors import Code, ErrorCode, PilotError
from pilot_core.io.inside import Inside
from pilot_core.io.process import MARK
from pilot_core.model.job import Job
from pilot_core.model.payload import Command, Outcome
from pilot_core.spec.drivers import Container, Mount

FOLDER: Final = ".pilot"
TMP: Final = "tmp"
"""A folder there, and its name in a container that brings none."""
FIRST_STEP: Final = '. "./$1.env" && echo >"./$1.started" && shift && exec "$@"'
"""For any POSIX shell, in the job's directory."""
NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
SHELLS_OWN: Final = frozenset({"UID", "EUID", "PPID", "BASHOPTS", "SHELLOPTS", "BASH_VERSINFO"})
CAUSES: Final[tuple[tuple[re.Pattern[str], ErrorCode], ...]] = tuple(
    (re.compile(text, re.IGNORECASE), code)
    for code, text in (
        (Code.SINGULARITYNOLOOPDEVICES, r"no more available loop devices"),
        (Code.SINGULARITYBINDPOINTFAILURE, r"not mounting requested bind point|can't (bind|find source path)"),
        (Code.SINGULARITYFAILEDUSERNAMESPACE, r"failed to create user namespace|unshare.*user namespace"),
        (Code.SINGULARITYNEWUSERNAMESPACE, r"no permissions to create|new namespace failed|can't init .*namespace"),
        (
            Code.IMAGENOTFOUND,
            r"could not open image|not known|no such image|manifest unknown|can't stat: ",
        ),
        (Code.SINGULARITYIMAGEMOUNTFAILURE, r"failed to mount image|while mounting|can't mount"),
        (Code.SINGULARITYRESOURCEUNAVAILABLE, r"resource temporarily unavailable|cannot fork"),
    )
)
"""What runtimes say, and what is wrong then; the first row that fits wins."""
log = logging.getLogger(__name__)


def contain(
    container: Container, name: str, command: Command, image: str, workdir: Path, runtime: Mapping[str, str]
) -> Command:
    """The command that runs this one in a container, with all that its first step needs in the job's directory."""
    seen = {word: str(container.inside(workdir)) + word.removeprefix(str(workdir)) for word in _own(command, workdir)}
    env = {variable: seen.get(value, value) for variable, value in command.env.items()}
    _write(workdir, name, env)
    argv = [seen.get(word, word) for word in command.argv]
    first = ("/bin/sh", "-c", FIRST_STEP, "first-step", f"{FOLDER}/{name}", *argv)
    marked = {**runtime, **({MARK: env[MARK]} if MARK in env else {})}
    tmp = Mount(source=str(workdir / FOLDER / TMP), target=f"/{TMP}", writable=True)
    mounts = () if container.brings_tmp else (tmp,)
    return container.wrap(Command(*first, env=marked), image, workdir, mounts)


def _own(command: Command, workdir: Path) -> set[str]:
    """The words and values that are paths in the job's directory."""
    texts = {*command.argv, *command.env.values()}
    return {text for text in texts if text == str(workdir) or text.startswith(f"{workdir}/")}


def _write(workdir: Path, name: str, env: Mapping[str, str]) -> None:
    lines = [f"export {variable}={shlex.quote(value)}\n" for variable, value in env.items() if _is_plain(variable)]
    with Inside(workdir) as folder:
        folder.makedirs(f"{FOLDER}/{TMP}", 0o700)
        with folder.open_write(f"{FOLDER}/{name}.env", 0o600) as file:
            file.write("".join(lines).encode(errors="surrogateescape"))
        folder.open_write(f"{FOLDER}/{name}.started", 0o600).close()


def _is_plain(variable: str) -> bool:
    if NAME.fullmatch(variable) and variable not in SHELLS_OWN:
        return True
    log.warning("the payload does not get $%s: a shell in the container cannot set it", variable)
    return False


def sign_of(name: str, workdir: Path) -> Path:
    """The file that the first step of this name writes to."""
    return workdir / FOLDER / f"{name}.started"


def clear(job: Job, workdir: Path) -> None:
    """Take what belongs to the first steps out of the job's directory, should the payload have left anything of it."""
    with suppress(FileNotFoundError), Inside(workdir) as folder:
        for left in folder.remove_tree(FOLDER):
            log.warning("job %s: %s", job.id, left)


def start_problem(job: Job, outcome: Outcome, said: str) -> PilotError:
    """What kept a runtime from starting the payload, in its own words."""
    code = next((code for pattern, code in CAUSES if pattern.search(said)), Code.SINGULARITYGENERALFAILURE)
    told = f"the container runtime did not start the payload ({outcome})"
    return PilotError(code, f"{told}: {said}" if said else told, runtime=str(job.notes[CONTAINED]))
