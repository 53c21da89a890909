"""Checksums against the standard library, published vectors, and hand-fed streams."""

from __future__ import annotations

import hashlib
import os
import threading
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pilot_core.io import checksum
from pilot_core.io.cancel import CancelFlag, Cancelled
from pilot_core.io.checksum import BLOCK_B, BLOCK_BESIDE_B, KINDS, LARGE_B, Digest, Summed, copy_summed, sum_file


def of(data: bytes, kind: str) -> str:
    digest = Digest([kind])
    digest.update(data)
    return digest.hexdigests()[kind]


@pytest.mark.parametrize(
    ("data", "crc"),
    [(b"", "00000000"), (b"123456789", "e3069283"), (bytes(32), "8a9136aa"), (b"\xff" * 32, "62a8ab43")],
)
def test_crc32c_gives_the_published_values(data: bytes, crc: str) -> None:
    assert of(data, "crc32c") == crc
    assert f"{checksum._plain_crc32c(data, 0):08x}" == crc


def test_adler32_keeps_its_leading_zeros() -> None:
    assert of(b"", "adler32") == "00000001"
    assert of(b"a", "adler32") == "00620062"


@settings(max_examples=40, deadline=None)
@given(st.lists(st.binary(max_size=300), max_size=6))
def test_a_stream_in_pieces_sums_like_the_whole(pieces: list[bytes]) -> None:
    digest, whole = Digest(KINDS), b"".join(pieces)
    for piece in pieces:
        digest.update(memoryview(piece))
    assert digest.hexdigests() == {
        "adler32": f"{zlib.adler32(whole):08x}",
        "md5": hashlib.md5(whole).hexdigest(),
        "sha256": hashlib.sha256(whole).hexdigest(),
        "crc32c": f"{checksum._plain_crc32c(whole, 0):08x}",
    }


def test_an_unknown_kind_is_named_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"'adler'.*adler32, md5"):
        Digest(["adler"])


@pytest.mark.parametrize("size_b", [0, 1, BLOCK_B, 2 * BLOCK_B + 7])
def test_a_file_is_read_to_its_end_by_path_and_by_descriptor(tmp_path: Path, size_b: int) -> None:
    path, data = tmp_path / "a file", os.urandom(size_b)
    path.write_bytes(data)
    expected = Summed(size_b, {"adler32": f"{zlib.adler32(data):08x}", "md5": hashlib.md5(data).hexdigest()})
    assert sum_file(path, ["adler32", "md5"]) == expected
    with path.open("rb") as file:
        assert sum_file(file.fileno(), ["adler32", "md5"]) == expected
        assert not file.closed


def test_a_copy_is_summed_synced_and_tells_how_far_it_is(tmp_path: Path) -> None:
    data, seen = os.urandom(BLOCK_B + 5), list[int]()
    (tmp_path / "from").write_bytes(data)
    with (tmp_path / "from").open("rb") as source, (tmp_path / "to").open("wb") as destination:
        summed = copy_summed(source.fileno(), destination.fileno(), ["sha256"], seen.append, sync=True)
    assert (tmp_path / "to").read_bytes() == data
    assert summed == Summed(len(data), {"sha256": hashlib.sha256(data).hexdigest()})
    assert seen == [BLOCK_B, BLOCK_B + 5]


def test_a_slow_reader_that_takes_a_part_gets_everything(tmp_path: Path) -> None:
    data = os.urandom(3 * BLOCK_B)
    (tmp_path / "from").write_bytes(data)
    out, into = os.pipe()
    got = bytearray()
    with os.fdopen(out, "rb", buffering=0) as end, (tmp_path / "from").open("rb") as source:
        reader = threading.Thread(target=lambda: got.extend(end.readall()))
        reader.start()
        summed = copy_summed(source.fileno(), into, ["adler32"])
        os.close(into)
        reader.join()
    assert bytes(got) == data
    assert summed.sums == {"adler32": f"{zlib.adler32(data):08x}"}


def test_a_write_that_takes_a_part_is_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:100_000]))
    data = os.urandom(BLOCK_B)
    (tmp_path / "from").write_bytes(data)
    with (tmp_path / "from").open("rb") as source, (tmp_path / "to").open("wb") as destination:
        assert copy_summed(source.fileno(), destination.fileno(), []).size_b == BLOCK_B
    assert (tmp_path / "to").read_bytes() == data


def test_a_cancelled_copy_stops_at_the_next_block(tmp_path: Path) -> None:
    (tmp_path / "from").write_bytes(bytes(4 * BLOCK_B))
    stop = threading.Event()
    with (
        (tmp_path / "from").open("rb") as source,
        (tmp_path / "to").open("wb") as destination,
        pytest.raises(Cancelled, match=f"after {BLOCK_B} bytes"),
    ):
        copy_summed(source.fileno(), destination.fileno(), [], lambda _: stop.set(), stop)
    assert (tmp_path / "to").stat().st_size == BLOCK_B


def test_a_full_device_is_an_os_error(tmp_path: Path) -> None:
    (tmp_path / "from").write_bytes(b"x")
    with (
        (tmp_path / "from").open("rb") as source,
        open("/dev/full", "wb", buffering=0) as full,
        pytest.raises(OSError, match="No space left"),
    ):
        copy_summed(source.fileno(), full.fileno(), ["md5"])


@pytest.mark.parametrize("size_b", [LARGE_B - 1, LARGE_B, LARGE_B + BLOCK_BESIDE_B + 7])
def test_a_large_file_is_summed_beside_and_copied_whole(tmp_path: Path, size_b: int):
    content = (bytes(range(251)) * (size_b // 251 + 1))[:size_b]
    (tmp_path / "from").write_bytes(content)
    seen: list[int] = []
    with open(tmp_path / "from", "rb") as source, open(tmp_path / "to", "wb") as destination:
        summed = copy_summed(source.fileno(), destination.fileno(), ["adler32", "md5"], seen.append)
    assert summed == Summed(
        size_b, {"adler32": f"{zlib.adler32(content):08x}", "md5": hashlib.md5(content).hexdigest()}
    )
    assert (tmp_path / "to").read_bytes() == content
    assert seen == sorted(seen)
    assert seen[-1] == size_b


def test_a_large_copy_that_is_cancelled_or_cannot_be_summed_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "from").write_bytes(bytes(LARGE_B))
    stop = CancelFlag()
    with open(tmp_path / "from", "rb") as source, open(tmp_path / "to", "wb") as destination:
        with pytest.raises(Cancelled):
            copy_summed(source.fileno(), destination.fileno(), ["adler32"], lambda _: stop.set(), stop)
        source.seek(0)
        monkeypatch.setattr(Digest, "update", lambda *_: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            copy_summed(source.fileno(), destination.fileno(), ["adler32"])
