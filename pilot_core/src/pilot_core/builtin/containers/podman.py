"""The container "podman"."""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from pilot_core.builtin.containers.runtime import Runtime
from pilot_core.sdk import Mount

GPUS = {
    "none": (),
    "nvidia": ("--device", "nvidia.com/gpu=all"),
    "amd": ("--device", "/dev/kfd", "--device", "/dev/dri"),
}
WITHOUT_GROUPS = ("crun", "krun")
"""Runtimes that can leave a container in the control group that it was started in, which is the job's."""
FIRST = ("/bin/sh", "-c", '"$@"; exit $?', "first")
"""The first process of a pid namespace hears no signal that it does not handle, so the payload must not be that one."""


class Podman(Runtime):
    """Images by name, and as directories that hold a whole file system."""

    name = "podman"
    program = "podman"

    def words(self, image: str, workdir: Path, shown: Sequence[Mount]) -> Iterator[str]:
        """``run`` without privileges; the container is removed with its last process."""
        yield from (self.program, "run", *self.asked.arguments, "--rm", "--log-driver=none", "--read-only")
        yield from ("--cap-drop=all", "--security-opt=no-new-privileges", "--security-opt=label=disable")
        yield from _limits()
        yield from (f"--network={self.asked.network}", *self._groups(), *self._user(), *GPUS[self.asked.gpus])
        for each in shown:
            access = "" if each.writable else ",ro"
            yield f"--mount=type=bind,src={each.source},dst={each.target}{access}"
        yield from ("--workdir", str(workdir), "--entrypoint=", *self._image(image), *FIRST)

    def _groups(self) -> tuple[str, ...]:
        """The control group that it is started in, if its runtime can run a container without another one."""
        own = any(word.startswith(("--cgroups", "--cgroup-parent")) for word in self.asked.arguments)
        if own or self._runtime() not in WITHOUT_GROUPS:
            return ()
        return ("--cgroups=disabled",)

    def _runtime(self) -> str:
        """What starts the container: the site's choice, else what podman takes where it is there."""
        words = iter(self.asked.arguments)
        for word in words:
            if word == "--runtime":
                return os.path.basename(next(words, ""))
            if word.startswith("--runtime="):
                return os.path.basename(word.partition("=")[2])
        return "crun" if shutil.which("crun") else "runc"

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
