"""Many files in one call: who goes with whom, and what becomes of those that fail there."""

from __future__ import annotations

import os
import threading

import pytest
from attrs import evolve

from pilot_core.control import bulk
from pilot_core.errors import Code, PilotError
from pilot_core.model.files import FileSpec, Replica
from pilot_core.model.job import Job

from .moving import codes, control, inputs, make, out, outputs, spec

LATE = PilotError(Code.SERVICENOTAVAILABLE, "503")


def many(crate, *names, host="h"):
    return [spec(name, name.encode(), crate.put(f"mem://{host}/{name}", name.encode())) for name in names]


def test_files_of_one_host_come_in_one_call(bench, crate):
    result = inputs(
        bench, *many(crate, *"abc"), *many(crate, *"de", host="i"), *many(crate, "f", host="j"), tools=[crate]
    )
    assert result.errors == ()
    assert [receipt.lfn for receipt in result.receipts] == bench.names() == list("abcdef")
    assert sorted(crate.calls) == [["mem://h/a", "mem://h/b", "mem://h/c"], ["mem://i/d", "mem://i/e"]]
    assert all((bench.workdir / name).read_text() == name for name in "abcdef")


def test_outputs_leave_in_one_call(bench, crate):
    make(bench, a=b"one", b=b"two")
    files = [FileSpec(lfn=name, replicas=(Replica(f"mem://h/{name}"),)) for name in "ab"]
    assert outputs(bench, *files, tools=[crate]).errors == ()
    assert crate.held == {"mem://h/a": b"one", "mem://h/b": b"two"}
    assert crate.calls == [["mem://h/a", "mem://h/b"]]
    assert sorted(receipt.lfn for receipt in bench.told) == ["a", "b"]


def test_one_that_fails_goes_on_by_itself(bench, crate):
    """data:T-19, data:B-22: where it failed is not the first to be asked again"""
    good = many(crate, *"abc")
    elsewhere = crate.put("mem://i/a", b"a")
    crate.trouble["mem://h/a"] = [LATE]
    first = evolve(good[0], replicas=(*good[0].replicas, elsewhere))
    result = inputs(bench, first, *good[1:], tools=[crate])
    assert result.errors == ()
    assert {receipt.lfn: receipt.url for receipt in result.receipts}["a"] == "mem://i/a"
    assert crate.asked == {"mem://h/a": 1, "mem://h/b": 1, "mem://h/c": 1, "mem://i/a": 1}


def test_one_that_fails_is_tried_again_there(bench, crate):
    crate.trouble = {"mem://h/a": [LATE], "mem://h/b": [LATE] * 9}
    result = inputs(bench, *many(crate, *"abc"), tools=[crate], attempts=3)
    assert [receipt.lfn for receipt in result.receipts] == ["a", "c"]
    assert codes(result) == [Code.SERVICENOTAVAILABLE]
    assert crate.asked == {"mem://h/a": 2, "mem://h/b": 3, "mem://h/c": 1}


def test_what_is_wrong_is_not_kept_and_another_tool_is_asked(bench, crate):
    crate.put("mem://h/a", b"a")
    files = many(crate, *"abc")
    crate.held["mem://h/a"] = b"?"
    bench.shelf.put("mem://h/a", b"a")
    result = inputs(bench, *files, tools=[crate, bench.shelf])
    assert result.errors == ()
    assert {receipt.lfn: receipt.tool for receipt in result.receipts} == {"a": "shelf", "b": "crate", "c": "crate"}
    assert bench.names() == list("abc")


