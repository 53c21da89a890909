"""Files of a job: what was asked for, where copies lie, what was moved."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Self

from attrs import field, frozen

from pilot_core.errors import PilotError

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
    domain: str = ""
    """``lan`` or ``wan``, where that is known."""
    activity: str = ""
    """What it was chosen for, in the words of queue data."""
    signed: bool = False
    """Whether the query of the URL is a signature: a secret, which a tool is given and nobody is told."""
    direct: bool = False
    """Whether the site lets a payload read the file here; never done where the URL is signed."""
    tape: bool = False
    """Whether it lies on tape only, so that it is not there when it is asked for."""
    tools: tuple[str, ...] = ()
    """The copy tools that may be used here, the best first; none: any, as the site orders them."""
    size_b: int | None = None
    checksum: Checksum | None = None
    """What a catalogue says of the file, beside its size."""

    @property
    def shown(self) -> str:
        """The URL as anybody may see it."""
        return f"{self.url.partition('?')[0]}?***" if self.signed and "?" in self.url else self.url

    def hide(self, text: str) -> str:
        """A text about this place without what is secret of it."""
        secret = self.url.partition("?")[2] if self.signed else ""
        return text.replace(secret, "***") if secret else text


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
    direct: bool = field(default=False)
    """An input that the payload can read where it lies, over the network."""
    members: tuple[str, ...] = ()
    """For an output that is an archive of others: patterns of their names."""
    path: str = ""
    """Where it is in the job's directory, if not there under its logical name."""

    @property
    def local(self) -> str:
        """Its path in the job's directory."""
        return self.path or self.lfn


@frozen(kw_only=True)
class Checkpoint:
    """How a payload may save how far it has come: the archive of that, and when it is warned."""

    file: FileSpec
    warning_s: float = 300.0
    """So long before its time is over it is warned."""
    before: FileSpec | None = None
    """What the attempt before has saved, one of the job's inputs."""


def checkpoint_before(name: str) -> str:
    """What the archive of the attempt before is called, beside the one of this attempt."""
    return f"before.{name}"


@frozen(kw_only=True)
class Transfer:
    """One file to move: the local path inside the job directory and the candidates in order.

    ``error`` says why it cannot be moved, if that is known before.
    """

    file: FileSpec
    path: str
    candidates: tuple[Replica, ...]
    error: PilotError | None = None


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


@frozen(kw_only=True)
class Leaving:
    """An output that is ready to be stored, or on its way: as it was on the disk, and the place that it was sent to.

    ``uploaded`` is its receipt once it lies there, in so far as it is not registered yet and so not stored.
    """

    file: FileSpec
    place: str = ""
    uploaded: Receipt | None = None


@frozen(kw_only=True)
class Attempt:
    """One try to bring, store or open a file: where, by which tool, when, and how it ended.

    Times are those of the wall clock: ``asked`` when the work on all files of the job began, ``moved`` when the bytes
    were there and verification began. Nothing secret is in the replica.
    """

    file: FileSpec
    direction: str
    replica: Replica
    tool: str
    number: int
    asked: float
    began: float
    moved: float
    ended: float
    error: PilotError | None = None
    facts: Mapping[str, object] = field(factory=dict)
    """What the experiment adds, for whoever reports tries."""

    @property
    def size_b(self) -> int | None:
        """The size of the file, as far as it is known."""
        return self.file.size_b
