"""What requests and answers carry: small things whole, files block by block."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from http.client import HTTPResponse

    from pilot_core.io.http_line import Limit

    Progress = Callable[[int], None]

LARGEST_ANSWER_B: Final = 1 << 26
BLOCK_B: Final = 1 << 18


class Sink(Protocol):
    """Where a streamed answer goes."""

    def write(self, data: memoryview, /) -> object: ...


class Source(Protocol):
    """Where a body that is sent comes from."""

    def tell(self) -> int: ...

    def seek(self, place: int, /) -> object: ...

    def read(self, size_b: int, /) -> bytes: ...


class OursFailed(Exception):
    """A file on this node could not be read or written: no fault of any server."""

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.error = error


def add_query(path: str, query: Mapping[str, object] | None) -> str:
    """A path with a query; a list is a key repeated."""
    from urllib.parse import urlencode

    return f"{path}?{urlencode(query, doseq=True)}" if query else path


def dump_json(value: object) -> bytes:
    """A value as JSON, as short as it gets."""
    from json import dumps

    return dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def gzipped(data: bytes) -> bytes:
    """The same, compressed."""
    import zlib

    return zlib.compress(data, 6, wbits=31)


def read_answer(response: HTTPResponse) -> bytes:
    """A small body, whole; one without end is not waited for."""
    from http.client import HTTPException

    body = response.read(LARGEST_ANSWER_B + 1)
    if len(body) > LARGEST_ANSWER_B:
        raise HTTPException(f"it has more than {LARGEST_ANSWER_B} bytes")
    _check_whole(response)
    response.read()
    return body


def stream_answer(response: HTTPResponse, file: Sink, start_b: int, limit: Limit, progress: Progress | None) -> None:
    """Write a body block by block, from ``start_b`` on even where the server begins with the first byte."""
    block = memoryview(bytearray(BLOCK_B))
    skip_b, there_b = (start_b, 0) if response.status == 200 else (0, start_b)
    while limit.left_s() and (size_b := response.readinto(block)):
        there_b += size_b
        if new := block[min(skip_b, size_b) : size_b]:
            _write(file, new)
        skip_b = max(skip_b - size_b, 0)
        if progress is not None and not skip_b:
            progress(there_b)
    _check_whole(response)


def read_blocks(file: Source, length: int, limit: Limit, progress: Progress | None) -> Iterator[bytes]:
    """The next ``length`` bytes of a file, each block told when it was sent."""
    sent_b = 0
    while sent_b < length:
        limit.left_s()
        try:
            block = file.read(min(BLOCK_B, length - sent_b))
        except OSError as error:
            raise OursFailed(error) from None
        if not block:
            raise OursFailed(OSError(0, f"the file ended after {sent_b} of {length} bytes"))
        yield block
        sent_b += len(block)
        if progress is not None:
            progress(sent_b)


def _write(file: Sink, data: memoryview) -> None:
    try:
        file.write(data)
    except OSError as error:
        raise OursFailed(error) from None


def _check_whole(response: HTTPResponse) -> None:
    from http.client import IncompleteRead

    if response.length:
        raise IncompleteRead(b"", response.length)
