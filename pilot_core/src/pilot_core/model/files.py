"""Files of a job: what was asked for, where copies lie, what was moved."""

from __future__ import annotations

import re
from typing import Self

from attrs import field, frozen

_HEX = re.compile(r"[0-9a-f]+")
_KINDS = {"adler32": 8, "md5": 32, "sha256": 64, "crc32c": 8}
_PREFIXES = {"ad": "adler32", "md": "md5"}


@frozen
class Checksum:
    """A digest and how it was made; adler32 always has eight digits, as some tools drop leading zeros."""

    kind: str
    value: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``ad:1a2b``, ``md5:…``, ``sha256:…`` or a bare digest told by its length."""
        prefix, colon, digits = text.strip().lower().rpartition(":")
        kind = _PREFIXES.get(prefix, prefix) if colon else ("md5" if len(digits) == 32 else "adler32")
        length = _KINDS.get(kind)
        if length is None:
            raise ValueError(f"checksum {text!r}: {kind!r} is not one of {', '.join(_KINDS)}")
        if not _HEX.fullmatch(digits) or len(digits) > length or (len(digits) < length and length != 8):
            raise ValueError(f"checksum {text!r}: {kind} has {length} hexadecimal digits")
        return cls(kind, digits.zfill(length))

    def __str__(self) -> str:
        return f"{self.kind}:{self.value}"


@frozen
class Replica:
    """One place where a file lies or is to be put; the first in a list is tried first."""

    url: str
    endpoint: str = ""


@frozen(kw_only=True)
class FileSpec:
    """An input, an output or the log: its logical name and what the job says of it."""

    lfn: str
    scope: str = ""
    guid: str = ""
    dataset: str = ""
    endpoint: str = ""
    size_b: int | None = None
    checksum: Checksum | None = None
    replicas: tuple[Replica, ...] = ()
    optional: bool = field(default=False)
    """An output that may be missing without failing the job."""
    always: bool = field(default=False)
    """An output that is stored after a failure, too, if it is there."""
    replace: bool = field(default=False)
    """Whether it may take the place of another file of its name; else that is an error."""


@frozen(kw_only=True)
class Transfer:
    """One file to move: the local path inside the job directory and the candidates in order."""

    file: FileSpec
    path: str
    candidates: tuple[Replica, ...]


@frozen(kw_only=True)
class Receipt:
    """A file that was moved and verified: what, where to, by which tool, and how long it took."""

    lfn: str
    direction: str
    url: str
    tool: str
    size_b: int
    checksum: Checksum | None = None
    endpoint: str = ""
    guid: str = ""
    took_s: float = 0.0
