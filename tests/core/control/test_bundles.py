"""Outputs that leave as one archive."""

from __future__ import annotations

import os
import tarfile
from io import BytesIO
from zipfile import ZIP_STORED, ZipFile

import pytest

from pilot_core.control import bundles
from pilot_core.errors import Code
from pilot_core.model.files import FileSpec, Receipt, Replica

from .moving import codes, make, out, outputs


def packed(name, *patterns):
    return FileSpec(lfn=name, members=patterns, replicas=(Replica(f"mem://out/{name}"),))


def members(name, content):
    if name.endswith(".tar"):
        with tarfile.open(fileobj=BytesIO(content)) as tar:
            return {each.name: tar.extractfile(each).read() for each in tar}
    with ZipFile(BytesIO(content)) as made:
        assert {each.compress_type for each in made.infolist()} == {ZIP_STORED}
        assert made.testzip() is None
        return {each: made.read(each) for each in made.namelist()}


@pytest.mark.parametrize("name", ["all.zip", "all", "all.tar"])
def test_many_outputs_leave_as_one(bench, name):
    make(bench, **{"a.root": b"one", "b.root": b"two" * 10**5, "c.txt": b"three"})
    result = outputs(bench, packed(name, "*.root", "nothing*"), out("a.root"), out("b.root"), out("c.txt"))
    assert result.errors == ()
    assert sorted(bench.shelf.held) == sorted([f"mem://out/{name}", "mem://out/c.txt"])
    assert members(name, bench.shelf.held[f"mem://out/{name}"]) == {"a.root": b"one", "b.root": b"two" * 10**5}


@pytest.mark.parametrize("name", ["all.zip", "all.tar"])
def test_the_same_files_give_the_same_archive(bench, name):
    made = []
    for _ in range(2):
        make(bench, a=b"one", b=b"two")
        os.utime(bench.workdir / "a", (0, 0))
        os.utime(bench.workdir / "b", (10**9, 10**9))
        assert outputs(bench, packed(name, "?"), out("a"), out("b")).errors == ()
        made.append(bench.shelf.held.pop(f"mem://out/{name}"))
    assert made[0] == made[1]


def test_a_missing_member_stops_no_archive(bench):
    make(bench, a=b"one")
    result = outputs(bench, packed("all.zip", "?"), out("a"), out("b"))
    assert codes(result) == [Code.MISSINGOUTPUTFILE]
    assert members("all.zip", bench.shelf.held["mem://out/all.zip"]) == {"a": b"one"}


def test_an_archive_of_nothing_is_missing(bench):
    assert codes(outputs(bench, packed("all.zip", "?"), out("a", optional=True))) == [Code.MISSINGOUTPUTFILE]


def test_nothing_outside_gets_in(bench):
    """data:I-02 (members)"""
    (bench.root / "secret").write_text("secret")
    (bench.workdir / "a").symlink_to(bench.root / "secret")
    make(bench, b=b"two")
    result = outputs(bench, packed("all.zip", "*"), out("a"), out("b"))
    assert codes(result) == [Code.MISSINGOUTPUTFILE]
    assert members("all.zip", bench.shelf.held["mem://out/all.zip"]) == {"b": b"two"}


def test_what_cannot_be_packed_is_stored_by_itself(bench, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(bundles, "_make", full)
    make(bench, a=b"one")
    result = outputs(bench, packed("all.zip", "?"), out("a"))
    assert codes(result) == [Code.NOLOCALSPACE]
    assert bench.shelf.held == {"mem://out/a": b"one"}


def test_a_cancellation_ends_the_packing(bench):
    make(bench, a=b"one")
    bench.cancel.set()
    result = outputs(bench, packed("all.zip", "?"), out("a"))
    assert bench.shelf.held == {}
    assert "all.zip cannot be made: given up" in result.errors[0].detail
    assert bench.names() == ["a"]


def test_what_is_in_a_stored_archive_is_stored(bench):
    """The pilot died when the archive was safe."""
    make(bench, **{"a": b"one", "c.txt": b"three", "all.zip": b"made"})
    before = Receipt(lfn="all.zip", direction="out", url="mem://out/all.zip", tool="shelf", size_b=4)
    result = outputs(bench, packed("all.zip", "?"), out("a"), out("c.txt"), receipts=(before,))
    assert result.errors == ()
    assert list(bench.shelf.held) == ["mem://out/c.txt"]
