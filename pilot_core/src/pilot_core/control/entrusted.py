"""What a job's owner entrusts to it: kept beside its directory, lent to its payload, gone before anything is packed."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pilot_core.io.inside import Inside
from pilot_core.model.names import safe_name
from pilot_core.spec.drivers import PROXY
from pilot_core.spec.work import Task

FOLDER: Final = "entrusted"
PROXY_VARIABLE: Final = "X509_USER_PROXY"
log = logging.getLogger(__name__)


def keep(control: Path, texts: Mapping[str, str]) -> None:
    """Keep these texts, by the names of their files, until the job is over."""
    folder = control / FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    _write(folder, {safe_name(name): text.encode() for name, text in texts.items()})


def lend(task: Task) -> dict[str, str]:
    """Put them into the job's directory; the variables by which its payload finds the one that it is to show."""
    lent = {path.name: path.read_bytes() for path in _kept(task.control)}
    if lent:
        _write(task.workdir, lent)
    return {PROXY_VARIABLE: str(task.workdir / PROXY)} if PROXY in lent else {}


def take_back(task: Task) -> None:
    """Take them out of the job's directory again, whatever the payload made of them."""
    names = names_lent(task.control)
    if names and task.workdir.is_dir():
        with Inside(task.workdir) as folder:
            for left in (left for name in names for left in folder.remove_tree(name)):
                log.warning("what was entrusted to job %s could not be removed: %s", task.job.id, left)


def names_lent(control: Path) -> tuple[str, ...]:
    """The names under which they lie in the job's directory."""
    return tuple(path.name for path in _kept(control))


def proxy_of(control: Path) -> Path | None:
    """The proxy that is shown to storage for this job in place of the pilot's own, if it has one."""
    path = control / FOLDER / PROXY
    return path if path.is_file() else None


def forget(control: Path) -> None:
    """Keep them no longer."""
    if (control / FOLDER).is_dir():
        with Inside(control) as folder:
            folder.remove_tree(FOLDER)


def _kept(control: Path) -> tuple[Path, ...]:
    folder = control / FOLDER
    return tuple(sorted(folder.iterdir())) if folder.is_dir() else ()


def _write(root: Path, texts: Mapping[str, bytes]) -> None:
    with Inside(root) as folder:
        for name, text in texts.items():
            with folder.open_write(name, 0o600) as file:
                file.write(text)
