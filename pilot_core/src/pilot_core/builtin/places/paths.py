"""Where a file lies below a storage endpoint: by scope, name and a hash of both, or more simply. Pure."""

from __future__ import annotations

from hashlib import md5
from typing import Final
from urllib.parse import quote, urlsplit

from pilot_core.sdk import Code, FileSpec, PilotError, Storage

OBJECTS: Final = "OS_"
"""What the kinds of object stores begin with."""
_LITERAL: Final = frozenset({"", "root", "roots", "xroot", "xroots", "gsiftp", "srm"})
"""Schemes whose paths stand in a URL as they are."""


def hashed(scope: str, lfn: str) -> str:
    """``user/alice/3f/a0/name``: the same wherever it is worked out."""
    digest = md5(f"{scope}:{lfn}".encode(), usedforsecurity=False).hexdigest()
    return "/".join((*filter(None, scope.split(".")), digest[:2], digest[2:4], lfn))


def path_of(file: FileSpec, storage: Storage) -> str:
    """The path of a file below the storage's beginnings; ``PilotError`` where only a catalogue knows it."""
    if storage.hashed:
        return hashed(file.scope, file.lfn)
    if storage.hashed is None:
        return f"{file.scope}/{file.lfn}" if file.scope else file.lfn
    if storage.kind.startswith(OBJECTS):
        return file.lfn
    told = f"{file.lfn}: paths in {storage.name} do not follow from names, and no catalogue told this one"
    raise PilotError(Code.NONDETERMINISTICDDM, told)


def url_of(begin: str, path: str) -> str:
    """A beginning and a path below it, encoded where URLs of that scheme are."""
    scheme = urlsplit(begin).scheme if "://" in begin else ""
    return f"{begin.rstrip('/')}/{path if scheme in _LITERAL else quote(path)}"
