"""For which Python and which machines a bundle is made: the words of a platform tag, and what follows from them."""

from __future__ import annotations

import os
import re
import sys
from typing import Final

from attrs import frozen

from pilot_core.cli.mistakes import Usage

LEGACY: Final = {"1": 5, "2010": 12, "2014": 17}
"""The first manylinux tags, and the minor version of the C library that each stands for."""
LINUX: Final = re.compile(r"manylinux(?P<legacy>1|2010|2014)_(?P<on>\w+)|(?P<kind>many|musl)linux_(\d+)_(\d+)_(\w+)")


@frozen
class Target:
    """A minor version of Python and a machine with a C library, of which any newer one will do."""

    python: str
    libc: str
    version: tuple[int, int]
    machine: str
    platform: str

    @classmethod
    def read(cls, python: str, platform: str) -> Target:
        """From ``3.12`` and a tag such as ``manylinux2014_x86_64``."""
        if not re.fullmatch(r"3\.\d{1,2}", python):
            raise Usage(f"--python {python}: not a version such as 3.12", "bundle")
        tag = LINUX.fullmatch(platform)
        if tag is None:
            known = "manylinux2014_x86_64, manylinux_2_28_aarch64, musllinux_1_2_x86_64"
            raise Usage(f"--platform {platform}: not a platform that a pilot runs on, such as {known}", "bundle")
        if tag["legacy"]:
            return cls(python, "glibc", (2, LEGACY[tag["legacy"]]), tag["on"], platform)
        major, minor, machine = tag.groups()[3:]
        libc = "musl" if tag["kind"] == "musl" else "glibc"
        return cls(python, libc, (int(major), int(minor)), machine, platform)

    def tags(self) -> list[str]:
        """Every platform tag whose wheels run there, the newest first: pip itself infers but a few of them."""
        major, newest = self.version
        kind = "musllinux" if self.libc == "musl" else "manylinux"
        tags = [f"{kind}_{major}_{minor}_{self.machine}" for minor in range(newest, -1, -1)]
        if self.libc == "glibc":
            old = sorted(LEGACY.items(), key=lambda each: -each[1])
            tags += [f"manylinux{name}_{self.machine}" for name, minor in old if minor <= newest]
        return tags

    def environment(self) -> dict[str, str]:
        """What the markers of requirements are evaluated with."""
        return {
            "implementation_name": "cpython",
            "implementation_version": f"{self.python}.0",
            "os_name": "posix",
            "platform_machine": self.machine,
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": "Linux",
            "platform_version": "",
            "python_full_version": f"{self.python}.0",
            "python_version": self.python,
            "sys_platform": "linux",
        }

    def as_plain(self) -> dict[str, object]:
        """For the manifest, whose reader on the node compares."""
        libc = [self.libc, *self.version]
        return {"python": self.python, "platform": self.platform, "machine": self.machine, "libc": libc}


def here() -> tuple[str, str]:
    """This Python, and a platform that nearly every machine like this one can run."""
    return f"3.{sys.version_info.minor}", f"manylinux2014_{os.uname().machine}"
