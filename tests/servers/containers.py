"""Container runtimes of this machine, and a small image made of what is on it: a static shell and its tools."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from attrs import frozen

from pilot_core.builtin.containers.apptainer import Apptainer
from pilot_core.builtin.containers.bubblewrap import Bubblewrap
from pilot_core.builtin.containers.charliecloud import Charliecloud
from pilot_core.builtin.containers.podman import Podman

FOLDERS = ("bin", "dev", "etc", "proc", "root", "run", "srv", "sys", "tmp", "usr/bin", "var/tmp")
SHELL = "/usr/bin/busybox"
TOOLS = ("cat", "env", "grep", "id", "kill", "ls", "rm", "setsid", "sh", "sleep", "true")
RUNTIMES = {each.name: each for each in (Apptainer, Bubblewrap, Charliecloud, Podman)}


@frozen
class Image:
    """A directory that holds a whole file system, and what a pilot is told to use it."""

    path: Path
    short: Path
    """Where podman keeps its own things, whose paths may have 50 characters."""

    def settings(self, runtime: str) -> list[str]:
        """What a pilot needs to know to use a runtime on a machine without systemd."""
        words = [f"payload.container={runtime}"]
        if runtime == "podman":
            places = [word for name in ("root", "runroot", "tmpdir") for word in (f"--{name}", str(self.short / name))]
            words.append(f"container.arguments={','.join(places)},--cgroup-manager,cgroupfs,--runtime,runc")
        return words


def lacks(runtime: str) -> str:
    """What this machine has not that a runtime needs."""
    why = RUNTIMES[runtime].probe()
    return f"{why}: `python3 tests/servers/install.py` installs it" if why else ""


def let_go(folder: Path) -> None:
    """Unmount what a runtime mounted below its own folder, or it could not be removed."""
    mounted = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for place in reversed([each for each in mounted if Path(each).is_relative_to(folder)]):
        subprocess.run(["umount", place], check=True)


def make_image(root: Path, short: Path) -> Image:
    """Make it; some tens of milliseconds."""
    for folder in FOLDERS:
        (root / folder).mkdir(parents=True)
    shutil.copy(SHELL, root / "bin/busybox")
    for tool in TOOLS:
        (root / "bin" / tool).symlink_to("busybox")
    (root / "etc/passwd").write_text(f"payload:x:{os.getuid()}:{os.getgid()}::/:/bin/sh\n")
    return Image(root, short)
