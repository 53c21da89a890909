"""A process that sees the node as it is, but for some paths: they are covered in a mount namespace of its own.

An ordinary user gets that by a user namespace as well. From there nothing can be read of processes outside, and covers
can be lifted in no further namespace. Root needs none, and gives up instead what it could look around the covers by.

As a program it tries whether it may cover the folder that it is told.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import stat
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

NEW_MOUNTS, NEW_USER = 0x20000, 0x10000000
READ_ONLY, REMOUNT, BIND, ALL_BELOW, FOLLOWING = 1, 32, 4096, 16384, 1 << 19
HARMLESS = 2 | 4 | 8  # no set-user-ID, no devices, no programs
DROP_FROM_BOUNDING_SET = 24
# DAC_READ_SEARCH, SYS_MODULE, SYS_RAWIO, SYS_PTRACE, SYS_ADMIN, MKNOD, PERFMON, BPF
LOOKS_AROUND = (2, 16, 17, 19, 21, 27, 38, 39)


@functools.cache
def libc() -> ctypes.CDLL:
    """The C library. A keeper that has it before it forks gives it to every fork."""
    return ctypes.CDLL(None, use_errno=True)


def hide(folder: str, paths: Sequence[str]) -> None:
    """Cover this folder, and these paths, for this process and all that it will ever be and start."""
    enter()
    mount(None, "/", None, ALL_BELOW | FOLLOWING)
    mount("tmpfs", folder, "tmpfs", HARMLESS, "mode=700,size=64k")
    no_file, no_folder = os.path.join(folder, "file"), os.path.join(folder, "folder")
    os.close(os.open(no_file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0))
    os.mkdir(no_folder, 0)
    for path in paths:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            mount(no_folder if stat.S_ISDIR(os.stat(path).st_mode) else no_file, path, None, BIND)
    os.chmod(folder, 0)
    mount(None, folder, None, REMOUNT | READ_ONLY | HARMLESS, "size=64k")
    if not os.geteuid():
        for capability in LOOKS_AROUND:
            libc().prctl(DROP_FROM_BOUNDING_SET, capability, 0, 0, 0)


def enter() -> None:
    """New namespaces; a user's knows this user and this group."""
    user, group = os.geteuid(), os.getegid()
    check(libc().unshare(NEW_MOUNTS | (NEW_USER if user else 0)), "a namespace of its own")
    if user:
        for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)


def mount(source: str | None, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    words = [None if word is None else os.fsencode(word) for word in (source, target, kind)]
    more = None if options is None else options.encode()
    check(libc().mount(*words, ctypes.c_ulong(flags), more), f"a cover over {target}")


def check(result: int, what: str) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


if __name__ == "__main__":
    try:
        hide(sys.argv[1], ())
    except OSError as error:
        sys.exit(error.strerror)