@pytest.mark.parametrize("end", [ZeroDivisionError("oops"), LATE, None])
def test_files_without_an_answer_failed(bench, crate, end, monkeypatch):
    def fetch_many(wanted, moving):
        yield wanted[0], crate.fetch(wanted[0].replica, wanted[0].path, wanted[0].file, moving)
        wanted[1].path.write_bytes(b"half")
        if end is not None:
            raise end

    monkeypatch.setattr(crate, "fetch_many", fetch_many)
    result = inputs(bench, *many(crate, *"abc"), tools=[crate], attempts=1)
    assert [receipt.lfn for receipt in result.receipts] == bench.names() == ["a"]
    assert crate.asked == {"mem://h/a": 1}
    told = {ZeroDivisionError: "plugin crate failed in fetch_many: ZeroDivisionError: oops", PilotError: "503"}
    for error in result.errors:
        assert told.get(type(end), "the copy tool did not answer for this file") in error.detail


def test_an_output_without_an_answer_is_first_sent_there_again(bench, crate, monkeypatch):
    make(bench, a=b"one", b=b"two")

    def store_many(wanted, moving):
        crate.held[wanted[0].replica.url] = wanted[0].path.read_bytes()
        raise LATE
        yield

    monkeypatch.setattr(crate, "store_many", store_many)
    monkeypatch.setattr(crate, "look", lambda *_: None)
    files = [FileSpec(lfn=name, replicas=(Replica(f"mem://h/{name}"), Replica(f"mem://i/{name}"))) for name in "ab"]
    assert outputs(bench, *files, tools=[crate]).errors == ()
    assert crate.held == {"mem://h/a": b"one", "mem://h/b": b"two"}


def test_a_full_disk_in_the_middle_stops_the_rest(bench, crate):
    crate.trouble["mem://h/b"] = [PilotError(Code.NOLOCALSPACE, "full")]
    result = inputs(bench, *many(crate, *"abc"), tools=[crate])
    assert [receipt.lfn for receipt in result.receipts] == ["c"]
    assert codes(result) == [Code.NOLOCALSPACE] * 2
    assert crate.asked == {"mem://h/c": 1, "mem://h/b": 1}
    assert bench.names() == ["c"]


def test_a_cancellation_in_the_middle_begins_nothing_more(bench, crate):
    crate.trouble["mem://h/b"] = [bench.cancel.set, LATE]
    crate.held["mem://h/b"] = b""
    result = inputs(bench, *many(crate, *"abc"), tools=[crate])
    assert "c" in [receipt.lfn for receipt in result.receipts]
    assert all("given up" in error.detail for error in result.errors)
    assert sorted(bench.names()) == sorted(receipt.lfn for receipt in result.receipts)


def test_large_groups_are_dealt_into_lanes(bench, crate, monkeypatch):
    monkeypatch.setattr(bulk, "SHARE_B", 2)
    monkeypatch.setattr(bulk, "MOST", 3)
    assert inputs(bench, *many(crate, *"abcdefgh"), tools=[crate], parallel=2).errors == ()
    assert sorted(map(len, crate.calls)) == [2, 3, 3]


def test_never_more_with_one_host_than_allowed(bench):
    """data:B-27 (of one host)"""
    under_way, most, lock = [0], [0], threading.Lock()

    def meet():
        with lock:
            under_way[0] += 1
            most[0] = max(most[0], under_way[0])
        gate.wait(0.05)
        with lock:
            under_way[0] -= 1

    gate = threading.Event()
    files = [spec(f"f{n}", b"x", bench.shelf.put(f"mem://h/{n}", b"x")) for n in range(8)]
    bench.shelf.trouble = {f"mem://h/{n}": [meet] for n in range(8)}
    assert inputs(bench, *files, parallel=4, per_host=2).errors == ()
    assert most[0] <= 2


