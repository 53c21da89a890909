"""A cache shared by processes: fetched once, bounded, whole or absent, whoever dies when."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from pilot_core.io.cache import FICLONE, Cache, content_key, url_key
from pilot_core.io.cancel import CancelFlag, Cancelled

KEY = content_key("adler32", "0a1b2c3d", 5)


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache", 1000)


def a_file(path: Path, data: bytes = b"hello") -> Path:
    path.write_bytes(data)
    return path


def entries(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "cache/entries").iterdir())


def test_what_was_put_is_got(cache: Cache, tmp_path: Path) -> None:
    put, got = a_file(tmp_path / "put"), tmp_path / "got"
    assert not cache.get(KEY, got)
    assert cache.put(KEY, put)
    assert cache.get(KEY, got)
    assert got.read_bytes() == b"hello"
    assert (entries(tmp_path)[0].stat().st_mode & 0o777) == 0o444


@pytest.mark.parametrize("writer", ["first", "second"])
@pytest.mark.parametrize("new", [b"HELLO", b"longer", b""])
def test_what_one_job_does_to_its_input_reaches_neither_cache_nor_another(
    cache: Cache, tmp_path: Path, writer: str, new: bytes
) -> None:
    """Found: inputs were links to one file."""
    cache.fetch_once(KEY, tmp_path / "first", a_file, 20)
    assert cache.get(KEY, tmp_path / "second")
    (tmp_path / writer).chmod(0o600)
    (tmp_path / writer).write_bytes(new)
    other = "second" if writer == "first" else "first"
    assert (tmp_path / other).read_bytes() == b"hello"
    assert cache.get(KEY, tmp_path / "third")
    assert (tmp_path / "third").read_bytes() == b"hello"


@pytest.mark.parametrize("able", [True, False])
def test_blocks_are_shared_where_the_file_system_can(
    cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, able: bool
) -> None:
    orders = list[int]()

    def ioctl(dest_fd: int, order: int, source_fd: int) -> int:
        orders.append(order)
        if not able:
            raise OSError(errno.EOPNOTSUPP, "not here")
        os.sendfile(dest_fd, source_fd, 0, 5)
        return 0

    monkeypatch.setattr(fcntl, "ioctl", ioctl)
    cache.put(KEY, a_file(tmp_path / "put"))
    assert cache.get(KEY, tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == b"hello"
    assert orders == [FICLONE, FICLONE]


@pytest.mark.parametrize("new", [b"HELLO", b"longer", b""])
def test_an_entry_that_somebody_wrote_into_is_dropped(cache: Cache, tmp_path: Path, new: bytes) -> None:
    cache.put(KEY, a_file(tmp_path / "put"))
    entries(tmp_path)[0].chmod(0o600)
    entries(tmp_path)[0].write_bytes(new)
    assert not cache.get(KEY, tmp_path / "next")
    assert not (tmp_path / "next").exists()
    assert entries(tmp_path) == []


def test_a_used_entry_outlives_an_unused_one(cache: Cache, tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        cache.put(f"url-{name}", a_file(tmp_path / name, bytes(300)))
        time.sleep(0.01)
    assert cache.get("url-a", tmp_path / "a again")
    cache.put("url-d", a_file(tmp_path / "d", bytes(300)))
    assert [entry.name.split(".")[0] for entry in entries(tmp_path)] == ["url-a", "url-c", "url-d"]


def test_a_file_above_the_limit_is_not_kept_and_pushes_nothing_out(cache: Cache, tmp_path: Path) -> None:
    cache.put(KEY, a_file(tmp_path / "small"))
    assert not cache.put("url-big", a_file(tmp_path / "big", bytes(1001)))
    assert len(entries(tmp_path)) == 1


@pytest.mark.parametrize("key", ["", "a", "../x-1", "a-b/c", "A-B", "a-.", "a-" + "b" * 200, "a-b\n"])
def test_a_key_that_is_no_name_is_refused(cache: Cache, tmp_path: Path, key: str) -> None:
    with pytest.raises(ValueError, match="no cache key"):
        cache.get(key, tmp_path / "x")


def test_a_url_becomes_a_key_without_showing_it(cache: Cache, tmp_path: Path) -> None:
    key = url_key("https://host/file?token=secret")
    assert "secret" not in key
    assert cache.put(key, a_file(tmp_path / "x"))


def test_links_and_directories_are_not_kept(cache: Cache, tmp_path: Path) -> None:
    a_file(tmp_path / "x")
    (tmp_path / "link").symlink_to("x")
    for path in (tmp_path / "link", tmp_path):
        with pytest.raises(ValueError, match="no regular file"):
            cache.put(KEY, path)


def test_a_destination_that_exists_is_never_overwritten(cache: Cache, tmp_path: Path) -> None:
    cache.put(KEY, a_file(tmp_path / "put"))
    a_file(tmp_path / "there", b"precious")
    with pytest.raises(FileExistsError):
        cache.get(KEY, tmp_path / "there")
    assert (tmp_path / "there").read_bytes() == b"precious"


def test_threads_that_want_one_file_fetch_it_once(cache: Cache, tmp_path: Path) -> None:
    fetched, hits = list[Path](), list[bool]()

    def fetch(dest: Path) -> None:
        fetched.append(dest)
        time.sleep(0.1)
        a_file(dest)

    def want(number: int) -> None:
        hits.append(cache.fetch_once(KEY, tmp_path / f"got {number}", fetch, 20))

    threads = [threading.Thread(target=want, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(fetched) == 1
    assert sorted(hits) == [False] + [True] * 7
    assert {(tmp_path / f"got {number}").read_bytes() for number in range(8)} == {b"hello"}
    assert list((tmp_path / "cache/locks").iterdir()) == []


PILOT = """
import sys, time
sys.path[:] = {path!r}
from pathlib import Path
from pilot_core.io.cache import Cache

