"""The options of the copy tool "gfal", how it wants places written, and what its numbers mean."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from typing import Final

from attrs import frozen

from pilot_copytools._cli import Access
from pilot_copytools.xrootd.settings import XrootdOptions, limit_variables
from pilot_core.sdk import Moving, option

LONGEST_S: Final = 10800
SCHEMES: Final = ("davs", "dav", "https", "http", "root", "roots", "xroot", "gsiftp", "srm", "sftp")
NO_CHECKSUM: Final = frozenset({errno.EFAULT, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPROTONOSUPPORT})
"""What it answers where the storage tells no checksum of the kind."""

_VERBATIM: Final = frozenset({"root", "roots", "xroot"})


@frozen(kw_only=True)
class GfalOptions(Access):
    """How files come from and go to grid storage by gfal."""

    section = "gfal"

    bindings: bool = option(True, help="Use the Python bindings where they are installed, not the programs.")
    rename: bool = option(
        True, help="Whether the storage can rename; otherwise a file is put under its final name and removed if wrong."
    )


def spelled(url: str) -> str:
    """The URL as gfal wants it: it reads escapes in places of XRootD, where everybody else takes them as they stand."""
    if url.partition("://")[0] not in _VERBATIM:
        return url
    path, mark, query = url.partition("?")
    return f"{path.replace('%', '%25')}{mark}{query}"


def seconds(moving: Moving) -> int:
    """How long a call may take by its own word."""
    return LONGEST_S if moving.budget_s is None else max(int(moving.budget_s), 1)


def variables() -> Mapping[str, str]:
    """The limits of the library below it that waits the longest."""
    return limit_variables(XrootdOptions())
