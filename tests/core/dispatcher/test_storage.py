import errno
import hashlib
import io
import os
import resource
import signal
import subprocess
import sys
import threading
import zlib
from stat import S_ISDIR

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pilot_core.dispatcher.http import Cut, Refused
from pilot_core.dispatcher.storage import ATTRIBUTE, PARTS, Storage
from pilot_core.io.inside import Inside


class Bytes(io.BytesIO):
    """A body as the server hands it on."""

    @property
    def length(self):
        return len(self.getvalue())


def digest(data):
    return f"adler32={zlib.adler32(data):08x}"


def put(storage, data, scope="7.1", name="out", **more):
    return storage.put(scope, name, more.pop("body", Bytes(data)), len(data), more.pop("digest", digest(data)))


def got(answer):
    with answer.file as file:
        return file.read(answer.length)


def refusal(call, *arguments, **more):
    with pytest.raises(Refused) as caught:
        call(*arguments, **more)
    assert "\n" not in caught.value.text
    return caught.value.status, caught.value.text


def tree(root):
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir())


@pytest.fixture
def root(tmp_path):
    return tmp_path / "storage"


def no_unnamed_files(inside, path):
    raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))


@pytest.fixture(params=["unnamed", "named"])
def storage(request, root, monkeypatch):
    if request.param == "named":
        monkeypatch.setattr(Inside, "open_unnamed", no_unnamed_files)
    storage = Storage(root)
    yield storage
    storage.close()


@pytest.mark.parametrize("data", [b"", b"hello", os.urandom(600_000)])
def test_what_is_put_is_there_whole_with_its_digest(storage, root, data):
    answer = put(storage, data, name="a b.root")
    assert (answer.status, answer.headers["Digest"]) == (201, digest(data))
    assert (root / "7.1" / "a b.root").read_bytes() == data
    assert storage.has("7.1", "a b.root")
    found = storage.open("7.1", "a b.root")
    assert (found.status, found.length, found.headers["Digest"]) == (200, len(data), digest(data))
    assert got(found) == data
    assert tree(root) == ["7.1/a b.root"]


def test_the_same_again_is_welcome_and_other_bytes_are_not(storage, root):
    assert put(storage, b"hello").status == 201
    assert put(storage, b"hello").status == 200
    assert refusal(put, storage, b"other")[0] == 409
    assert refusal(put, storage, b"longer")[0] == 409
    assert (root / "7.1" / "out").read_bytes() == b"hello"
    assert put(storage, b"other", scope="7.2").status == 201
    assert tree(root) == ["7.1/out", "7.2/out"]


def test_other_bytes_with_the_same_sum_are_other_bytes(storage):
    one, other = b"\1\0\1", b"\0\2\0"
    assert (zlib.adler32(one), len(one)) == (zlib.adler32(other), len(other))
    put(storage, one)
    assert refusal(put, storage, other)[0] == 409


@pytest.mark.parametrize(
    ("digest", "length"),
    [
        ("adler32=00000001", 5),
        ("adler32=062c0215", 4),
        ("adler32=062c0215", 6),
        ("", 5),
        ("sha=1", 5),
        ("adler32=1", 5),
    ],
)
def test_what_is_not_as_announced_is_not_kept(storage, root, digest, length):
    assert refusal(storage.put, "7.1", "out", Bytes(b"hello"), length, digest)[0] == 400
    assert tree(root) == []


def test_a_digest_is_found_among_others(storage):
    assert put(storage, b"hello", digest="SHA-256=xyz=, ADLER32=062C0215").status == 201


HOSTILE = ["", ".", "..", "/", "a/b", "../x", "/etc/passwd", "a\0", "a\nb", "-rf", "~", "x" * 256, "\udcff", "a\u202eb"]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_refused_wherever_they_stand(storage, root, name):
    before = sorted(os.listdir(root.parent))
    for call in (
        lambda: put(storage, b"x", name=name),
        lambda: put(storage, b"x", scope=name),
        lambda: storage.open("7.1", name),
        lambda: storage.open(name, "out"),
        lambda: storage.remove(name),
        lambda: storage.put_input(name, "in", Bytes(b"x"), 1),
        lambda: storage.put_input(hashlib.sha256(b"x").hexdigest(), name, Bytes(b"x"), 1),
        lambda: storage.open_input(name, "in"),
    ):
        assert refusal(call)[0] == 400
    assert tree(root) == []
    assert sorted(os.listdir(root.parent)) == before


