"""Launcher direct, resource node (provisional)."""
from pathlib import Path
import os
from pilot_core.sdk import Command, Job, Launcher, Resource, Resources


class Direct(Launcher):
    name = "direct"

    def launch(self, command: Command, job: Job) -> Command:
        return command


class Node(Resource):
    name = "node"

    def slot(self, workdir: Path) -> Resources:
        return Resources(cores=len(os.sched_getaffinity(0)))