def fetch(dest):
    print("fetching", flush=True)
    sys.stdin.readline()
    dest.write_bytes(b"hello")

print(Cache(Path({root!r}), 1000).fetch_once({key!r}, Path(sys.argv[1]), fetch, 60), flush=True)
"""


def pilot(tmp_path: Path, dest: str) -> subprocess.Popen[str]:
    program = PILOT.format(path=sys.path, root=str(tmp_path / "cache"), key=KEY)
    argv = [sys.executable, "-c", program, str(tmp_path / dest)]
    return subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def says(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_a_pilot_waits_for_the_other_that_fetches(tmp_path: Path) -> None:
    with pilot(tmp_path, "one") as first:
        assert says(first) == "fetching"
        with pilot(tmp_path, "two") as second:
            time.sleep(0.3)
            assert second.poll() is None
            first.communicate("go\n")
            assert says(second) == "True"
    assert (tmp_path / "two").read_bytes() == b"hello"


def test_a_pilot_that_dies_while_fetching_hands_over(tmp_path: Path) -> None:
    with pilot(tmp_path, "one") as first:
        assert says(first) == "fetching"
        with pilot(tmp_path, "two") as second:
            first.send_signal(signal.SIGKILL)
            assert says(second) == "fetching"
            assert second.communicate("go\n")[0] == "False\n"
    assert len(entries(tmp_path)) == 1


def test_leftovers_of_a_crash_go_with_the_next_file(cache: Cache, tmp_path: Path) -> None:
    cache.put(KEY, a_file(tmp_path / "put"))
    a_file(tmp_path / "cache/partial/adler32-0-9", b"half")
    a_file(tmp_path / "cache/locks/room", b"")
    assert cache.put("url-x", a_file(tmp_path / "x"))
    assert list((tmp_path / "cache/partial").iterdir()) == []


def test_a_failed_fetch_is_told_and_leaves_nothing(cache: Cache, tmp_path: Path) -> None:
    def fail(_: Path) -> None:
        raise LookupError("no replica")

    with pytest.raises(LookupError):
        cache.fetch_once(KEY, tmp_path / "got", fail, 20)
    assert not cache.fetch_once(KEY, tmp_path / "got", a_file, 20)
    assert len(entries(tmp_path)) == 1


def hold(tmp_path: Path) -> int:
    (tmp_path / "cache/locks").mkdir(parents=True)
    fd = os.open(tmp_path / "cache/locks" / KEY, os.O_RDWR | os.O_CREAT)
    fcntl.flock(fd, fcntl.LOCK_EX)
    return fd


def test_a_lock_file_removed_by_its_last_holder_is_no_lock(
    cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, path, flock, calls = fcntl.LOCK_EX | fcntl.LOCK_NB, tmp_path / "cache/locks" / KEY, fcntl.flock, [0]

    def removed_meanwhile(fd: int, how: int) -> None:
        calls[0] += 1
        if calls[0] == 1:
            path.unlink()
        flock(fd, how)

    def fetch(dest: Path) -> None:
        with path.open() as again, pytest.raises(BlockingIOError):
            flock(again, lock)
        a_file(dest)

    monkeypatch.setattr(fcntl, "flock", removed_meanwhile)
    assert not cache.fetch_once(KEY, tmp_path / "got", fetch, 20)
    assert calls[0] > 1


def test_who_waited_long_enough_fetches_too(cache: Cache, tmp_path: Path) -> None:
    fd = hold(tmp_path)
    assert not cache.fetch_once(KEY, tmp_path / "got", a_file, 0.1)
    assert (tmp_path / "got").read_bytes() == b"hello"
    os.close(fd)


def test_who_waits_can_be_cancelled(cache: Cache, tmp_path: Path) -> None:
    fd, cancel, began = hold(tmp_path), CancelFlag(), time.monotonic()
    threading.Timer(0.1, cancel.set).start()
    with pytest.raises(Cancelled):
        cache.fetch_once(KEY, tmp_path / "got", lambda _: None, 60, cancel)
    assert time.monotonic() - began < 5
    os.close(fd)


def test_a_cache_that_cannot_be_made_fails_no_job(tmp_path: Path) -> None:
    cache = Cache(a_file(tmp_path / "a file") / "below", 1000)
    assert not cache.fetch_once(KEY, tmp_path / "got", a_file, 1)
    assert (tmp_path / "got").read_bytes() == b"hello"


class AnyOrder(RuleBasedStateMachine):
    """Whatever is put, got, spoilt and left over: what is got is what was put, and the limit holds."""

    keys = Bundle("keys")

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.root = Path(self.directory.name)
        self.cache = Cache(self.root / "cache", 100)
        self.content: dict[str, bytes] = {}
        self.count = 0

    def fresh(self) -> Path:
        self.count += 1
        return self.root / str(self.count)

    @rule(target=keys, size_b=st.integers(0, 120))
    def put(self, size_b: int) -> str:
        data = os.urandom(size_b)
        key = f"url-{self.count}"
        assert self.cache.put(key, a_file(self.fresh(), data)) is (size_b <= 100)
        self.content[key] = data
        return key

    @rule(key=keys)
    def get(self, key: str) -> None:
        dest = self.fresh()
        if self.cache.get(key, dest):
            assert dest.read_bytes() == self.content[key]

    @rule(key=keys)
    def spoil(self, key: str) -> None:
        for entry in (self.root / "cache/entries").glob(f"{key}.*"):
            entry.chmod(0o600)
            entry.write_bytes(os.urandom(len(self.content[key])) + b"!")

    @rule(key=keys)
    def crash_in_a_copy(self, key: str) -> None:
        with suppress(FileNotFoundError):
            a_file(self.root / "cache/partial" / key, b"half")

    @invariant()
    def the_limit_holds(self) -> None:
        kept = (self.root / "cache/entries").glob("*")
        assert sum(int(entry.name.split(".")[1]) for entry in kept) <= 100

    def teardown(self) -> None:
        self.directory.cleanup()


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
