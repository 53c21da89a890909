"""The container "podman"."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator, Sequence
from pathlib import Path

from pilot_core.builtin.containers.runtime import Runtime
from pilot_core.sdk import Mount

GPUS = {
    "none": (),
    "nvidia": ("--device", "nvidia.com/gpu=all"),
    "amd": ("--device", "/dev/kfd", "--device", "/dev/dri"),
}
FIRST = ("/bin/sh", "-c", '"$@"; exit $?', "first")
"""The first process of a pid namespace hears no signal that it does not handle, so the payload must not be that one."""


class Podman(Runtime):
    """Images by name, and as directories that hold a whole file system."""

    name = "podman"
    program = "podman"

    def words(self, image: str, workdir: Path, shown: Sequence[Mount]) -> Iterator[str]:
        """``run`` without privileges; the container is removed with its last process."""
        yield from (self.program, *self.asked.arguments, "run", "--rm", "--log-driver=none", "--read-only")
        yield from ("--cap-drop=all", "--security-opt=no-new-privileges", "--security-opt=label=disable")
        yield from _limits()
        yield from (f"--network={self.asked.network}", *self._user(), *GPUS[self.asked.gpus])
        for each in shown:
            access = "" if each.writable else ",ro"
            yield f"--mount=type=bind,src={each.source},dst={each.target}{access}"
        yield from ("--workdir", str(workdir), "--entrypoint=", *self._image(image), *FIRST)

    def _user(self) -> tuple[str, ...]:
        """Whoever is not root keeps their number, so that the payload's files are theirs."""
        return ("--userns=keep-id",) if os.geteuid() else ()

    def _image(self, image: str) -> tuple[str, ...]:
        if image.startswith("/"):
            return ("--rootfs", f"{image}:O")
        return (f"--pull={self.asked.pull}", image.removeprefix("docker://"))


def _limits() -> Iterator[str]:
    """The limits that hold here: what it would set by itself is higher, which root in a container may not do."""
    if os.geteuid():
        yield "--ulimit=host"
        return
    for name, kind, most in (("nofile", resource.RLIMIT_NOFILE, 2**20), ("nproc", resource.RLIMIT_NPROC, 2**15)):
        hard = resource.getrlimit(kind)[1]
        limit = most if hard == resource.RLIM_INFINITY else min(hard, most)
        yield f"--ulimit={name}={limit}:{limit}"