TOOL = """
import os, signal

from pilot_core.errors import Code, PilotError
from pilot_core.spec.drivers import FetchesMany, Found, Looks, Moved, StoresMany
from pilot_core.spec.markers import Isolation


class Afar(FetchesMany, StoresMany, Looks):
    name, schemes, isolation = "afar", ("far",), Isolation.PROCESS

    def fetch(self, replica, target, file, moving):
        return self._move(target, file)

    def _move(self, target, file):
        if file.lfn == "crash":
            os.kill(os.getpid(), signal.SIGKILL)
        if file.lfn == "lost":
            raise PilotError(Code.MISSINGINPUTFILE, "it is not there")
        target.write_text(f"{file.lfn} {os.getpid()}")
        return Moved(size_b=target.stat().st_size)

    def fetch_many(self, wanted, moving):
        for each in wanted:
            try:
                yield each, self._move(each.path, each.file)
            except PilotError as failed:
                yield each, failed
            moving.progress(1)

    def look(self, replica, file, moving):
        return None if file.lfn == "lost" else Found(size_b=os.getpid())

    def store(self, source, replica, file, moving):
        return Moved(size_b=file.size_b, checksum=file.checksum, summed=True)

    def store_many(self, wanted, moving):
        for each in wanted:
            yield each, self.store(each.path, each.replica, each.file, moving)
"""


@pytest.fixture
def afar(bench, tmp_path, monkeypatch):
    (tmp_path / "a_tool_afar.py").write_text(TOOL)
    monkeypatch.syspath_prepend(str(tmp_path))
    import a_tool_afar

    return a_tool_afar.Afar(bench.settings())


def test_a_child_answers_file_by_file(bench, afar):
    """data:K-04: what came before a child died is kept, and the others are tried again"""
    names = ["a", "b", "lost", "crash", "c"]
    files = [FileSpec(lfn=name, replicas=(Replica(f"far://h/{name}"),)) for name in names]
    result = inputs(bench, *files, tools=[afar], attempts=2)
    assert [receipt.lfn for receipt in result.receipts] == ["a", "b", "c"]
    assert codes(result) == [Code.MISSINGINPUTFILE, Code.STAGEINFAILED]
    assert bench.names() == ["a", "b", "c"]
    together = {(bench.workdir / name).read_text().split()[1] for name in "ab"}
    assert len(together) == 1
    assert str(os.getpid()) not in together


def test_a_child_stores_many(bench, afar):
    make(bench, a=b"one", b=b"two")
    files = [FileSpec(lfn=name, replicas=(Replica(f"far://h/{name}"),)) for name in "ab"]
    assert outputs(bench, *files, tools=[afar]).errors == ()
    assert {receipt.lfn: receipt.size_b for receipt in bench.told} == {"a": 3, "b": 3}


def test_a_child_looks(bench, afar):
    files = [
        FileSpec(lfn=name, size_b=os.getpid() if name == "b" else None, direct=True, replicas=(place,))
        for name, place in ((name, Replica(f"far://h/{name}", direct=True)) for name in ("a", "b", "lost"))
    ]
    result = inputs(bench, *files, tools=[afar], attempts=1)
    assert [(receipt.lfn, receipt.direction) for receipt in result.receipts] == [("a", "direct")]
    assert codes(result) == [Code.GETADMISMATCH, Code.MISSINGINPUTFILE]


def test_with_a_cache_each_file_comes_by_itself(bench, crate):
    files = many(crate, *"ab")
    assert inputs(bench, *files, tools=[crate], cache=bench.root / "cache").errors == ()
    assert crate.calls == []


def test_how_far_many_have_come_is_told(bench, crate, monkeypatch):
    data, seen = control(bench, tools=[crate]), []
    fetch_many = crate.fetch_many

    def watched(wanted, moving):
        moving.progress(2)
        seen.append(data.under_way.told())
        return fetch_many(wanted, moving)

    monkeypatch.setattr(crate, "fetch_many", watched)
    assert data.stage_in(bench.task(Job(id="1", inputs=tuple(many(crate, *"abc"))))).errors == ()
    ((moving,),) = (told["1"] for told in seen)
    assert (moving["name"], moving["done_b"], moving["size_b"]) == ("a and 2 more", 2, 3)


def test_files_that_go_nowhere_else_are_out_of_the_group(bench, crate):
    make(bench, a=b"one", b=b"two", c=b"x")
    result = outputs(bench, out("a"), out("b"), out("c"), tools=[bench.shelf, crate])
    assert result.errors == ()
    assert crate.calls == []
