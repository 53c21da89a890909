"""Reading the head of an HTTP/1.1 request, strictly: what two readers could understand in two ways is refused. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final
from urllib.parse import parse_qs, unquote_to_bytes

from attrs import frozen

LONGEST_LINE_B: Final = 8192
LONGEST_HEAD_B: Final = 16384
MOST_HEADERS: Final = 64
METHODS: Final = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH")

_LINE = re.compile(r"([A-Za-z]+) ([!-~]+) HTTP/([0-9]\.[0-9])")
_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)")
_LENGTH = re.compile(r"[0-9]{1,18}")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})|%2[Ff]|%00")
_ONCE = frozenset({"authorization", "content-encoding", "content-length", "digest", "expect", "host", "range"})


class Refused(Exception):
    """A request that gets this status and one sentence as its answer."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


@frozen
class Head:
    """What stands before a request's body. ``path`` is decoded, the names in ``headers`` are in lower case."""

    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    length: int
    keep: bool
    """Whether the client means to ask more on this connection."""
    expects: bool
    """Whether it waits for a word before it sends the body."""


@lru_cache(64)
def read_head(data: bytes) -> Head:
    """The head in ``data``, without the empty line that ends it; ``Refused`` if it is not as it should be.

    Most heads are said again and again, to the last byte.
    """
    line, *lines = data.decode("latin-1").split("\r\n")
    if len(line) > LONGEST_LINE_B:
        raise Refused(414, f"the request's line is longer than {LONGEST_LINE_B} bytes")
    found = _LINE.fullmatch(line)
    if found is None:
        raise Refused(400, "the request does not begin with a line such as 'GET /path HTTP/1.1'")
    method, target, version = found.groups()
    if version not in ("1.1", "1.0"):
        raise Refused(505, f"HTTP/{version} is not spoken here, HTTP/1.1 is")
    if method not in METHODS:
        raise Refused(501, f"the method {method} is not known here")
    headers = _headers(lines)
    if version == "1.1" and "host" not in headers:
        raise Refused(400, "the request has no Host header")
    path, query = _target(target)
    keep, expects = _wishes(headers, version)
    return Head(method, path, query, headers, _length(headers), keep, expects)


def bearer(headers: Mapping[str, str]) -> str:
    """The token that the request carries, or nothing."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _headers(lines: list[str]) -> dict[str, str]:
    if len(lines) > MOST_HEADERS:
        raise Refused(431, f"the request has {len(lines)} headers; {MOST_HEADERS} are allowed")
    headers: dict[str, str] = {}
    for line in lines:
        name, value = _header(line)
        headers[name] = _joined(name, headers[name], value) if name in headers else value
    return headers


@lru_cache(128)
def _header(line: str) -> tuple[str, str]:
    """One header. Where a head is not said again, most of its headers are."""
    found = _HEADER.fullmatch(line)
    if found is None:
        raise Refused(400, f"{line[:40]!r} is no header such as 'Name: value'")
    return found[1].lower(), found[2].rstrip(" \t")


def _joined(name: str, before: str, value: str) -> str:
    if name in _ONCE:
        raise Refused(400, f"the header {name!r} stands twice")
    return f"{before}, {value}"


def _target(target: str) -> tuple[str, Mapping[str, list[str]]]:
    if target[0] != "/" or "#" in target:
        raise Refused(400, f"{target[:40]!r} is no path such as '/path?name=value'")
    path, _, query = target.partition("?")
    try:
        return _decoded(path) if "%" in path else path, parse_qs(query, True, True, errors="strict") if query else {}
    except ValueError:
        raise Refused(400, f"{target[:40]!r} is not decodable as UTF-8, or its query is not 'name=value&...'") from None


def _decoded(path: str) -> str:
    if _BAD_ESCAPE.search(path):
        raise Refused(400, f"{path[:40]!r} holds an escape that means a slash, a NUL or nothing")
    return unquote_to_bytes(path).decode()


def _length(headers: Mapping[str, str]) -> int:
    if "transfer-encoding" in headers:
        raise Refused(411, "a body in chunks is not taken; send it with its Content-Length")
    length = headers.get("content-length", "0")
    if not _LENGTH.fullmatch(length):
        raise Refused(400, f"Content-Length {length[:40]!r} is no number of bytes")
    return int(length)


def _wishes(headers: Mapping[str, str], version: str) -> tuple[bool, bool]:
    expects = headers.get("expect", "").lower()
    if expects not in ("", "100-continue"):
        raise Refused(417, f"Expect {expects[:40]!r} is not understood; only 100-continue is")
    keep = version == "1.1" and "close" not in headers.get("connection", "").lower()
    return keep, bool(expects) and version == "1.1"
