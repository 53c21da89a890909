"""Files that stand in for a token or a proxy whose own file the pilot must leave alone.

Sites hand credentials out as links, in directories of others, or mounted one by one. What is renewed for such a file is
kept elsewhere, and counts as long as the file itself is what it was then: whoever puts another one there is heard.
"""

from __future__ import annotations

import os
from hashlib import blake2b
from pathlib import Path

from pilot_core.errors import Code, PilotError
from pilot_core.io.files import write_atomic


def in_use(path: Path, folder: Path | None) -> Path:
    """The file that counts now: what stands in for this one, or else itself."""
    if folder is None:
        return path
    try:
        standin = folder / _name(path)
        standin.stat()
    except OSError:
        return path
    return standin


def replace(path: Path, content: str, folder: Path | None) -> None:
    """Put content where it will be read from: into the file itself, or into ``folder`` if that must or can not be.

    The target of a link is somebody else's file. Raises ``OSError``, or ``PilotError`` for a link without a ``folder``.
    """
    if not path.is_symlink():
        try:
            write_atomic(path, content)
        except OSError:
            if folder is None:
                raise
        else:
            return
    elif folder is None:
        told = f"{path} is a link, and what it leads to is not replaced; connection.renewed_dir names another place"
        raise PilotError(Code.NOPROXY, told)
    _keep(path, content, folder)


def _keep(path: Path, content: str, folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    name = _name(path)
    write_atomic(folder / name, content)
    for other in folder.glob(f"{_mark(path)}-*"):
        if other.name != name:
            other.unlink(missing_ok=True)


def _name(path: Path) -> str:
    about = os.stat(path)
    return f"{_mark(path)}-{about.st_mtime_ns:x}-{about.st_size:x}"


def _mark(path: Path) -> str:
    return blake2b(os.fsencode(path.absolute()), digest_size=12).hexdigest()
