"""A control group of the job's own, in each hierarchy in which the pilot found that it may have one."""

from __future__ import annotations

import contextlib
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Message = dict[str, Any]

PROCS = "cgroup.procs"


class Group:
    """What is started goes there before it runs, by way of the one that starts it, and comes to its end as one."""

    def __init__(self) -> None:
        self.places: list[Message] = []
        self.problem = ""
        self.astray = False

    def make(self, places: list[Message]) -> None:
        """Make it wherever it is not there yet; what is in the way is a problem, and keeps nothing from running."""
        for place in places:
            if place not in self.places:
                with self.telling():
                    os.mkdir(place["path"])
                    self.places.append(place)
                    for name, value in place["set"].items():
                        write(f"{place['path']}/{name}", value)

    def enter(self, after: contextlib.ExitStack) -> None:
        """Be there for a moment: what is started is born there."""
        for place in self.places:
            with self.telling():
                write(f"{place['path']}/{PROCS}", "0")
                after.callback(self.come_back, place["home"])

    def come_back(self, home: str) -> None:
        with self.telling():
            self.astray = True
            write(f"{home}/{PROCS}", "0")
            self.astray = False

    @contextlib.contextmanager
    def telling(self) -> Any:
        try:
            yield
        except OSError as error:
            self.problem = f"no whole control group of its own: {error.filename}: {error.strerror}"

    def kill(self) -> None:
        """Kill all who are there at once, or freeze them, where the kernel does that; not if whoever asks is there."""
        for place in [] if self.astray else self.places:
            for name in ("cgroup.kill", "cgroup.freeze"):
                with contextlib.suppress(OSError):
                    write(f"{place['path']}/{name}", "1")
                    break

    def remove(self) -> None:
        for place in self.places:
            remove(place["path"])


def write(path: str, text: str) -> None:
    """Into a file that is there."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    except OSError as error:
        error.filename = path
        raise
    finally:
        os.close(fd)


def remove(path: str) -> None:
    """With what a payload made below it; a group in which something still ends stays."""
    with contextlib.suppress(OSError):
        for folder, _, _ in os.walk(path, topdown=False):
            os.rmdir(folder)
