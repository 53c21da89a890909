"""The copy tool "local": the contracts, its ways of bringing inputs, and what the disk may refuse."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest

from pilot_copytools.local import Local, LocalOptions, path_of
from pilot_core.config.layers import Layer, Rank, Schema, Settings
from pilot_core.config.schema import CORE
from pilot_core.errors import Code, PilotError
from pilot_core.io.cancel import CancelFlag
from pilot_core.model.files import FileSpec, Replica
from pilot_core.spec.drivers import Found, Moving
from pilot_core.testing.contracts.copytool import CONTENT, FetchContract, StoreContract, describe

MOVING = Moving(cancel=CancelFlag())


def settings(mode: str = "copy", outputs: str = "copy") -> Settings:
    layer = Layer(Rank.SITE, "the test", {"local": {"inputs": mode, "outputs": outputs}})
    return Schema([*CORE, LocalOptions]).merge(layer)


class TestByPath(FetchContract, StoreContract):
    def make_tool(self, _: Settings) -> Local:
        return Local(settings())

    @property
    def storage(self) -> Path:
        return self.here / "a storage"

    def place(self, name: str) -> Replica:
        return Replica(str(self.storage / "deep" / name))

    def make_replica(self, name: str, content: bytes | None) -> Replica:
        place = self.place(name)
        if content is not None:
            path_of(place).parent.mkdir(parents=True, exist_ok=True)
            path_of(place).write_bytes(content)
        return place

    def make_place(self, name: str) -> Replica:
        return self.place(name)

    def read(self, place: Replica) -> bytes | None:
        return path_of(place).read_bytes()

    def names_stored(self) -> list[str]:
        return sorted(path.name for path in self.storage.rglob("*") if not path.is_dir())


class TestByUrl(TestByPath):
    def place(self, name: str) -> Replica:
        return Replica((self.storage / "deep" / name).as_uri())


class TestSymlinks(TestByPath):
    does_not_promise = (
        "test_a_cancelled_transfer_ends_and_leaves_nothing",
        "test_a_transfer_out_of_time_ends_and_leaves_nothing",
        "test_progress_grows_to_the_size",
    )

    def make_tool(self, _: Settings) -> Local:
        return Local(settings("symlink"))


class TestMoves(TestByPath):
    def make_tool(self, _: Settings) -> Local:
        return Local(settings("move"))


class TestLinkedOutputs(TestByPath):
    """What is written into the job's file once it is stored would be in the store, too; no payload is left to do so."""

    does_not_promise = (
        "test_another_file_under_that_name_is_an_error_and_stays",
        "test_a_cancelled_transfer_ends_and_leaves_nothing",
        "test_a_transfer_out_of_time_ends_and_leaves_nothing",
    )

    def make_tool(self, _: Settings) -> Local:
        return Local(settings(outputs="hardlink"))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(CONTENT)
    return path


def fetch(mode: str, source: Path, target: Path, file: FileSpec | None = None) -> None:
    replica = Replica(str(source))
    Local(settings(mode)).fetch(replica, target, file or describe("f", CONTENT, replica), MOVING)


def test_each_mode_does_what_it_says(source, tmp_path):
    fetch("symlink", source, tmp_path / "symlink")
    assert (tmp_path / "symlink").readlink() == source
    fetch("hardlink", source, tmp_path / "hardlink")
    assert (tmp_path / "hardlink").samefile(source)
    fetch("copy", source, tmp_path / "copy")
    fetch("reflink", source, tmp_path / "reflink")
    for copy in ("copy", "reflink"):
        assert not (tmp_path / copy).is_symlink()
        assert not (tmp_path / copy).samefile(source)
        assert (tmp_path / copy).read_bytes() == CONTENT
    fetch("move", source, tmp_path / "move")
    assert (tmp_path / "move").read_bytes() == CONTENT
    assert not source.exists()


