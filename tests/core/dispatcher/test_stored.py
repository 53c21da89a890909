"""Small files as rows, large ones in the storage: nobody who stores or fetches can tell which is where."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import zlib

import pytest

from pilot_core.dispatcher.head import Refused
from pilot_core.dispatcher.storage import Storage
from pilot_core.dispatcher.store import Store
from pilot_core.dispatcher.stored import NONE_B, SMALL_B, Stored

from .asking import Body
from .storing import order, take

SMALL, LARGE = bytes(range(256)) * (SMALL_B // 256), bytes(SMALL_B + 1)
SIZES = pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])


@pytest.fixture
def opened(tmp_path, clock):
    """Opens a store and its storage, and closes all in the end."""
    with contextlib.ExitStack() as leaving:

        def go() -> tuple[Store, Storage]:
            store, storage = Store(tmp_path / "d.sqlite", clock), Storage(tmp_path / "storage")
            leaving.callback(storage.close)
            leaving.callback(store.close)
            return store, storage

        yield go


@pytest.fixture
def stored(opened):
    """What the first attempt of job 1 stores, which has just begun."""
    store, storage = opened()
    store.submit("q", [order()])
    assert take(store) == [(1, 1)]
    return Stored(store, storage)


def put(stored: Stored, data: bytes, name: str = "out", body: Body | None = None, digest: str | None = None) -> int:
    try:
        told = digest or f"adler32={zlib.adler32(data):08x}"
        return stored.put("1.1", name, body or Body(data), told).status
    except Refused as refused:
        return refused.status


def got(stored: Stored, span: str = "", name: str = "out") -> tuple[int, bytes, dict]:
    answer = stored.open("1.1", name, span)
    if answer.file is None:
        return answer.status, answer.body, dict(answer.headers)
    with answer.file as file:
        return answer.status, file.read(answer.length), dict(answer.headers)


def test_small_files_are_no_files(stored, tmp_path):
    assert (put(stored, SMALL, "a"), put(stored, LARGE, "b")) == (201, 201)
    assert [path.name for path in (tmp_path / "storage/1.1").iterdir()] == ["b"]
    assert (got(stored, name="a")[1], got(stored, name="b")[1]) == (SMALL, LARGE)


def test_where_no_file_is_small_each_lies_in_the_storage(opened, tmp_path):
    store, storage = opened()
    store.submit("q", [order()])
    assert take(store) == [(1, 1)]
    stored = Stored(store, storage, NONE_B)
    assert put(stored, b"") == 201
    assert (tmp_path / "storage" / "1.1" / "out").read_bytes() == b""
    assert got(stored)[:2] == (200, b"")


@SIZES
def test_a_name_is_used_once(stored, data):
    other = b"x" + data[1:]
    assert [put(stored, each) for each in (data, data, other, b"", bytes(SMALL_B + 2))] == [201, 200, 409, 409, 409]
    assert got(stored)[1] == data


@SIZES
def test_what_is_not_as_announced_is_refused_and_leaves_nothing(stored, data):
    assert put(stored, data, digest="adler32=00000bad") == 400
    assert put(stored, data, digest="md5=none") == 400
    assert [put(stored, data, name) for name in ("..", ".", "a\0b", "x" * 300)] == [400] * 4
    with pytest.raises(Refused, match="there is no file"):
        stored.open("1.1", "out")
    assert put(stored, data) == 201


@SIZES
def test_parts_of_a_file(stored, data):
    put(stored, data)
    size_b, about = len(data), {"Digest": f"adler32={zlib.adler32(data):08x}", "Accept-Ranges": "bytes"}
    assert got(stored) == got(stored, "bytes=0-") == got(stored, "lines=1-2") == (200, data, about)
    part = {**about, "Content-Range": f"bytes 5-9/{size_b}"}
    assert got(stored, "bytes=5-9") == (206, data[5:10], part)
    assert got(stored, "bytes=-3")[:2] == (206, data[-3:])
    with pytest.raises(Refused, match=f"the file has {size_b} bytes"):
        got(stored, f"bytes={size_b}-")


def test_an_empty_file(stored):
    assert (put(stored, b""), got(stored)[:2]) == (201, (200, b""))


def test_a_large_file_that_comes_keeps_its_name_from_a_small_one(stored):
    seen = []

    class Coming(Body):
        def read(self, *size):
            if not self.tell():
                seen.append(put(stored, SMALL))
            return super().read(*size)

    assert put(stored, LARGE, body=Coming(LARGE)) == 201
    assert (seen, got(stored)[1]) == ([409], LARGE)
    with pytest.raises(ConnectionError):
        put(stored, LARGE, "more", body=Broken(LARGE))
    assert put(stored, SMALL, "more") == 201


class Broken(Body):
    def read(self, *size):
        raise ConnectionError


def test_a_small_file_is_on_the_disk_before_anybody_hears_of_it(stored, monkeypatch):
    synced: list[int] = []
    monkeypatch.setattr("pilot_core.dispatcher.synced._SYNC", synced.append)
    assert (put(stored, SMALL), len(synced)) == (201, 1)


def test_a_file_of_before_that_is_small_is_found_and_keeps_its_name(stored, tmp_path):
    (tmp_path / "storage/1.1").mkdir()
    (tmp_path / "storage/1.1/out").write_bytes(b"old")
    assert (got(stored)[1], put(stored, b"new")) == (b"old", 409)


KILLED = """
import os, signal, sys, zlib
from pathlib import Path
from pilot_core.clock import SystemClock
from pilot_core.dispatcher.storage import Storage
from pilot_core.dispatcher.store import Store
from pilot_core.dispatcher.stored import Stored
from tests.core.dispatcher.asking import Body
from tests.core.dispatcher.storing import order, take
top = Path(sys.argv[1])
store = Store(top / "d.sqlite", SystemClock())
store.submit("q", [order()])
take(store)
data = b"kept"
Stored(store, Storage(top / "storage")).put("1.1", "out", Body(data), f"adler32={zlib.adler32(data):08x}")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_was_stored_outlives_the_dispatcher(opened, tmp_path, pytestconfig):
    line = [sys.executable, "-c", KILLED, str(tmp_path)]
    ended = subprocess.run(line, cwd=pytestconfig.rootpath, env={**os.environ, "PYTHONPATH": "."}, check=False)
    assert ended.returncode == -signal.SIGKILL
    again = Stored(*opened())
    assert (got(again)[1], put(again, b"kept"), put(again, b"else")) == (b"kept", 200, 409)
