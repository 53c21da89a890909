import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pilot_core.io.files as files_module
from pilot_core.io.files import (
    Lock,
    NotJson,
    Taken,
    free_bytes,
    read_json,
    write_atomic,
)
from pilot_core.model.names import UnsafeName, safe_name


@pytest.mark.parametrize(
    "name", ["a", "a b.root", "log.tgz", "DAOD.1234._0001.pool.root.1", "ä", "...", "a~", "x" * 255]
)
def test_ordinary_names_are_safe(name):
    assert safe_name(name) == name


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "empty"),
        (".", "directory"),
        ("..", "directory"),
        ("/etc/passwd", "slash"),
        ("a/../../b", "slash"),
        ("a\0b", "control"),
        ("a\nb", "control"),
        ("a\x1b[2Jb", "control"),
        ("a\u202eb", "control"),
        ("\udcff", "control"),
        ("~root", "leading '~'"),
        ("-rf", "leading '-'"),
        ("ä" * 128, "longer than 255 bytes"),
    ],
)
def test_others_are_refused_by_name_and_reason(name, why):
    with pytest.raises(UnsafeName, match=why) as caught:
        safe_name(name)
    assert repr(name) in str(caught.value)


@given(name=st.text(max_size=300))
@settings(max_examples=150, deadline=None)
def test_a_safe_name_names_a_file_in_its_directory(tmp_path_factory, name):
    try:
        safe_name(name)
    except UnsafeName:
        return
    path = tmp_path_factory.getbasetemp() / name
    assert path.parent == tmp_path_factory.getbasetemp()
    assert not path.is_dir()
    path.touch()
    path.unlink()


@pytest.mark.parametrize("durable", [False, True])
def test_a_file_is_replaced_whole_with_the_mode_asked_for(tmp_path, durable):
    path = tmp_path / ("x" * 255)
    path.write_text("old and longer")
    before = os.umask(0o077)
    try:
        write_atomic(path, "new", mode=0o644, durable=durable)
    finally:
        os.umask(before)
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o644
    assert os.listdir(tmp_path) == [path.name]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "f"
    path.mkdir()
    with pytest.raises(IsADirectoryError):
        write_atomic(path, b"new")
    assert os.listdir(tmp_path) == ["f"]


def test_a_link_is_replaced_and_not_written_through(tmp_path):
    (tmp_path / "real").write_text("real")
    (tmp_path / "link").symlink_to("real")
    write_atomic(tmp_path / "link", b"new")
    assert (tmp_path / "real").read_text() == "real"
    assert (tmp_path / "link").read_text() == "new"


@pytest.mark.parametrize("there", [True, False])
def test_a_file_that_was_set_aside_becomes_it_and_another_is_made_where_there_is_none(tmp_path, there):
    path, room = tmp_path / "new", tmp_path / "room"
    if there:
        room.write_bytes(bytes(4096))
    write_atomic(path, b"text", durable=True, room=room)
    assert [each.name for each in tmp_path.iterdir()] == ["new"]
    assert path.read_bytes() == b"text"


def test_room_is_given_back_where_the_disk_takes_nothing(tmp_path, monkeypatch):
    (tmp_path / "room").write_bytes(bytes(4096))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space"):
        write_atomic(tmp_path / "new", b"text", room=tmp_path / "room")
    assert list(tmp_path.iterdir()) == []


def test_readers_never_see_a_part(tmp_path):
    path, sizes, done = tmp_path / "f", set(), threading.Event()
    write_atomic(path, b"a" * 300_000)

    def read():
        while not done.is_set():
            sizes.add(len(path.read_bytes()))

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(30):
        write_atomic(path, b"b" * (300_000 if number % 2 else 200_000))
    done.set()
    reader.join()
    assert sizes <= {200_000, 300_000}


def test_json_is_read_or_its_place_is_named(tmp_path):
    path = tmp_path / "f.json"
    path.write_text('{"a": [1, 2]}')
    assert read_json(path) == {"a": [1, 2]}
    path.write_text('{"a": 1,\n "b" 2}')
    with pytest.raises(NotJson, match=r"f\.json: line 2, column 6: Expecting ':'"):
        read_json(path)
    path.write_bytes(b'{"a": "\xff"}')
    with pytest.raises(NotJson, match="byte 7 is not utf-8"):
        read_json(path)


def test_free_bytes_are_what_df_says(tmp_path):
    said = subprocess.run(["df", "-P", "-B1", tmp_path], capture_output=True, text=True, check=True).stdout.split()[-3]
    assert abs(free_bytes(tmp_path) - int(said)) < 1 << 30


HOLDS = """
import sys
from pathlib import Path
from pilot_core.io.files import Lock
Lock(Path(sys.argv[1])).take()
print("held", flush=True)
sys.stdin.read()
"""


def test_a_lock_names_its_holder_and_ends_with_it(tmp_path):
    path = tmp_path / "lock"
    core = Path(files_module.__file__).parents[2]
    child = subprocess.Popen(
        [sys.executable, "-c", HOLDS, path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(core)},
    )
    assert child.stdout.readline() == b"held\n"
    with pytest.raises(Taken, match=f"held by process {child.pid}$") as caught:
        Lock(path).take()
    assert caught.value.pid == child.pid
    child.send_signal(signal.SIGKILL)
    child.communicate()
    with Lock(path):
        assert path.read_text() == f"{os.getpid()}\n"
        with pytest.raises(Taken):
            Lock(path).take()
    Lock(path).take().release()
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_holder_that_did_not_say_who_it_is(tmp_path):
    path = tmp_path / "lock"
    with Lock(path):
        path.write_text("garbage")
        with pytest.raises(Taken, match="another process") as caught:
            Lock(path).take()
    assert caught.value.pid is None
