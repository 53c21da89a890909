"""What the drivers of container runtimes share: the program, and what is shown beside image and work directory."""

from __future__ import annotations

import shutil
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from pilot_core.sdk import Code, Command, Container, ContainerOptions, Mount, PilotError, Settings


class Runtime(Container):
    """A container runtime that is a program on the node."""

    program: ClassVar[str]
    reserved: ClassVar[str] = ":,"
    """What no path may hold that stands on its command line."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.asked = settings.of(ContainerOptions)

    @classmethod
    def probe(cls) -> str | None:
        """Whether the program is here."""
        if shutil.which(cls.program):
            return None
        return f"no program {cls.program} is on PATH: install the runtime, or put its directory there"

    def wrap(self, command: Command, image: str, workdir: Path, mounts: Sequence[Mount]) -> Command:
        """The runtime's command line, or what stands against it."""
        if not image:
            told = f"{self.name} needs an image, and the job names none; payload.isolation names what needs none"
            raise PilotError(Code.QUEUENOTSETUPFORCONTAINERS, told)
        if image.startswith("-"):
            raise PilotError(Code.IMAGENOTFOUND, f"{image!r} can be the name of no image", image=image)
        shown = self.shown(workdir, mounts)
        if bad := [path for each in shown for path in (each.source, each.target) if self._is_unfit(path)]:
            told = f"{self.name} cannot show {bad[0]!r}: give an absolute path without {' or '.join(self.reserved)}"
            raise PilotError(Code.SINGULARITYBINDPOINTFAILURE, told)
        if wide := [each.source for each in shown if workdir.parent.is_relative_to(each.source)]:
            told = f"container.mounts shows {wide[0]!r}, and the pilot's own files are there: name what is needed of it"
            raise PilotError(Code.SINGULARITYBINDPOINTFAILURE, told)
        return Command(*self.words(image, workdir, shown), *command.argv, env={**self.variables(), **command.env})

    @abstractmethod
    def words(self, image: str, workdir: Path, shown: Sequence[Mount]) -> Iterator[str]:
        """All words before the command."""

    def variables(self) -> dict[str, str]:
        """Variables for the runtime itself, where it is not given others."""
        return {}

    def shown(self, workdir: Path, mounts: Sequence[Mount]) -> tuple[Mount, ...]:
        """Everything of the node that is shown, the job's directory last: nothing lies over it."""
        given = (*mounts, *map(read_mount, self.asked.mounts))
        each = (Mount(source=m.source, target=m.target or m.source, writable=m.writable) for m in given)
        return (*each, Mount(source=str(workdir), target=str(self.inside(workdir)), writable=True))

    def _is_unfit(self, path: str) -> bool:
        return not path.startswith("/") or any(sign in path for sign in self.reserved)


def read_mount(text: str) -> Mount:
    """``PATH``, ``PATH:PATH_INSIDE``, or either with ``:rw`` or ``:ro`` at its end."""
    plain = text.removesuffix(":rw").removesuffix(":ro")
    source, _, target = plain.partition(":")
    return Mount(source=source, target=target or source, writable=text.endswith(":rw"))
