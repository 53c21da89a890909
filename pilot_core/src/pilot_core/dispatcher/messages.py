"""Requests and answers, as those who answer see them."""

from __future__ import annotations

import json
import logging
import zlib
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO, Final, Protocol, Self, TypeVar

from attrs import define, field, frozen

from pilot_core.dispatcher.head import Refused

LONGEST_JSON_B: Final = 16 * 2**20

_ENCODER: Final = json.JSONEncoder(separators=(",", ":"))
_DECODER: Final = json.JSONDecoder()
T = TypeVar("T")
log = logging.getLogger(__name__)


class Cut(ConnectionError):
    """The client left in the middle of its request."""


class Body(Protocol):
    """The bytes that come with a request."""

    @property
    def length(self) -> int: ...

    def read(self, size: int = -1, /) -> bytes:
        """Some bytes, at most ``size``, none only at the end; without ``size`` all that are left."""
        ...


@define(eq=False)
class Request:
    """What somebody asks. ``role`` is that of the token, ``None`` without a valid one; ``path`` is decoded."""

    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    body: Body
    role: str | None = None
    peer: str = ""

    def read(self, limit_b: int = LONGEST_JSON_B) -> bytes:
        """The whole body; one of more than ``limit_b`` bytes is ``Refused`` unread."""
        if self.body.length > limit_b:
            raise Refused(413, f"the body has {self.body.length} bytes; at most {limit_b} are taken")
        return self.body.read() if self.body.length else b""

    def json(self, limit_b: int = LONGEST_JSON_B) -> Any:
        """The body as JSON, unpacked if it came packed, and then too at most ``limit_b`` bytes."""
        data = self.read(limit_b)
        packing = self.headers.get("content-encoding", "identity").lower()
        if packing == "gzip":
            data = _unpacked(data, limit_b)
        elif packing != "identity":
            raise Refused(415, f"Content-Encoding {packing[:40]!r} is not understood; only gzip is")
        try:
            return _DECODER.decode(str(data, "utf-8"))
        except (ValueError, RecursionError) as error:
            raise Refused(400, f"the body is not JSON: {error}") from None


def _unpacked(data: bytes, limit_b: int) -> bytes:
    unpacker = zlib.decompressobj(31)
    try:
        plain = unpacker.decompress(data, limit_b)
    except zlib.error as error:
        raise Refused(400, f"the body is not gzip: {error}") from None
    if unpacker.unconsumed_tail:
        raise Refused(413, f"the body has more than {limit_b} bytes when it is unpacked")
    if not unpacker.eof or unpacker.unused_data:
        raise Refused(400, "the body is not one whole piece of gzip")
    return plain


def _check_headers(response: Response, attribute: object, headers: Mapping[str, str]) -> None:
    for name, value in headers.items():
        if not (value.isascii() and value.isprintable()):
            raise ValueError(f"{value!r} cannot stand in the header {name}")


@frozen(eq=False)
class Response:
    """An answer: ``body``, or ``length`` bytes of ``file`` from where it stands; the server closes the file."""

    status: int
    body: bytes = b""
    type: str = "application/json"
    headers: Mapping[str, str] = field(factory=dict, validator=_check_headers)
    file: BinaryIO | None = None
    length: int = 0

    @classmethod
    def of(cls, value: object, status: int = 200, type: str = "application/json") -> Self:
        """``value`` as JSON."""
        return cls(status, _ENCODER.encode(value).encode(), type)

    @classmethod
    def error(cls, status: int, text: str) -> Self:
        """One sentence that says why not."""
        return cls.of({"error": text}, status)

    @property
    def size_b(self) -> int:
        return len(self.body) if self.file is None else self.length


Handler = Callable[[Request], Response]


def answer(handler: Handler, request: Request) -> Response:
    """What the handler says; what it refuses and what it fails at become answers too."""
    try:
        return guard(lambda: handler(request), f"{request.method} {request.path}", _failed)
    except Refused as refused:
        return Response.error(refused.status, refused.text)


def guard(work: Callable[[], T], what: str, instead: Callable[[], T]) -> T:
    """The boundary around a request and around what the dispatcher does by itself: a defect is logged and survived."""
    try:
        return work()
    except (Refused, Cut):
        raise
    except Exception:
        log.exception("the dispatcher failed at %s", what)
        return instead()


def _failed() -> Response:
    return Response.error(500, "the dispatcher failed at this request; its log says why")