@pytest.mark.parametrize(("mode", "call"), [("hardlink", "link"), ("move", "rename")])
def test_between_file_systems_a_file_is_copied(mode, call, source, tmp_path, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr(os, call, refuse)
    fetch(mode, source, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == CONTENT
    assert source.exists() == (mode == "hardlink")


def test_a_wrong_file_is_not_moved(source, tmp_path):
    source.write_bytes(CONTENT[::-1])
    with pytest.raises(PilotError) as raised:
        fetch("move", source, tmp_path / "moved")
    assert raised.value.code is Code.GETADMISMATCH
    assert source.read_bytes() == CONTENT[::-1]
    assert not (tmp_path / "moved").exists()


def test_a_pipe_does_not_block(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(PilotError, match="no regular file"):
        fetch("copy", tmp_path / "pipe", tmp_path / "copy")


def test_a_copy_stays_executable(source, tmp_path):
    source.chmod(0o755)
    fetch("copy", source, tmp_path / "copy")
    assert os.access(tmp_path / "copy", os.X_OK)


@pytest.mark.parametrize("url", ["file://elsewhere.example.org/a", "file://", "file://localhost"])
def test_a_file_of_another_host_is_refused(url):
    with pytest.raises(PilotError, match="names no file of this host"):
        path_of(Replica(url))


def test_what_it_takes():
    tool = Local(settings())
    assert tool.takes(Replica("/a/b"))
    assert tool.takes(Replica("a/b"))
    assert tool.takes(Replica("file:///a"))
    assert not tool.takes(Replica("root://host//a"))
    assert Local.probe() is None


@pytest.mark.parametrize(("verb", "code"), [("fetch", Code.NOLOCALSPACE), ("store", Code.NOREMOTESPACE)])
def test_a_full_disk_is_told_apart_and_nothing_is_left(verb, code, source, tmp_path, monkeypatch):
    def write(fd: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", write)
    place = tmp_path / "place" / "f"
    place.parent.mkdir()
    replica = Replica(str(place))
    tool, file = Local(settings()), describe("f", CONTENT, replica)
    with pytest.raises(PilotError) as raised:
        tool.store(source, replica, file, MOVING) if verb == "store" else fetch("copy", source, place)
    assert raised.value.code is code
    assert os.listdir(place.parent) == []


def test_a_source_that_is_a_link_is_not_stored(source, tmp_path):
    (tmp_path / "link").symlink_to(source)
    place = Replica(str(tmp_path / "stored"))
    with pytest.raises(PilotError):
        Local(settings()).store(tmp_path / "link", place, describe("f", CONTENT, place), MOVING)
    assert not (tmp_path / "stored").exists()


@pytest.mark.parametrize("link", [None, errno.EXDEV])
def test_an_output_is_linked_where_that_can_be(link, source, tmp_path, monkeypatch):
    real = os.link

    def refuse(here, there, **more):
        if link and here == source:
            raise OSError(link, os.strerror(link))
        real(here, there, **more)

    place = Replica(str(tmp_path / "deep" / "stored"))
    monkeypatch.setattr(os, "link", refuse)
    moved = Local(settings(outputs="hardlink")).store(source, place, describe("f", CONTENT, place), MOVING)
    assert (moved.size_b, path_of(place).read_bytes()) == (len(CONTENT), CONTENT)
    assert path_of(place).samefile(source) == (link is None)


def test_an_output_that_has_another_name_is_copied(source, tmp_path):
    os.link(source, tmp_path / "kept by the payload")
    place = Replica(str(tmp_path / "stored"))
    Local(settings(outputs="hardlink")).store(source, place, describe("f", CONTENT, place), MOVING)
    assert not path_of(place).samefile(source)


def test_a_linked_output_that_is_wrong_is_not_stored(source, tmp_path):
    place = Replica(str(tmp_path / "stored"))
    with pytest.raises(PilotError, match="expected"):
        Local(settings(outputs="hardlink")).store(source, place, describe("f", CONTENT[:-1] + b"?", place), MOVING)
    assert (os.listdir(tmp_path), source.read_bytes()) == (["source"], CONTENT)


def test_what_is_stored_already_is_read_and_not_written(source, tmp_path, monkeypatch):
    replica = Replica(str(tmp_path / "place"))
    tool, file = Local(settings()), describe("f", CONTENT, replica)
    first = tool.store(source, replica, file, MOVING)
    monkeypatch.setattr(os, "write", None)
    assert tool.store(source, replica, file, MOVING) == first


def test_of_two_that_store_one_name_at_once_one_wins(tmp_path):
    """The name is taken by a link, so nobody's file is replaced, whoever comes second."""
    place = tmp_path / "place"
    contents = [bytes([65 + number]) * 1000 for number in range(8)]
    refused = []
    begin = threading.Barrier(len(contents))

    def store(content: bytes) -> None:
        source = tmp_path / f"source-{content[:1].decode()}"
        source.write_bytes(content)
        replica = Replica(str(place))
        begin.wait(10)
        try:
            Local(settings()).store(source, replica, describe("f", content, replica), MOVING)
        except PilotError as error:
            refused.append(error.code)

    threads = [threading.Thread(target=store, args=[content]) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert refused == [Code.FILEEXISTS] * 7
    assert place.read_bytes() in contents
    assert not list(tmp_path.glob(".*.part"))


def test_what_lies_there_is_told(source, tmp_path):
    tool, file = Local(settings()), describe("f", CONTENT)
    assert tool.look(Replica(str(source)), file, MOVING) == Found(size_b=len(CONTENT), checksum=file.checksum)
    assert tool.look(Replica(str(tmp_path / "nothing")), file, MOVING) is None
    with pytest.raises(PilotError, match="no regular file"):
        tool.look(Replica(str(tmp_path)), file, MOVING)
