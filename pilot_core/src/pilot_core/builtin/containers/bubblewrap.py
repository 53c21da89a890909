"""The container "bubblewrap": around payloads without an image too, which then see the node's own system."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from pilot_core.builtin.containers.runtime import Runtime
from pilot_core.sdk import Code, Command, Connection, Mount, PilotError, Task

SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc", "/opt", "/cvmfs", "/run/systemd/resolve")
"""What a payload without an image sees of the node, as far as it is there."""
OVERLAID = ("/dev", "/proc", "/sys", "/tmp", "/run")  # noqa: S108 -- its own
"""What no image brings with it."""
GPUS = {
    "none": (),
    "nvidia": ("/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools", *(f"/dev/nvidia{n}" for n in range(16))),
    "amd": ("/dev/kfd", "/dev/dri"),
}
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Bubblewrap(Runtime):
    """Images as directories that hold a whole file system; or none."""

    name = "bubblewrap"
    program = "bwrap"
    reserved = ""
    brings_tmp = False
    shm_b: int | None = None

    @classmethod
    def probe(cls) -> str | None:
        """Whether the program is here, and may do its work."""
        if why := super().probe():
            return why
        tried = subprocess.run(
            [cls.program, "--unshare-user", "--unshare-pid", "--ro-bind", "/", "/", "--proc", "/proc", "/bin/true"],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
        if not tried.returncode:
            return None
        said = tried.stderr.strip()
        return f"it cannot make its namespaces ({said}): the node must allow user namespaces to ordinary users"

    def around(self, task: Task, name: str) -> Bubblewrap:
        """One that knows how much memory a job has."""
        made = Bubblewrap(self.settings)
        made.shm_b = self.asked.shm_b or task.job.needs.memory_b or task.queue.memory_b
        return made

    def wrap(self, command: Command, image: str, workdir: Path, mounts: Sequence[Mount]) -> Command:
        """As of any runtime; without an image what is shown is the node's own system."""
        if image and not os.path.isdir(image):
            told = f"{self.name} opens directories that hold a whole file system, and {image!r} is none here"
            raise PilotError(Code.IMAGENOTFOUND, told, image=image)
        return super().wrap(command, image or "/", workdir, mounts)

    def words(self, image: str, workdir: Path, shown: Sequence[Mount]) -> Iterator[str]:
        """Namespaces of its own, an empty file system, and in it only what is named; memory is for /dev/shm alone."""
        yield from (self.program, *self.asked.arguments, "--unshare-user", "--unshare-pid", "--unshare-ipc")
        yield from ("--unshare-uts", "--unshare-cgroup-try", "--die-with-parent", "--new-session", "--clearenv")
        yield from ("--unshare-net",) if self.asked.network == "none" else ()
        yield from ("--setenv", "PATH", PATH, "--cap-drop", "ALL")
        yield from _system(workdir) if image == "/" else _image(Path(image), [each.target for each in shown])
        yield from ("--proc", "/proc", "--dev", "/dev")
        yield from ("--size", str(self.shm_b)) if self.shm_b and _knows_sizes() else ()
        yield from ("--tmpfs", "/dev/shm")  # noqa: S108 -- its own
        for device in GPUS[self.asked.gpus]:
            yield from ("--dev-bind-try", device, device)
        for each in shown:
            yield from ("--bind" if each.writable else "--ro-bind", each.source, each.target)
        for path in self._hidden([*SYSTEM, *(each.target for each in shown)]):
            yield from ("--ro-bind", os.devnull, path)
        yield from ("--remount-ro", "/dev", "--remount-ro", "/", "--chdir", str(workdir), "--")

    def _hidden(self, shown: Sequence[str]) -> Iterator[str]:
        """The pilot's credentials, where they lie in what is shown."""
        own = self.settings.of(Connection)
        for path in filter(None, (own.token, own.token_key, own.proxy)):
            if path.exists() and any(path.is_relative_to(each) for each in shown):
                yield str(path)


@cache
def _knows_sizes() -> bool:
    """Whether the program is new enough to give a file system in memory a size."""
    return b"--size" in subprocess.run([Bubblewrap.program, "--help"], capture_output=True, check=False).stdout


def _system(workdir: Path) -> Iterator[str]:
    """The node's own, but nothing beside the job's directory, should that lie there."""
    for path in SYSTEM:
        if os.path.islink(path):
            yield from ("--symlink", os.readlink(path), path)
        else:
            yield from ("--ro-bind-try", path, path)
    if any(workdir.parent.is_relative_to(path) for path in SYSTEM):
        yield from ("--tmpfs", str(workdir.parent))


def _image(folder: Path, targets: Sequence[str], inside: str = "/") -> Iterator[str]:
    """Everything in an image; folders that something is shown in are opened up, as they can't be written to."""
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        path = os.path.join(inside, entry.name)
        if path in OVERLAID or path in targets:
            continue
        if entry.is_symlink():
            yield from ("--symlink", os.readlink(entry.path), path)
        elif any(target.startswith(f"{path}/") for target in targets):
            yield from _image(Path(entry.path), targets, path)
        else:
            yield from ("--ro-bind", entry.path, path)
