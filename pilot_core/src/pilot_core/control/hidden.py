"""What a payload does not see, though it runs on the node as the pilot's user: files with credentials above all.

What may be replaced meanwhile is covered by its folder where that is possible: a file put in the place of a covered one
is not covered.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from attrs import frozen

from pilot_core.config.layers import Settings
from pilot_core.config.schema import Connection, PayloadOptions
from pilot_core.control.checks import CONTROL
from pilot_core.io.credentials import find_credentials
from pilot_core.model.job import Job
from pilot_core.redact import CREDENTIAL

HIDE: Final = "hide"
COVERED: Final = (
    "change whatever the pilot's user may, end all processes of that user, and ask services of the node in its name"
)
"""What a payload can still do that does not see them."""


@frozen(eq=False)
class Hidden:
    """What is hidden from the processes of any job of this pilot."""

    own: Path
    """The pilot's control directory."""
    settings: Settings
    home: Path
    """Where a dispatcher of the same user may live."""

    def of(self, job: Job, workdir: Path, env: Mapping[str, str]) -> tuple[str, ...]:
        """The paths to cover for a process with this environment, the first a folder."""
        meant = {Path(value) for name, value in env.items() if job.environment.get(name) != value}
        files = [path for path in self._credentials() if path not in meant]
        named = (*self._of_others(workdir), self.home, *self.settings.of(PayloadOptions).hidden, *_by_folder(files))
        return tuple(dict.fromkeys((str(self.own), *map(str, _covers(named, Path(os.path.realpath(workdir)))))))

    def _of_others(self, workdir: Path) -> Iterator[Path]:
        """The directories of other jobs that are not over, where what was entrusted to them may lie."""
        root = self.own.parent
        names = set(os.listdir(root)) - {self.own.name}
        for job in names.intersection(name.removesuffix(CONTROL) for name in names if name.endswith(CONTROL)):
            if root / job != workdir:
                yield from (root / (job + CONTROL), root / job)

    def _credentials(self) -> Iterator[Path]:
        """The files that options name, and those that are found without."""
        told = self.settings.of(Connection)
        found = find_credentials(told)
        yield from filter(None, (told.join, found.token, found.token_key, found.proxy, found.renewed))
        for path, sourced in self.settings.sources.items():
            if CREDENTIAL.search(path) or path.endswith("proxy"):
                values = sourced.value.values() if isinstance(sourced.value, Mapping) else (sourced.value,)
                yield from (value for value in values if isinstance(value, Path))


def _by_folder(files: Iterable[Path]) -> Iterator[Path]:
    """The home of a dispatcher that a file belongs to, or its folder where nothing else is in it, or else the file."""
    known = {Path(os.path.realpath(path)) for path in files}
    for path in known:
        homes = [folder for folder in (path.parent, path.parent.parent) if os.path.isfile(folder / "tokens/run")]
        try:
            alone = known.issuperset(path.parent.iterdir())
        except OSError:
            alone = False
        yield homes[0] if homes else path.parent if alone else path


def _covers(paths: Iterable[Path], workdir: Path) -> Iterator[Path]:
    """What can be covered without covering the job's directory: of folders above it, all else that is in them."""
    for path in map(Path, map(os.path.realpath, paths)):
        if path.is_relative_to(workdir) or not os.path.exists(path):
            continue
        if not workdir.is_relative_to(path):
            yield path
        elif os.access(path, os.R_OK):
            yield from _covers(sorted(path.iterdir()), workdir)