@given(scope=st.text(max_size=12), name=st.text(max_size=12))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_the_names_nothing_appears_outside(storage, root, scope, name):
    try:
        put(storage, b"x", scope=scope, name=name)
    except Refused:
        pass
    else:
        assert (root / scope / name).read_bytes() == b"x"
        storage.remove(scope)
    assert sorted(os.listdir(root)) == [PARTS]
    assert os.listdir(root.parent) == ["storage"]


@pytest.mark.parametrize("scope", ["inputs", PARTS, ".hidden"])
def test_folders_with_a_meaning_are_no_attempts(storage, scope):
    assert refusal(put, storage, b"x", scope=scope)[0] == 400
    assert refusal(storage.remove, scope)[0] == 400


def test_links_lead_nowhere(storage, root, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    (root / "7.1").symlink_to(outside)
    (root / "7.2").mkdir()
    (root / "7.2" / "out").symlink_to(outside / "secret")
    os.mkfifo(root / "7.2" / "pipe")
    assert refusal(put, storage, b"x")[0] == 400
    assert refusal(storage.open, "7.1", "secret")[0] == 400
    assert refusal(storage.open, "7.2", "out")[0] == 400
    assert refusal(storage.open, "7.2", "pipe")[0] == 400
    assert refusal(put, storage, b"x", scope="7.2")[0] == 400
    assert [path.name for path in outside.iterdir()] == ["secret"]
    assert (outside / "secret").read_text() == "secret"


def test_what_is_not_there_is_said_so(storage, root):
    put(storage, b"x", name="file")
    assert refusal(storage.open, "8.1", "out") == (404, "there is no file 'out'")
    assert refusal(storage.open, "7.1", "out")[0] == 404
    assert not storage.has("8.1", "out")


def test_inputs_are_known_by_their_content(storage, root):
    sha256 = hashlib.sha256(b"hello").hexdigest()
    assert storage.put_input(sha256, "in.txt", Bytes(b"hello"), 5).status == 201
    assert storage.put_input(sha256, "in.txt", Bytes(b"hello"), 5).headers["Digest"] == digest(b"hello")
    assert got(storage.open_input(sha256, "in.txt")) == b"hello"
    assert refusal(storage.put_input, sha256, "bad.txt", Bytes(b"other"), 5)[0] == 400
    assert tree(root) == [f"inputs/{sha256}/in.txt"]


@pytest.mark.parametrize(
    ("span", "status", "data"),
    [
        ("", 200, b"0123456789"),
        ("bytes=0-", 200, b"0123456789"),
        ("bytes=2-4", 206, b"234"),
        ("bytes=7-", 206, b"789"),
        ("bytes=7-99", 206, b"789"),
        ("bytes=-3", 206, b"789"),
        ("bytes=-99", 200, b"0123456789"),
        ("bytes=4-2", 200, b"0123456789"),
        ("bytes=-", 200, b"0123456789"),
        ("bytes=0-1,3-4", 200, b"0123456789"),
        ("lines=1-2", 200, b"0123456789"),
    ],
)
def test_a_range_is_given_as_it_is_asked_for(storage, span, status, data):
    put(storage, b"0123456789")
    answer = storage.open("7.1", "out", span)
    assert (answer.status, answer.length) == (status, len(data))
    assert got(answer) == data
    first = b"0123456789".index(data[:1])
    told = f"bytes {first}-{first + len(data) - 1}/10" if status == 206 else None
    assert answer.headers.get("Content-Range") == told
    assert answer.headers["Digest"] == digest(b"0123456789")


@pytest.mark.parametrize("span", ["bytes=10-", "bytes=99-100", "bytes=-0"])
def test_a_range_beyond_the_end_is_refused(storage, span):
    put(storage, b"0123456789")
    assert refusal(storage.open, "7.1", "out", span)[0] == 416


def test_where_no_sum_could_be_kept_with_a_file_it_is_summed(storage, root):
    put(storage, b"hello")
    if ATTRIBUTE in os.listxattr(root / "7.1" / "out"):
        os.removexattr(root / "7.1" / "out", ATTRIBUTE)
    answer = storage.open("7.1", "out", "bytes=1-2")
    assert (answer.headers["Digest"], got(answer)) == (digest(b"hello"), b"el")


def test_of_many_that_put_one_name_at_once_one_wins_and_its_twins_agree(storage, root):
    start, statuses = threading.Barrier(8), []

    def run(number):
        data = bytes([number % 2]) * 300_000
        start.wait()
        try:
            statuses.append(put(storage, data).status)
        except Refused as refused:
            statuses.append(refused.status)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200, 200, 200, 201, 409, 409, 409, 409]
    assert tree(root) == ["7.1/out"]
    assert (root / "7.1" / "out").stat().st_size == 300_000


