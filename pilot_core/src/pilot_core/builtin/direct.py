"""A slot on one node: the launcher "direct" and the resource "node"."""

from __future__ import annotations

from pathlib import Path

from pilot_core.sdk import Allotment, Command, Job, Launcher, Resource, Resources, SlotOptions
from pilot_core.sdk.io import as_slot, granted, time_left_s


class Direct(Launcher):
    """Starts a command as it is, on the pilot's own node."""

    name = "direct"

    def launch(self, command: Command, job: Job) -> Command:
        """The same command."""
        return command


class Node(Resource):
    """What the pilot may use of the node it runs on; the section ``slot`` overrules what the node tells."""

    name = "node"
    order = 100

    def allotted(self, workdir: Path) -> Allotment:
        """As granted by affinity, control group and the job's features; the disk that is free, the GPUs shown."""
        return granted(workdir)

    def slot(self, workdir: Path) -> Resources:
        """The same as cores, memory, disk and GPUs."""
        return as_slot(granted(workdir), self.settings.of(SlotOptions))

    def time_left_s(self) -> float | None:
        """Until the end that the features of machine and job tell."""
        return time_left_s()
