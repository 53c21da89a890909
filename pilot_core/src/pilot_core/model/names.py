"""Names that files of a job may have."""

from __future__ import annotations

LONGEST_NAME_B = 255


class UnsafeName(ValueError):
    """A name that no file of a job may have."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"{name!r} cannot name a file: {why}")
        self.name = name
        self.why = why


def safe_name(name: str) -> str:
    """``name``, if it may name a file in a job's directory, on any command line and in any archive."""
    if why := _unsafe(name):
        raise UnsafeName(name, why)
    return name


def _unsafe(name: str) -> str:
    if not name:
        return "it is empty"
    if name in (".", ".."):
        return "it means a directory"
    if "/" in name:
        return "it holds a slash"
    if not name.isprintable():
        return "it holds a control character or one that cannot be printed"
    if name[0] in "-~":
        return f"programs take a leading {name[0]!r} for something else"
    if len(name.encode()) > LONGEST_NAME_B:
        return f"it is longer than {LONGEST_NAME_B} bytes"
    return ""
