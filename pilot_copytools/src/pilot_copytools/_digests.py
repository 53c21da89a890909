"""What the headers of an answer say about the digest of a file, in all the ways in which servers say it."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Final

from pilot_core.sdk import Checksum

KIND: Final = "adler32"
_NAMES: Final = {
    "adler": "adler32",
    "adler32": "adler32",
    "crc32c": "crc32c",
    "md5": "md5",
    "sha-256": "sha256",
    "sha256": "sha256",
}
_SIZES_B: Final = {"adler32": 4, "crc32c": 4, "md5": 16, "sha256": 32}
_LISTS: Final = ("repr-digest", "digest", "x-goog-hash", "oc-checksum")
_SINGLES: Final = {
    "x-amz-checksum-crc32c": "crc32c",
    "x-amz-checksum-sha256": "sha256",
    "x-amz-checksum-md5": "md5",
}
_PAIR: Final = re.compile(r"([\w-]+)[=:](.+)")
_HEX: Final = re.compile(r"[0-9a-fA-F]+")
_ETAG: Final = re.compile(r'"([0-9a-f]{32})"')
_WANTED: Final = {"adler32": ("adler32", "adler"), "md5": ("md5", "md5"), "sha256": ("sha-256", "sha-256")}


def asking_for(kind: str) -> dict[str, str]:
    """The headers that ask a server for a digest: of this kind, or else of the usual one."""
    older, newer = _WANTED.get(kind, (kind, kind))
    if kind == KIND:
        return {"Want-Digest": older, "Want-Repr-Digest": f"{newer}=10"}
    return {"Want-Digest": f"{older},{KIND};q=0.5", "Want-Repr-Digest": f"{newer}=10,adler=5"}


def telling(sums: Mapping[str, str]) -> dict[str, str]:
    """The headers that tell a server the digest of what it gets, for it to check."""
    newer = {_WANTED[kind][1]: base64_of(value) for kind, value in sums.items() if kind in _WANTED}
    told = {"Repr-Digest": ",".join(f"{name}=:{value}:" for name, value in newer.items())}
    return {**told, "Digest": f"{KIND}={sums[KIND]}"} if KIND in sums else told


def base64_of(hexadecimal: str) -> str:
    """A digest as most headers want it."""
    return b64encode(bytes.fromhex(hexadecimal)).decode()


def digests(headers: Mapping[str, str]) -> dict[str, str]:
    """The digests that an answer tells, in hexadecimal, by our names of their kinds; the first of a kind counts."""
    found: dict[str, str] = {}
    for name, value in _told(headers):
        if (kind := _NAMES.get(name.lower())) and (digest := _read(kind, value.strip().strip(':"'))):
            found.setdefault(kind, digest)
    return found


def _told(headers: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for header in _LISTS:
        pairs = (_PAIR.fullmatch(each.strip()) for each in headers.get(header, "").split(","))
        yield from ((pair[1], pair[2]) for pair in pairs if pair)
    for header, kind in _SINGLES.items():
        if header in headers:
            yield kind, headers[header]
    if etag := _md5_in_etag(headers):
        yield "md5", etag


def _read(kind: str, value: str) -> str:
    """Hexadecimal or base64, told apart by length; nothing if it is neither."""
    size_b = _SIZES_B[kind]
    if _HEX.fullmatch(value) and (len(value) == 2 * size_b or (kind == KIND and len(value) < 2 * size_b)):
        return Checksum.parse(f"{kind}:{value}").value
    with suppress(ValueError):
        plain = b64decode(value, validate=True)
        return plain.hex() if len(plain) == size_b else ""
    return ""


def _md5_in_etag(headers: Mapping[str, str]) -> str:
    """An object store's ETag is the md5 of an object that came in one part and was not encrypted with a key."""
    stored = any(name.startswith(("x-amz-", "x-goog-")) for name in headers)
    keyed = "x-amz-server-side-encryption-customer-algorithm" in headers or headers.get(
        "x-amz-server-side-encryption", ""
    ).startswith("aws:kms")
    etag = _ETAG.fullmatch(headers.get("etag", ""))
    return etag[1] if etag and stored and not keyed else ""
