"""The container "charliecloud"."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from pilot_core.builtin.containers.runtime import Runtime
from pilot_core.sdk import Code, Command, Mount, PilotError

WORKDIR = Path("/srv")


class Charliecloud(Runtime):
    """Images as directories and SquashFS files.

    Mount points must be in the image. So the job's directory is ``/srv``, which every usual image has, and paths that
    ``container.mounts`` names must be there.
    """

    name = "charliecloud"
    program = "ch-run"
    lacks = "see processes of the pilot's user with their environments, end them, and write to what is shown to it"

    def inside(self, workdir: Path) -> Path:
        """The one mount point that can be relied on."""
        return WORKDIR

    def wrap(self, command: Command, image: str, workdir: Path, mounts: Sequence[Mount]) -> Command:
        """As of any runtime, where it can do what is asked for."""
        if image and not image.startswith("/"):
            told = f"{self.name} opens directories and SquashFS files by their absolute paths, not {image!r}"
            raise PilotError(Code.IMAGENOTFOUND, told, image=image)
        if self.asked.network == "none":
            told = f"{self.name} cannot take the network away, as container.network asks for"
            raise PilotError(Code.QUEUENOTSETUPFORCONTAINERS, told)
        return super().wrap(command, image, workdir, mounts)

    def words(self, image: str, workdir: Path, shown: Sequence[Mount]) -> Iterator[str]:
        """Without the node's ``/home`` and ``/tmp``, and without any variable of the runtime's."""
        yield from (self.program, *self.asked.arguments, "--no-passwd", "--private-tmp", "--unset-env=*")
        for each in shown:
            yield f"--bind={each.source}:{each.target}"
        yield from (f"--cd={WORKDIR}", image, "--")

    def variables(self) -> dict[str, str]:
        """It does not start without the name of a user."""
        return {"USER": str(os.getuid())}
