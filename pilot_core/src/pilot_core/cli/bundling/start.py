"""Starts the pilot of the tree it lies in, if that is whole and fits this machine.

A program of its own, standard library only, run as ``python -I -S start.py start|verify ...``: nothing that is
installed on the node, in a home or in the environment is seen. At each start the sizes of all files are compared with
the manifest: that takes a millisecond or two and finds what a full disk or a broken copy leaves. The hashes need every
byte read, on a shared file system by each node at each start; they are compared by ``verify``, and by a start where
``PILOT_VERIFY=full`` asks for it.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

FORMAT = 1
PACKAGES = "lib/packages"
SHOWN = 20


class Unfit(Exception):
    """Why no pilot can be started: the tree is not whole, or not made for this machine."""


def main(root: str, what: str, words: list[str]) -> int:
    """Check the tree, then be the pilot or tell what was found."""
    depth, _ = os.environ.pop("PILOT_VERIFY", ""), os.environ.pop("PILOT_PYTHON", None)
    try:
        if depth not in {"", "full"}:
            raise Unfit(f"PILOT_VERIFY={depth}: the only word for it is full")
        manifest = read(root)
        if what == "verify":
            return verify(root, manifest)
        fit(manifest)
        whole(root, manifest, full=bool(depth))
    except Unfit as unfit:
        print(f"pilot: {unfit}", file=sys.stderr)
        return 1
    return start(root, words)


def read(root: str) -> dict[str, Any]:
    """The manifest, of a format that is known here."""
    try:
        with open(os.path.join(root, "manifest.json"), encoding="utf-8") as file:
            manifest: dict[str, Any] = json.load(file)
        known = manifest["format"] == FORMAT and {"files", "machine", "libc"} <= manifest.keys()
    except OSError as error:
        raise Unfit(broken(root, [f"manifest.json cannot be read: {error.strerror}"])) from None
    except (ValueError, TypeError, KeyError):
        known = False
    if not known:
        raise Unfit(broken(root, ["manifest.json is damaged"]))
    return manifest


def fit(manifest: dict[str, Any]) -> None:
    """Whether what was compiled for the tree runs on this machine."""
    machine, (libc, *needed) = os.uname().machine, manifest["libc"]
    if machine != manifest["machine"]:
        raise Unfit(f"this bundle is for machines of type {manifest['machine']}, and this one is {machine}")
    found = glibc()
    if (libc == "glibc") != bool(found) or (found and found < needed):
        has = f"glibc {found[0]}.{found[1]}" if found else "no glibc"
        raise Unfit(f"this bundle needs {libc} {needed[0]}.{needed[1]} or newer, and this machine has {has}")


def glibc() -> list[int]:
    """The version of the C library, if it is that one."""
    try:
        name, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
    except ValueError:
        return []
    return [int(part) for part in version.split(".")[:2]] if name == "glibc" else []


def whole(root: str, manifest: dict[str, Any], *, full: bool) -> None:
    """Whether the files are those of the manifest."""
    wrong = [*sizes(root, manifest["files"]), *(contents(root, manifest["files"]) if full else ())]
    if wrong:
        raise Unfit(broken(root, wrong))


def sizes(root: str, files: dict[str, list[Any]]) -> list[str]:
    """What is wrong, as far as a look at every file without opening it can say."""
    wrong = []
    for path, (size_b, _) in files.items():
        try:
            found_b = os.stat(f"{root}/{path}").st_size
        except OSError as error:
            wrong.append(f"{path} cannot be read: {error.strerror}")
        else:
            if found_b != size_b:
                wrong.append(f"{path} has {found_b} bytes instead of {size_b}")
    return wrong


def contents(root: str, files: dict[str, list[Any]]) -> list[str]:
    """The files of the right size that are not what they were, the manifest among them, and those that are too many."""
    wrong = [f"{path} was changed" for path, (size_b, sha256) in files.items() if not same(root, path, size_b, sha256)]
    if seal(root) != f"{digest(f'{root}/manifest.json')}  manifest.json\n":
        wrong.append("manifest.json is not the one of manifest.sha256")
    return wrong + [f"{path} does not belong to the bundle" for path in found(root) if path not in files]


def same(root: str, path: str, size_b: int, sha256: str) -> bool:
    """Whether a file has this hash; what ``sizes`` tells of is not told twice."""
    try:
        return os.stat(f"{root}/{path}").st_size != size_b or digest(f"{root}/{path}") == sha256
    except FileNotFoundError:
        return True
    except OSError:
        return False


def digest(path: str) -> str:
    """The SHA-256 of a file."""
    from hashlib import file_digest

    with open(path, "rb") as file:
        return file_digest(file, "sha256").hexdigest()


def seal(root: str) -> str:
    """What the manifest's hash was, and its name."""
    try:
        with open(f"{root}/manifest.sha256", encoding="ascii") as file:
            return file.read()
    except (OSError, ValueError):
        return ""


def found(root: str) -> list[str]:
    """What Python could import, less what it wrote itself."""
    paths = []
    for folder, folders, names in os.walk(f"{root}/{PACKAGES}"):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        paths += [os.path.relpath(f"{folder}/{name}", root) for name in sorted(names)]
    return paths


def broken(root: str, wrong: list[str]) -> str:
    """One sentence about a tree that is not whole."""
    more = f", and so on with {len(wrong) - 1} more" if len(wrong) > 1 else ""
    return f"the bundle in {root} is not whole: {wrong[0]}{more}; unpack it anew (bin/pilot-verify tells all)"


def verify(root: str, manifest: dict[str, Any]) -> int:
    """Compare all hashes and say what was found."""
    files = manifest["files"]
    wrong = [*sizes(root, files), *contents(root, files)]
    for line in wrong[:SHOWN]:
        print(line)
    if wrong:
        raise Unfit(broken(root, wrong))
    print(f"whole: {len(files)} files for Python {manifest['python']} on {manifest['platform']}")
    print(f"bundle {digest(f'{root}/manifest.json')}")
    return 0


def start(root: str, words: list[str]) -> int:
    """Be the pilot, with the standard library and this tree's packages and nothing else."""
    sys.path.append(f"{root}/{PACKAGES}")
    sys.argv[:] = [f"{root}/bin/pilot", *words]
    from pilot_core.cli.main import main as pilot

    return pilot()


if __name__ == "__main__":
    sys.exit(main(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), sys.argv[1], sys.argv[2:]))
