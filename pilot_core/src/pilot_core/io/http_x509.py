"""A proxy: a certificate that stands for somebody's own for a while, with its key and its chain in one file.

Of a certificate only what is told to people is read here: whose it is, from when to when. Whether it is genuine is for
the server to find out.
"""

from __future__ import annotations

import os
import re
from binascii import a2b_base64
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from attrs import field, frozen

from pilot_core.errors import Code, PilotError
from pilot_core.io.http_token import span
from pilot_core.io.standin import in_use

_LONGEST_B: Final = 1 << 18
_CERTIFICATE: Final = re.compile(rb"-----BEGIN CERTIFICATE-----(.+?)-----END CERTIFICATE-----", re.DOTALL)
_KEY: Final = re.compile(rb"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----")
_CLOCKS_DIFFER_S: Final = 300.0
_VERSION: Final = 0xA0
_TIMES: Final = {0x17: "%y%m%d%H%M%SZ", 0x18: "%Y%m%d%H%M%SZ"}
_COMMON_NAME: Final = bytes.fromhex("0603550403")
_LIMITED: Final = bytes.fromhex("060b2b060104019b5001010109")
"""The policy of a proxy that may move files and start nothing, beside the older mark: a name of its own."""


@frozen
class Certificate:
    """What a certificate says of itself."""

    name: str
    """The last common name of its subject."""
    begins: float
    ends: float
    limited: bool = False


@frozen
class Proxy:
    """A proxy as it lies in its file; good as long as all certificates of its chain are."""

    chain: tuple[Certificate, ...]
    stamp: tuple[int, ...] = field(default=(), eq=False)

    @property
    def ends(self) -> float:
        return min(each.ends for each in self.chain)

    @property
    def begins(self) -> float:
        return max(each.begins for each in self.chain)

    @property
    def limited(self) -> bool:
        """Whether it may not be used for more than moving files."""
        return any(each.limited for each in self.chain)


def read_proxy(pem: bytes) -> Proxy:
    """Read what a proxy's file holds; ``ValueError`` says what is wrong with it."""
    found = _CERTIFICATE.findall(pem)
    if not found:
        raise ValueError("holds no certificate")
    if not _KEY.search(pem):
        raise ValueError("holds no key")
    try:
        return Proxy(tuple(_read(a2b_base64(each)) for each in found))
    except (ValueError, IndexError):
        raise ValueError("holds a certificate that cannot be read") from None


class ProxyFile:
    """A proxy in a file that others may not read, read again whenever that, or what stands in for it, changes."""

    def __init__(self, path: Path, renewed: Path | None = None) -> None:
        self.path = path
        self._renewed = renewed
        self._last = Proxy(())

    @property
    def place(self) -> Path:
        """The file that counts now."""
        return in_use(self.path, self._renewed)

    def read(self) -> Proxy:
        """The proxy that is in the file now, which may be over; the same value as long as the file is the same."""
        try:
            place = self.place
            about = os.stat(place)
            stamp = (about.st_mtime_ns, about.st_size, about.st_ino, about.st_mode)
            if stamp != self._last.stamp:
                self._last = Proxy(self._open(place, about.st_mode).chain, stamp)
        except OSError as error:
            raise self.unfit(f"cannot be read ({error.strerror}); name the right file with connection.proxy") from None
        return self._last

    def usable(self, now: float) -> Proxy:
        """The same, if it can be shown to a server at this time."""
        proxy = self.read()
        if proxy.ends <= now:
            raise self.unfit(
                f"has expired, {span(now - proxy.ends)} ago by this node's clock; put a new one there, or name another "
                "with connection.proxy"
            )
        if proxy.begins - now > _CLOCKS_DIFFER_S:
            raise self.unfit(
                f"is valid in {span(proxy.begins - now)} and not before; see that this node's clock is right"
            )
        return proxy

    def _open(self, place: Path, mode: int) -> Proxy:
        if mode & 0o007:
            raise self.unfit("others may read it; let only its owner: chmod 600")
        with open(place, "rb") as file:
            pem = file.read(_LONGEST_B)
        try:
            return read_proxy(pem)
        except ValueError as error:
            raise self.unfit(f"{error}; a proxy is a certificate, its key and its chain in PEM form") from None

    def unfit(self, why: str) -> PilotError:
        """The error that names this file."""
        return PilotError(Code.NOPROXY, f"proxy {self.path}: {why}", sent=False, cause="proxy")


# --- as much of the encoding as that takes --------------------------------------------------------------------------


def _read(der: bytes) -> Certificate:
    [(_, whole)] = _parts(der)
    (_, inner), *_ = _parts(whole)
    parts = [each for each in _parts(inner) if each[0] != _VERSION]
    _, _, _, (_, validity), (_, subject), *_ = parts
    begins, ends = (_time(tag, text) for tag, text in _parts(validity))
    name = _last_name(subject)
    return Certificate(name, begins, ends, limited=name == "limited proxy" or _LIMITED in inner)


def _parts(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The values that follow each other in ``data``, each with its tag."""
    at = 0
    while at < len(data):
        tag, length, at = data[at], data[at + 1], at + 2
        if length & 0x80:
            size = length & 0x7F
            length, at = int.from_bytes(data[at : at + size], "big"), at + size
        if at + length > len(data):
            raise ValueError("cut off")
        yield tag, data[at : at + length]
        at += length


def _time(tag: int, text: bytes) -> float:
    return datetime.strptime(text.decode("ascii"), _TIMES.get(tag, "")).replace(tzinfo=UTC).timestamp()


def _last_name(subject: bytes) -> str:
    names = [
        text.decode(errors="replace")
        for _, members in _parts(subject)
        for _, pair in _parts(members)
        if pair.startswith(_COMMON_NAME)
        for _, text in list(_parts(pair))[1:]
    ]
    return names[-1] if names else ""
