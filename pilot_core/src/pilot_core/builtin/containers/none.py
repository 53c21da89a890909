"""The container "none": the payload runs on the node itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pilot_core.sdk import BARE, Code, Command, Container, Mount, PilotError


class NoContainer(Container):
    """Runs a command as it is, and refuses one that wants an image."""

    name = "none"
    lacks = BARE

    def wrap(self, command: Command, image: str, workdir: Path, mounts: Sequence[Mount]) -> Command:
        """The same command, if no image is wanted."""
        if image:
            told = f"it wants the image {image!r}; payload.container names a runtime that can open it"
            raise PilotError(Code.QUEUENOTSETUPFORCONTAINERS, told, image=image)
        return command