class Torn(Bytes):
    def read(self, size=-1):
        if self.tell():
            raise Cut("gone")
        return super().read(3)


def test_a_body_that_breaks_off_leaves_nothing(storage, root):
    with pytest.raises(Cut):
        put(storage, b"hello", body=Torn(b"hello"))
    assert tree(root) == []
    assert put(storage, b"hello").status == 201


HALF = """
import sys
from pathlib import Path
from pilot_core.dispatcher.storage import Storage
from pilot_core.io.inside import Inside

class Endless:
    length = 10**9
    def read(self, size=-1):
        print("more", flush=True)
        return b"x" * size

def no_unnamed_files(inside, path):
    raise OSError

if sys.argv[2] == "named":
    Inside.open_unnamed = no_unnamed_files
Storage(Path(sys.argv[1])).put("7.1", "out", Endless(), 10**9, "adler32=00000001")
"""


@pytest.mark.parametrize(("way", "left"), [("unnamed", 0), ("named", 1)])
def test_killed_in_the_middle_nothing_stands_under_the_name_and_the_rest_is_swept(root, way, left):
    with subprocess.Popen([sys.executable, "-c", HALF, root, way], stdout=subprocess.PIPE) as writer:
        for _ in range(4):
            assert writer.stdout.readline() == b"more\n"
        writer.send_signal(signal.SIGKILL)
    assert not (root / "7.1").exists()
    assert len(list((root / PARTS).iterdir())) == left
    storage = Storage(root)
    assert tree(root) == []
    storage.close()


def test_a_full_disk_is_said_and_leaves_nothing(storage, root):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
    try:
        status, text = refusal(put, storage, b"x" * 2_000_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (status, "there is no room for 'out'" in text) == (507, True)
    assert tree(root) == []
    assert put(storage, b"x" * 2_000_000).status == 201


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_full_file_system_is_said_and_leaves_nothing(tmp_path):
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", tmp_path], capture_output=True).returncode:
        pytest.skip("needs root that may mount")
    try:
        storage = Storage(tmp_path)
        assert refusal(put, storage, b"x" * 2_000_000)[0] == 507
        assert tree(tmp_path) == []
        assert put(storage, b"x" * 500_000).status == 201
        storage.close()
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_what_an_attempt_stored_is_removed_together(storage, root):
    put(storage, b"x")
    put(storage, b"y", scope="7.2")
    assert storage.remove("7.1") == []
    assert storage.remove("9.9") == []
    assert tree(root) == ["7.2/out"]


@pytest.fixture
def synced(root, monkeypatch):
    """What is synced, as it comes."""
    seen, fsync = [], os.fsync

    def note(fd):
        about = os.fstat(fd)
        inside = "folder" if S_ISDIR(about.st_mode) else "file"
        seen.append("root" if about.st_ino == root.stat().st_ino else inside)
        fsync(fd)

    monkeypatch.setattr(os, "fsync", note)
    return seen


def test_the_name_of_a_folder_is_brought_to_the_disk_once(storage, synced):
    put(storage, b"1", name="one")
    assert synced == ["file", "folder", "root"]
    put(storage, b"2", name="two")
    assert synced[3:] == ["file", "folder"]
    storage.remove("7.1")
    put(storage, b"3", name="three")
    assert synced[5:] == ["file", "folder", "root"], "and again, once it was made again"


def test_folders_are_forgotten_the_oldest_first(storage, synced, monkeypatch):
    monkeypatch.setattr("pilot_core.dispatcher.storage.REMEMBERED", 1)
    put(storage, b"1", "7.1")
    put(storage, b"2", "8.1")
    del synced[:]
    put(storage, b"3", "8.1", "more")
    put(storage, b"4", "7.1", "more")
    assert synced == ["file", "folder", "file", "folder", "root"]
