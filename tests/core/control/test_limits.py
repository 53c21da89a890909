"""Transfers that do not move, are about to fill the disk, or go on with what was left."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest

from pilot_core.control import calls, limits
from pilot_core.control.lanes import Progress
from pilot_core.control.limits import Limit
from pilot_core.errors import Code, PilotError
from pilot_core.io.cancel import CancelFlag
from pilot_core.model.files import FileSpec, Replica
from pilot_core.spec.drivers import Fetches, Moved, Stores

from .moving import codes, inputs, make, outputs, spec

GIVEN_UP_S = 30.0


class Slow(Fetches, Stores):
    """Does as its test says, until it is ended."""

    name, schemes = "slow", ("mem",)

    def __init__(self, does):
        self.does = does
        self.seen = []

    def fetch(self, replica, target, file, moving):
        self.seen.append((replica.url, moving.kept_b))
        return self.does(replica, target, moving) or Moved(size_b=target.stat().st_size)

    def store(self, source, replica, file, moving):
        self.does(replica, source, moving)
        return Moved(size_b=file.size_b, checksum=file.checksum)


class Resuming(Slow):
    resumes = True


def hang(moving):
    """Wait for the end, as a tool should that has nothing else to do."""
    assert moving.cancel.wait(GIVEN_UP_S), "nobody ended it"
    raise PilotError(Code.STAGEINFAILED, "ended")


def test_a_fetch_that_stalls_is_ended_and_another_place_is_tried(bench):
    """data:B-07"""

    def does(replica, target, moving):
        target.write_bytes(b"con")
        if replica.url == "mem://1":
            moving.progress(3)
            hang(moving)
        target.write_bytes(b"content")

    file = spec("a", b"content", Replica("mem://1"), Replica("mem://2"))
    result = inputs(bench, file, tools=[Slow(does)], stall_s=0.2)
    assert [receipt.url for receipt in result.receipts] == ["mem://2"]
    result = inputs(bench, spec("b", b"content", Replica("mem://1")), tools=[Slow(does)], stall_s=0.1, attempts=1)
    assert codes(result) == [Code.STAGEINTIMEOUT]
    assert "no byte moved for 0.1 s" in result.errors[0].detail
    assert bench.names() == ["a"]


def test_a_program_that_tells_nothing_is_seen_by_what_it_writes(tmp_path, monkeypatch):
    now, target = [0.0], tmp_path / "target"
    monkeypatch.setattr(limits, "time", SimpleNamespace(monotonic=lambda: now[0]))
    stalled, late = PilotError(Code.STAGEINTIMEOUT, "stalled"), PilotError(Code.STAGEINTIMEOUT, "late")
    limit, progress = Limit(CancelFlag(), None), Progress("1", "a", "in", None, 0.0, 0.0)
    call = limits.Call(limit, progress, [target], tmp_path, 0, 1.0, 5.0, stalled, late)
    for _ in range(9):
        with target.open("ab") as file:
            file.write(b"x")
        now[0] += 0.9
        call.look()
        assert not limit.is_set()
    now[0] += 1.0
    call.look()
    assert limit.why == stalled


def test_an_upload_that_tells_nothing_is_ended_by_its_size(bench, monkeypatch):
    make(bench, a=b"x")
    monkeypatch.setattr(calls, "budget_s", lambda size_b, options: 0.2)
    tool = Slow(lambda replica, source, moving: hang(moving))
    result = outputs(bench, FileSpec(lfn="a", replicas=(Replica("mem://1"),)), tools=[tool], stall_s=0.05, attempts=1)
    assert codes(result) == [Code.STAGEOUTTIMEOUT]
    assert "not done after 0.2 s" in result.errors[0].detail


def test_an_upload_that_has_sent_all_may_wait_for_the_far_end(bench):
    make(bench, a=b"xyz")
    looked = threading.Semaphore(0)
    look = limits.Call.look

    def does(replica, source, moving):
        moving.progress(3)
        for _ in range(4):
            assert looked.acquire(timeout=GIVEN_UP_S)
        assert not moving.cancel.is_set()

    def seen(call):
        call.stall_s = 0.0
        look(call)
        looked.release()

    limits.Call.look = seen
    try:
        result = outputs(bench, FileSpec(lfn="a", replicas=(Replica("mem://1"),)), tools=[Slow(does)], stall_s=0.05)
    finally:
        limits.Call.look = look
    assert result.errors == ()


def test_one_lookout_looks_at_all_and_goes_when_nothing_is_under_way(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "LOOK_S", 0.01)
    lookout, error = limits.Lookout(), PilotError(Code.STAGEINTIMEOUT)

    class Seen(limits.Call):
        def look(self):
            self.seen.set()

    def call(name):
        progress = Progress("1", name, "in", None, 0.0, 0.0)
        made = Seen(Limit(CancelFlag(), None), progress, [], tmp_path, 0, 9.0, 9.0, error, error)
        made.seen = threading.Event()
        return made

    first, second, third = map(call, "abc")
    with lookout.over(first), lookout.over(second):
        assert first.seen.wait(10)
        assert second.seen.wait(10)
        thread = lookout._thread
    thread.join(10)
    assert not thread.is_alive()
    with lookout.over(third):
        assert third.seen.wait(10)
    lookout.close()


def test_a_disk_that_runs_full_is_seen_before_it_is(bench, monkeypatch):
    free = iter([10**9, 10**9])
    monkeypatch.setattr(limits, "free_bytes", lambda _: next(free, 99))

    def does(replica, target, moving):
        target.write_bytes(b"x")
        hang(moving)

    files = [FileSpec(lfn=name, replicas=(Replica(f"mem://{name}"),)) for name in "ab"]
    result = inputs(bench, *files, tools=[Slow(does)], reserve_b=100, stall_s=1.0, parallel=1)
    assert codes(result) == [Code.NOLOCALSPACE] * 2
    assert "99 B are left" in result.errors[0].detail
    assert "not tried any further, as the disk is full" in result.errors[1].detail
    assert bench.names() == []


def test_room_is_left_for_what_comes_after(bench):
    file = FileSpec(lfn="a", size_b=1, replicas=(bench.shelf.put("mem://a", b"x"),))
    with pytest.raises(PilotError, match="are to stay so") as raised:
        inputs(bench, file, reserve_b=2**62)
    assert raised.value.code is Code.NOLOCALSPACE


# --- going on -------------------------------------------------------------------------------------------------------


def cut_at(*sizes):
    """A tool that is cut off at these sizes and goes on with what it finds."""
    left = list(sizes)

    def does(replica, target, moving):
        begun = target.read_bytes() if moving.kept_b else b""
        assert len(begun) == moving.kept_b
        if left:
            target.write_bytes(begun + b"content"[len(begun) : left.pop(0)])
            raise PilotError(Code.SERVICENOTAVAILABLE, "cut off")
        target.write_bytes(begun + b"content"[len(begun) :])

    return Resuming(does)


def test_a_tool_goes_on_with_what_it_left(bench):
    tool = cut_at(2, 5)
    assert inputs(bench, spec("a", b"content", Replica("mem://1")), tools=[tool], attempts=3).errors == ()
    assert tool.seen == [("mem://1", 0), ("mem://1", 2), ("mem://1", 5)]
    assert (bench.workdir / "a").read_bytes() == b"content"
    assert bench.names() == ["a"]


def test_what_one_place_left_is_not_for_another(bench):
    tool = cut_at(2, 3)
    file = spec("a", b"content", Replica("mem://1"), Replica("mem://2"))
    assert inputs(bench, file, tools=[tool], attempts=2).errors == ()
    assert tool.seen == [("mem://1", 0), ("mem://2", 0), ("mem://1", 0)]
    assert bench.names() == ["a"]


def test_a_wrong_whole_is_begun_anew(bench):
    """The beginning may have been wrong: it is not gone on with twice."""
    wrong = [b"XX"]

    def does(replica, target, moving):
        if wrong:
            target.write_bytes(wrong.pop())
            raise PilotError(Code.SERVICENOTAVAILABLE, "cut off")
        target.write_bytes((target.read_bytes() if moving.kept_b else b"co") + b"ntent")

    tool = Resuming(does)
    assert inputs(bench, spec("a", b"content", Replica("mem://1")), tools=[tool], attempts=3).errors == ()
    assert [kept_b for _, kept_b in tool.seen] == [0, 2, 0]
    assert bench.names() == ["a"]


@pytest.mark.parametrize("tool", [Slow, Resuming])
def test_nothing_is_left_when_all_tries_failed(bench, tool):
    def does(replica, target, moving):
        target.write_bytes(b"part")
        raise PilotError(Code.SERVICENOTAVAILABLE, "cut off")

    result = inputs(bench, spec("a", b"content", Replica("mem://1")), tools=[tool(does)])
    assert codes(result) == [Code.SERVICENOTAVAILABLE]
    assert bench.names() == []


# --- limits ---------------------------------------------------------------------------------------------------------


def test_a_limit_is_ended_by_whoever_asks_first():
    asked = CancelFlag()
    limit, heard = Limit(asked, None), []
    with limit.calling(lambda: heard.append("end")):
        asked.set()
        assert heard == ["end"]
    assert limit.is_set()
    assert limit.why is None


def test_a_limit_keeps_the_first_reason():
    limit = Limit(CancelFlag(), 60.0)
    for detail in ("one", "two"):
        limit.end(PilotError(Code.STAGEINTIMEOUT, detail))
    assert limit.wait(GIVEN_UP_S)
    assert limit.why == PilotError(Code.STAGEINTIMEOUT, "one")
    assert not limit.is_over()


def test_waiting_for_a_limit_ends_with_what_it_hangs_on():
    asked = CancelFlag()
    waits = Limit(Limit(asked, None), None)
    threading.Timer(0.05, asked.set).start()
    assert waits.wait(GIVEN_UP_S)
