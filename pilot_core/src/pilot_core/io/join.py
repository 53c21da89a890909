"""The join string: all that somebody on another node needs to come in. It holds a token, so it is kept like one."""

from __future__ import annotations

import json
import os
import sys
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NotBase64
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Self
from urllib.parse import urlsplit

from attrs import asdict, field, frozen

BEGIN: Final = "pilot-join:"
JOINS: Final = {"run": "join", "submit": "join-submit", "admin": "join-admin"}
"""The files in a dispatcher's home with the join strings, by the role of each."""
VARIABLE: Final = "PILOT_JOIN"
LONGEST: Final = 8192


class BadJoin(ValueError):
    """No join string where one should be; the message says where, and where one comes from."""

    def __init__(self, where: str, why: str) -> None:
        way_out = "`pilot serve` writes one for pilots into `join` in its home, and one for people into `join-submit`"
        super().__init__(f"{where}: {why}; {way_out}")


@frozen
class Join:
    """An address, the token that lets a pilot or a person in, the certificate to expect there, and a queue to serve."""

    url: str
    token: str = field(repr=False)
    fingerprint: str
    queue: str

    def text(self) -> str:
        """The join string."""
        packed = json.dumps(asdict(self), separators=(",", ":")).encode()
        return BEGIN + urlsafe_b64encode(packed).decode().rstrip("=")

    @classmethod
    def read(cls, text: str, where: str = "the join string") -> Self:
        """Read a join string back; ``BadJoin`` says what is wrong with it, and never what it holds."""
        wire = _unpacked(text.strip(), where)
        for name in ("url", "token", "fingerprint", "queue"):
            if not isinstance(wire.get(name), str):
                raise BadJoin(where, f"it lacks {name!r}")
        if urlsplit(wire["url"]).scheme not in ("http", "https") or not urlsplit(wire["url"]).hostname:
            raise BadJoin(where, "its 'url' is no address such as 'https://host:port'")
        return cls(wire["url"], wire["token"], wire["fingerprint"], wire["queue"])


def find_join(source: str, environ: Mapping[str, str]) -> Join | None:
    """The join string in a file, on standard input for ``-``, or without a source in the environment if it is there.

    It has no place on a command line, which everybody on the machine can read.
    """
    if source.startswith(BEGIN):
        raise BadJoin("the command line", "everybody here can read it: put the text into a file")
    if source == "-":
        return Join.read(sys.stdin.read(LONGEST), "standard input")
    if source:
        return Join.read(_text_of(Path(source)), source)
    told = environ.get(VARIABLE, "")
    return Join.read(told, f"${VARIABLE}") if told else None


def keep_join(path: Path, join: Join | None) -> None:
    """Have a file of mode 0600 hold a join string, or no file if there is nothing to join by."""
    from pilot_core.io.files import write_atomic

    if join is None:
        path.unlink(missing_ok=True)
    else:
        write_atomic(path, f"{join.text()}\n")


def _text_of(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            return file.read(LONGEST).decode("ascii", "replace")
    except OSError as error:
        raise BadJoin(os.fspath(path), error.strerror or "it cannot be read") from None


def _unpacked(text: str, where: str) -> dict[str, str]:
    coded = text.removeprefix(BEGIN)
    if coded == text:
        raise BadJoin(where, f"it does not begin with {BEGIN!r}")
    try:
        wire = json.loads(urlsafe_b64decode(coded + "=" * (-len(coded) % 4)))
    except (NotBase64, ValueError):
        wire = None
    if not isinstance(wire, dict):
        raise BadJoin(where, "it is damaged, perhaps cut short")
    return wire
