"""The Data API without any copy tool: how files are named and read, and what is said where nothing can be moved."""

from __future__ import annotations

import pytest

from pilot_core.api.data import Checksum, Data, FileSpec, PilotError, Replica, described, named
from pilot_core.errors import Code
from pilot_core.model.wire import BadMessage


@pytest.mark.parametrize(("word", "file"), [
    ("s:a.root", FileSpec(lfn="a.root", scope="s")),
    ("davs://h:1/p/a%20b?x=1", FileSpec(lfn="a b", replicas=(Replica("davs://h:1/p/a%20b?x=1"),))),
    ("/data/s:a", FileSpec(lfn="s:a", replicas=(Replica("/data/s:a"),))),
    (FileSpec(lfn="x"), FileSpec(lfn="x")),
])  # fmt: skip
def test_a_file_has_an_address_a_path_or_a_scope_and_a_name(word, file):
    assert named(word) == file


def test_a_mere_path_is_seen_from_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert named("a").replicas == (Replica(str(tmp_path / "a")),)


def test_a_file_in_a_list_is_read_with_all_that_is_wrong_with_it():
    told = {"name": "a", "scope": "s", "endpoint": "E", "size_b": 5, "checksum": "ad:1", "places": ["root://h//a"]}
    checksum = Checksum("adler32", "00000001")
    places = (Replica("root://h//a", "E"),)
    assert described(told) == FileSpec(lfn="a", scope="s", endpoint="E", size_b=5, checksum=checksum, replicas=places)
    with pytest.raises(BadMessage) as bad:
        described({"size_b": -1, "checksum": "xx:1", "place": "x"})
    assert [problem.path for problem in bad.value.problems] == ["name", "size_b", "checksum", "place"]


def test_without_a_copy_tool_one_sentence_says_so(tmp_path):
    options = {"data.copytools": ["not-there"], "data.reserve_b": 0}
    (tmp_path / "a").write_bytes(b"x")
    with Data(options=options, environ={}) as data:
        with pytest.raises(PilotError, match="no copy tool that fetches is installed here") as none:
            data.get(["mem://h/a"], tmp_path)
        assert none.value.code is Code.UNKNOWNCOPYTOOL
        (stored,) = data.put([FileSpec(lfn="a", replicas=(Replica("mem://h/a"),))], tmp_path)
        (seen,) = data.stat(["mem://h/a"])
    assert (stored.code, stored.facts["lfn"]) == (Code.NOSTORAGE, "a")
    assert "no place of it is known that a copy tool here can look at" in seen.detail


def test_two_files_of_one_name_do_not_go_together(tmp_path):
    with Data(environ={}) as data:
        for move in (data.get, data.put):
            with pytest.raises(PilotError, match="a: two files of the job have this name"):
                move([FileSpec(lfn="a", scope="s"), FileSpec(lfn="a", scope="t")], tmp_path)
