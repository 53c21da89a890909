"""Data Control: which files go where, and what their failures mean."""

from __future__ import annotations

import errno
import os
import threading
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pilot_core.control.calls import budget_s
from pilot_core.control.data import DataControl
from pilot_core.control.limits import Limit
from pilot_core.errors import Code, PilotError
from pilot_core.io.cancel import CancelFlag
from pilot_core.model.change import evolve
from pilot_core.model.files import Checksum, FileSpec, Receipt, Replica
from pilot_core.model.job import Job
from pilot_core.model.queue import Queue
from pilot_core.plugins.guard import PluginRef
from pilot_core.redact import Redactor
from pilot_core.spec.drivers import Fetches, Moved, Stores

from .moving import codes, control, inputs, make, out, outputs, spec

# --- inputs ---------------------------------------------------------------------------------------------------------


def test_inputs_arrive_and_are_told(bench):
    """data:B-01"""
    heard = []
    files = [spec(name, name.encode(), bench.shelf.put(f"mem://{name}", name.encode())) for name in "abcdef"]
    result = inputs(bench, *files, hooks=bench.hooks(pilot_file_moved=lambda receipt: heard.append(receipt.lfn)))
    assert result.errors == ()
    assert [receipt.lfn for receipt in result.receipts] == list("abcdef")
    assert sorted(heard) == bench.names() == list("abcdef")
    assert {receipt.tool for receipt in result.receipts} == {"shelf"}


def test_a_wrong_copy_is_removed_and_another_one_used(bench):
    """data:B-04"""
    bad, good = bench.shelf.put("mem://bad", b"wrong"), bench.shelf.put("mem://good", b"right")
    result = inputs(bench, spec("a", b"right", bad, good))
    assert result.errors == ()
    assert result.receipts[0].url == "mem://good"
    assert (bench.workdir / "a").read_bytes() == b"right"


def test_places_are_tried_before_weaker_tools(bench):
    weak = type(bench.shelf)("weak")
    order = []
    for tool in (bench.shelf, weak):
        for url in ("mem://1", "mem://2"):
            tool.trouble[url] = [lambda tool=tool, url=url: order.append((tool.name, url))] * 9
    inputs(bench, spec("a", b"content", Replica("mem://1"), Replica("mem://2")), tools=[bench.shelf, weak], attempts=1)
    assert order == [("shelf", "mem://1"), ("weak", "mem://1"), ("shelf", "mem://2"), ("weak", "mem://2")]


def test_a_mismatch_that_stays_is_told_with_every_place(bench):
    """data:B-02, data:B-06"""
    places = [bench.shelf.put(f"mem://{number}", b"wrong") for number in range(2)]
    result = inputs(bench, spec("a", b"right", *places), attempts=3)
    assert codes(result) == [Code.GETADMISMATCH]
    for word in ("a: ", "shelf mem://0", "shelf mem://1", "adler32:"):
        assert word in result.errors[0].detail
    assert bench.shelf.asked == {"mem://0": 3, "mem://1": 3}
    assert bench.names() == []


def test_what_passes_is_tried_again_and_what_is_missing_is_not(bench):
    """data:D-14"""
    late = PilotError(Code.SERVICENOTAVAILABLE, "503")
    bench.shelf.put("mem://late", b"x")
    bench.shelf.trouble = {"mem://late": [late, late], "mem://lost": [PilotError(Code.MISSINGINPUTFILE, "404")] * 9}
    result = inputs(bench, spec("a", b"x", Replica("mem://late")), spec("b", b"x", Replica("mem://lost")), attempts=3)
    assert codes(result) == [Code.MISSINGINPUTFILE]
    assert bench.shelf.asked == {"mem://late": 3, "mem://lost": 1}


def test_outputs_wait_for_a_storage_that_is_out_of_reach(bench):
    """Found: a server that was away for six seconds cost a payload of six hours."""
    away = PilotError(Code.COMMUNICATIONFAILURE, "refused")
    bench.shelf.trouble = {"mem://late": [away] * 7, "mem://never": [away] * 10**5}
    for name in ("a", "b"):
        (bench.workdir / name).write_bytes(b"x")
    late, never = (
        FileSpec(lfn=name, replicas=(Replica(f"mem://{at}"),)) for name, at in (("a", "late"), ("b", "never"))
    )
    result = outputs(bench, late, never, attempts=2, budget_s=0.5)
    assert [receipt.lfn for receipt in result.receipts] == ["a"]
    assert {*codes(result)} <= {Code.COMMUNICATIONFAILURE, Code.STAGEOUTTIMEOUT}
    assert bench.shelf.asked["mem://late"] == 8
    assert bench.shelf.asked["mem://never"] > 8


def test_outputs_wait_where_somebody_is_about_to_mend_what_keeps_them_out(bench):
    shut = PilotError(Code.STAGEOUTAUTHENTICATIONFAILURE, "the token is not known", passes=True)
    bench.shelf.trouble = {"mem://a": [shut] * 5}
    (bench.workdir / "a").write_bytes(b"x")
    result = outputs(bench, FileSpec(lfn="a", replicas=(Replica("mem://a"),)), attempts=2, budget_s=10.0)
    assert [receipt.lfn for receipt in result.receipts] == ["a"]
    assert bench.shelf.asked["mem://a"] == 6


def test_inputs_do_not_wait_for_a_storage_that_is_out_of_reach(bench):
    bench.shelf.trouble = {"mem://a": [PilotError(Code.COMMUNICATIONFAILURE, "refused")] * 9}
    result = inputs(bench, spec("a", b"x", Replica("mem://a")), attempts=2)
    assert codes(result) == [Code.COMMUNICATIONFAILURE]
    assert bench.shelf.asked == {"mem://a": 2}


def test_how_far_a_file_has_come_is_told_while_it_moves(bench):
    seen, data = [], control(bench)

    def fetch(replica, target, file, moving):
        moving.progress(3)
        seen.append(data.under_way.told())
        target.write_bytes(b"abcdef")
        return Moved(size_b=6)

    bench.shelf.fetch = fetch
    file = FileSpec(lfn="a", size_b=6, replicas=(bench.shelf.put("mem://a", b""),))
    assert not data.stage_in(bench.task(Job(id="1", inputs=(file,)))).errors
    ((moving,),) = (told["1"] for told in seen)
    assert (moving["name"], moving["direction"], moving["done_b"], moving["size_b"]) == ("a", "in", 3, 6)
    assert data.under_way.told() == {}


def test_one_failing_input_leaves_the_others_alone(bench):
    """data:A-09"""
    good = spec("good", b"x", bench.shelf.put("mem://x", b"x"))
    result = inputs(bench, FileSpec(lfn="nowhere"), good)
    assert codes(result) == [Code.NOREPLICAS]
    assert "nowhere" in result.errors[0].detail
    assert [receipt.lfn for receipt in result.receipts] == ["good"]
    assert bench.names() == ["good"]


def test_a_place_that_no_tool_reaches_is_named(bench):
    result = inputs(bench, spec("a", b"x", Replica("root://host//a?authz=abcdefgh")))
    assert codes(result) == [Code.NOREPLICAS]
    assert "root://host//a" in result.errors[0].detail
    assert "abcdefgh" not in result.errors[0].detail


def test_a_defect_of_a_tool_is_told_with_its_distribution(bench):
    bench.shelf.put("mem://a", b"x")
    bench.shelf.trouble["mem://a"] = [ZeroDivisionError("oops")] * 9
    plugins = {"shelf": PluginRef("shelf", "pilot-shelf", "3.1")}
    data = control(bench, plugins=plugins)
    result = data.stage_in(bench.task(Job(id="1", inputs=(spec("a", b"x", Replica("mem://a")),))))
    assert codes(result) == [Code.STAGEINFAILED]
    assert "plugin shelf (pilot-shelf 3.1) failed in fetch: ZeroDivisionError: oops" in result.errors[0].detail


def test_a_tool_that_only_stores_is_not_asked_to_fetch(bench):
    class Only(Stores):
        name, schemes = "only", ("mem",)

        def store(self, source, replica, file, moving):
            raise AssertionError

    file = spec("a", b"x", bench.shelf.put("mem://a", b"x"))
    assert inputs(bench, file, tools=[Only(bench.settings()), bench.shelf]).receipts[0].tool == "shelf"
    assert bench.shelf.asked == {"mem://a": 1}
    assert "only" not in str(
        inputs(bench, spec("b", b"x", Replica("mem://b")), tools=[Only(bench.settings()), bench.shelf]).errors
    )


def test_a_tool_that_answers_nothing_is_told(bench, monkeypatch):
    monkeypatch.setattr(type(bench.shelf), "fetch", lambda *_: None)
    result = inputs(bench, spec("a", b"x", Replica("mem://a")))
    assert "plugin shelf failed in fetch: TypeError: fetch returns Moved, not None" in result.errors[0].detail


def test_without_a_tool_it_is_said_what_to_install(bench):
    """data:A-17"""
    with pytest.raises(PilotError, match="pip install pilot-copytools") as raised:
        inputs(bench, FileSpec(lfn="a", replicas=(Replica("/a"),)), tools=[])
    assert raised.value.code is Code.UNKNOWNCOPYTOOL
    assert inputs(bench, tools=[]).errors == ()


def test_too_little_room_is_seen_before_a_byte_moves(bench):
    """data:B-11, data:B-12"""
    place = bench.shelf.put("mem://a", b"x")
    with pytest.raises(PilotError) as raised:
        inputs(bench, FileSpec(lfn="a", size_b=2**62, replicas=(place,)))
    assert raised.value.code is Code.NOLOCALSPACE
    bench.queue = Queue(name="q", disk_b=1000)
    with pytest.raises(PilotError) as raised:
        inputs(bench, FileSpec(lfn="a", size_b=1001, replicas=(place,)))
    assert raised.value.code is Code.SIZETOOLARGE
    assert bench.shelf.asked == {}


@pytest.mark.parametrize(
    ("told", "disk_b", "size_b", "fits"),
    [
        (1, None, 10**6, True),
        (1, 10**9, 10**6 + 1, False),
        (-1, 1000, 1001, True),
        (0, 1000, 1001, False),
        (0, None, 10**7, True),
    ],
)
def test_the_queue_may_say_how_much_comes_in(bench, told, disk_b, size_b, fits):
    """data:B-12"""
    bench.queue = Queue(name="q", disk_b=disk_b, params={"maxinputsize": told})
    result = inputs_of(bench, FileSpec(lfn="a", size_b=size_b, replicas=(bench.shelf.put("mem://a", b"x"),)))
    assert (result is Code.SIZETOOLARGE) is not fits
    assert bool(bench.shelf.asked) is fits


def inputs_of(bench, file):
    try:
        return codes(inputs(bench, file))
    except PilotError as error:
        return error.code


def test_a_disk_that_fills_up_stops_the_rest(bench):
    """data:B-10"""
    places = [bench.shelf.put(f"mem://{number}", b"x") for number in range(3)]
    bench.shelf.trouble["mem://0"] = [OSError(errno.ENOSPC, "No space left on device")]
    files = [FileSpec(lfn=f"f{number}", replicas=(place,)) for number, place in enumerate(places)]
    result = inputs(bench, *files, parallel=1)
    assert codes(result) == [Code.NOLOCALSPACE] * 3
    assert bench.shelf.asked == {"mem://0": 1}
    assert bench.names() == []


@pytest.mark.parametrize("name", ["../../x", "/etc/x", "a/b", "..", ".", "", "-rf", "a\nb", "a\0b", "é" * 128])
def test_a_name_that_leaves_or_deceives_is_refused(bench, name):
    """data:I-01, data:I-02, data:I-07"""
    bench.shelf.put("mem://a", b"x")
    with pytest.raises(PilotError) as raised:
        inputs(bench, FileSpec(lfn=name, replicas=(Replica("mem://a"),)))
    assert raised.value.code is (Code.LFNTOOLONG if len(name) > 100 else Code.BADOUTPUTFILENAME)
    result = outputs(bench, FileSpec(lfn=name, replicas=(Replica("mem://out"),)), FileSpec(lfn="fine", optional=True))
    assert codes(result) == [raised.value.code]
    assert sorted(os.listdir(bench.root)) == ["PanDA_Pilot-1", "PanDA_Pilot-1.control"]
    assert bench.shelf.asked == {}


def test_two_inputs_of_one_name_are_refused(bench):
    """data:A-12"""
    with pytest.raises(PilotError, match="two files of the job have this name"):
        inputs(bench, FileSpec(lfn="a", scope="s1"), FileSpec(lfn="a", scope="s2"))


def test_a_link_in_the_way_is_replaced_and_not_followed(bench):
    outside = bench.root / "outside"
    outside.write_text("keep")
    (bench.workdir / "a").symlink_to(outside)
    assert inputs(bench, spec("a", b"x", bench.shelf.put("mem://a", b"x"))).errors == ()
    assert outside.read_text() == "keep"
    assert (bench.workdir / "a").read_bytes() == b"x"


def test_never_more_at_a_time_than_allowed(bench):
    """data:B-27"""
    gate, lanes = threading.Barrier(3), set()

    def meet():
        lanes.add(threading.current_thread().name)
        gate.wait(10)

    files = []
    for number in range(9):
        files.append(spec(f"f{number}", b"x", bench.shelf.put(f"mem://{number}", b"x")))
        bench.shelf.trouble[f"mem://{number}"] = [meet]
    assert inputs(bench, *files, parallel=3).errors == ()
    assert lanes == {"stage-in-0", "stage-in-1", "stage-in-2"}
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("stage-in")]


def test_a_cancelled_stage_in_begins_nothing_more(bench):
    """data:B-28"""
    files = [spec(f"f{number}", b"x", bench.shelf.put(f"mem://{number}", b"x")) for number in range(5)]
    bench.shelf.trouble["mem://1"] = [bench.cancel.set]
    result = inputs(bench, *files, parallel=1)
    assert [receipt.lfn for receipt in result.receipts] == bench.names() == ["f0"]
    assert codes(result) == [Code.STAGEINFAILED] * 4
    assert bench.shelf.asked == {"mem://0": 1, "mem://1": 1}


def test_a_cancellation_ends_the_pause_before_another_try(bench):
    bench.shelf.trouble["mem://a"] = [PilotError(Code.SERVICENOTAVAILABLE, "503")] * 9
    threading.Timer(0.2, bench.cancel.set).start()
    data = DataControl(bench.hooks(), [bench.shelf], Redactor(), pause_s=60.0)
    began = time.monotonic()
    result = data.stage_in(bench.task(Job(id="1", inputs=(spec("a", b"x", Replica("mem://a")),))))
    assert time.monotonic() - began < 5
    assert "given up" in result.errors[0].detail


def test_the_budget_of_the_step_ends_the_tries(bench):
    bench.shelf.put("mem://a", b"wrong")
    bench.shelf.trouble["mem://a"] = [lambda: time.sleep(0.3)] * 9
    result = inputs(bench, spec("a", b"right", Replica("mem://a")), budget_s=0.2, attempts=5)
    assert codes(result) == [Code.STAGEINTIMEOUT]
    assert "shelf mem://a" in result.errors[0].detail
    assert bench.shelf.asked == {"mem://a": 1}
    late = inputs(bench, spec("a", b"right", Replica("mem://a")), budget_s=0.0)
    assert codes(late) == [Code.STAGEINTIMEOUT]


def test_how_long_one_file_may_take():
    """data:B-09"""
    assert [budget_s(size) for size in (0, 10**6, 10**9, 10**11, None)] == [400, 401, 1400, 10800, 10800]


def test_a_limit_ends_by_itself():
    limit = Limit(CancelFlag(), 0.05)
    assert not limit.is_set()
    assert limit.wait(5.0)
    assert limit.is_over()


# --- plugins' words about inputs ------------------------------------------------------------------------------------


def test_plugins_name_places_and_inputs_to_skip(bench):
    found = bench.shelf.put("mem://found", b"x")
    hooks = bench.hooks(
        pilot_inputs_replicas=lambda: {"a": [found]},
        pilot_inputs_skip=lambda: ["b"],
    )
    assert inputs(bench, spec("a", b"x", Replica("mem://old")), FileSpec(lfn="b"), hooks=hooks).errors == ()
    assert bench.names() == ["a"]
    assert bench.shelf.asked == {"mem://found": 1}


def test_a_plugin_says_how_the_payload_finds_its_inputs(bench):
    file = spec("run7.b12.lime", b"x", bench.shelf.put("mem://a", b"x"))
    named = evolve(file, path="gauge/config.lime")
    done = inputs(bench, file, hooks=bench.hooks(pilot_inputs_select=lambda: [named]))
    assert (done.errors, done.inputs) == ((), (named,))
    assert (bench.workdir / "gauge/config.lime").read_bytes() == b"x"
    assert bench.names() == ["gauge"]


@pytest.mark.parametrize("path", ["../evil", "/tmp/evil", "link/evil"])
def test_no_input_comes_to_a_place_outside(bench, path):
    (bench.workdir / "link").symlink_to(bench.root)
    file = spec("a", b"x", bench.shelf.put("mem://a", b"x"))
    done = inputs(bench, file, hooks=bench.hooks(pilot_inputs_select=lambda: [evolve(file, path=path)]))
    assert [error.code for error in done.errors] == [Code.STAGEINFAILED]
    assert sorted(os.listdir(bench.root)) == ["PanDA_Pilot-1", "PanDA_Pilot-1.control"]


def test_two_inputs_with_one_place_are_refused(bench):
    files = [spec(name, b"x", bench.shelf.put(f"mem://{name}", b"x")) for name in "ab"]
    hooks = bench.hooks(pilot_inputs_select=lambda: [evolve(file, path="c") for file in files])
    with pytest.raises(PilotError, match="b: a has its place in the job's directory, c"):
        inputs(bench, *files, hooks=hooks)


def test_plugins_write_beside_the_inputs(bench):
    hooks = bench.hooks(pilot_inputs_staged=lambda: {"catalogue/pool.xml": "<é/>"})
    assert inputs(bench, hooks=hooks).errors == ()
    assert (bench.workdir / "catalogue/pool.xml").read_text() == "<é/>"


@pytest.mark.parametrize("path", ["../evil", "/tmp/evil", "a/../../evil", "link/evil", "in.root", "./in.root"])
def test_plugins_write_nowhere_else(bench, path):
    (bench.workdir / "link").symlink_to(bench.root)
    file = spec("in.root", b"x", bench.shelf.put("mem://a", b"x"))
    with pytest.raises(PilotError, match="plugin tester") as raised:
        inputs(bench, file, hooks=bench.hooks(pilot_inputs_staged=lambda: {path: "bad"}))
    assert raised.value.code is Code.PLUGINFAILED
    assert (bench.workdir / "in.root").read_bytes() == b"x"
    assert sorted(os.listdir(bench.root)) == ["PanDA_Pilot-1", "PanDA_Pilot-1.control"]


# --- the cache ------------------------------------------------------------------------------------------------------


def test_a_second_job_takes_the_input_from_the_cache(bench):
    """data:B-25"""
    cache = bench.root / "cache"
    file = spec("a", b"content", bench.shelf.put("mem://a", b"content"))
    assert inputs(bench, file, cache=cache).receipts[0].tool == "shelf"
    (bench.workdir / "a").unlink()
    again = inputs(bench, file, cache=cache)
    assert again.receipts[0].tool == "cache"
    assert (bench.workdir / "a").read_bytes() == b"content"
    assert bench.shelf.asked == {"mem://a": 1}


def test_what_is_spoilt_in_the_cache_is_fetched_anew(bench):
    """data:B-26"""
    cache = bench.root / "cache"
    file = spec("a", b"content", bench.shelf.put("mem://a", b"content"))
    inputs(bench, file, cache=cache)
    spoil(cache)
    (bench.workdir / "a").unlink()
    assert inputs(bench, file, cache=cache).errors == ()
    assert (bench.workdir / "a").read_bytes() == b"content"
    (bench.workdir / "a").unlink()
    assert inputs(bench, file, cache=cache).receipts[0].tool == "cache"


def spoil(cache):
    """Change what an entry holds, and nothing by which that could be seen."""
    (entry,) = (cache / "entries").iterdir()
    about = entry.stat()
    entry.chmod(0o600)
    entry.write_bytes(b"X" * about.st_size)
    os.utime(entry, ns=(about.st_atime_ns, about.st_mtime_ns))


def test_what_is_spoilt_is_filled_in_again_and_given_to_nobody(bench):
    """data:B-26 (from the cache alone)"""
    cache = bench.root / "cache"
    file = spec("a", b"content", bench.shelf.put("mem://a", b"content"))
    task = bench.task(Job(id="1", inputs=(file,)), cache=cache)
    control(bench).fill_cache(task)
    spoil(cache)
    assert codes(control(bench).take_inputs(task)) == [Code.GETADMISMATCH]
    assert bench.names() == []
    assert codes(control(bench).take_inputs(task)) == [Code.MISSINGINPUTFILE]
    assert control(bench).fill_cache(task).errors == ()
    spoil(cache)
    assert control(bench).fill_cache(task).errors == ()
    assert control(bench).take_inputs(task).errors == ()
    assert (bench.workdir / "a").read_bytes() == b"content"


def test_what_spoils_every_time_is_fetched_past_the_cache(bench, monkeypatch):
    cache = bench.root / "cache"
    file = spec("a", b"content", bench.shelf.put("mem://a", b"content"))
    inputs(bench, file, cache=cache)
    spoil(cache)
    monkeypatch.setattr("pilot_core.io.cache.Cache.drop", lambda *_: None)
    (bench.workdir / "a").unlink()
    assert inputs(bench, file, cache=cache).receipts[0].tool == "shelf"
    assert (bench.workdir / "a").read_bytes() == b"content"


def test_a_cache_that_cannot_keep_all_says_what_it_lacks(bench):
    cache = bench.root / "cache"
    files = [spec(name, name.encode() * 600, bench.shelf.put(f"mem://{name}", name.encode() * 600)) for name in "ab"]
    large = spec("c", b"c" * 2000, bench.shelf.put("mem://c", b"c" * 2000))
    task = bench.task(Job(id="1", inputs=(*files, large)), cache=cache, cache_b=1000, parallel=1)
    result = control(bench).fill_cache(task)
    assert codes(result) == [Code.NOLOCALSPACE] * 2
    assert ["data.cache_b is 1000 B" in error.detail for error in result.errors] == [True, True]
    assert [receipt.lfn for receipt in result.receipts] == ["b"]


def test_a_link_is_used_and_not_cached(bench, tmp_path):
    class Links(Fetches):
        name, schemes = "links", ("mem",)

        def fetch(self, replica, target, file, moving):
            target.symlink_to(tmp_path / "somewhere")
            return Moved(size_b=1)

    (tmp_path / "somewhere").write_bytes(b"x")
    result = inputs(bench, spec("a", b"x", Replica("mem://a")), tools=[Links(bench.settings())], cache=tmp_path / "c")
    assert result.errors == ()
    assert (bench.workdir / "a").is_symlink()
    assert list((tmp_path / "c/entries").iterdir()) == []


def test_a_cache_is_filled_and_then_used_alone(bench):
    cache = bench.root / "cache"
    files = (
        spec("a", b"one", bench.shelf.put("mem://a", b"one")),
        FileSpec(lfn="b", replicas=(bench.shelf.put("mem://b", b"two"),)),
    )
    task = bench.task(Job(id="1", inputs=files), cache=cache)
    assert control(bench).fill_cache(task).errors == ()
    assert bench.names() == []
    missing = spec("c", b"three", Replica("mem://c"))
    task = bench.task(Job(id="1", inputs=(*files, missing)), cache=cache)
    result = control(bench, tools=[]).take_inputs(task)
    assert codes(result) == [Code.MISSINGINPUTFILE]
    assert f"c is not in the cache {cache}" in result.errors[0].detail
    assert bench.names() == ["a", "b"]


@pytest.mark.parametrize("work", ["fill_cache", "take_inputs"])
def test_without_a_cache_its_works_say_which_option(bench, work):
    with pytest.raises(PilotError, match=r"data\.cache"):
        getattr(control(bench), work)(bench.task(Job(id="1")))


# --- outputs --------------------------------------------------------------------------------------------------------


def test_outputs_are_stored_summed_and_told_at_once(bench):
    """data:D-01"""
    make(bench, a=b"one", b=b"two")
    result = outputs(
        bench,
        out("a", guid="G"),
        FileSpec(lfn="b", checksum=Checksum("md5", "0" * 32), replicas=(Replica("mem://out/b"),)),
    )
    assert result.errors == ()
    assert bench.shelf.held == {"mem://out/a": b"one", "mem://out/b": b"two"}
    by_name = {receipt.lfn: receipt for receipt in bench.told}
    assert by_name["a"].checksum == spec("a", b"one").checksum
    assert by_name["a"].guid == "G"
    assert by_name["b"].checksum == spec("b", b"two", kind="md5").checksum
    assert set(result.receipts) == set(bench.told)


def test_a_missing_output_stops_no_other(bench):
    """pilot:I01, pilot:I02, pilot:I03, pilot:I04, data:D-07"""
    make(bench, good=b"x", refused=b"y", **{"aa.root": b"z"})
    bench.shelf.trouble["mem://out/refused"] = [PilotError(Code.STAGEOUTFAILED, "no")] * 9
    result = outputs(
        bench, out("a.root"), out("maybe", optional=True), out("refused"), out("good"), out("aa.root", optional=True)
    )
    assert codes(result) == [Code.MISSINGOUTPUTFILE, Code.STAGEOUTFAILED]
    assert "a.root" in result.errors[0].detail
    assert "shelf mem://out/refused: no" in result.errors[1].detail
    assert sorted(receipt.lfn for receipt in bench.told) == ["aa.root", "good"]


def test_an_empty_output_is_an_error(bench):
    """pilot:E12, data:D-09"""
    make(bench, empty=b"", full=b"x")
    result = outputs(bench, out("empty"), out("full"))
    assert codes(result) == [Code.ZEROFILESIZE]
    assert [receipt.lfn for receipt in bench.told] == ["full"]


def test_what_is_stored_is_not_stored_again(bench):
    """pilot:H06"""
    make(bench, a=b"one", b=b"two")
    before = Receipt(lfn="a", direction="out", url="mem://out/a", tool="shelf", size_b=3)
    assert outputs(bench, out("a"), out("b"), receipts=(before,)).errors == ()
    assert bench.shelf.asked == {"mem://out/b": 1}


def test_after_a_failure_only_marked_outputs_are_stored(bench):
    make(bench, plain=b"x", marked=b"y", empty=b"")
    failed = (PilotError(Code.PAYLOADEXECUTIONFAILURE, "exit 1"),)
    wanted = (out("plain"), out("marked", always=True), out("missing", always=True), out("empty", always=True))
    result = outputs(bench, *wanted, errors=failed)
    assert result.errors == ()
    assert [receipt.lfn for receipt in bench.told] == ["marked"]


def test_an_output_that_is_a_link_is_not_stored(bench):
    (bench.root / "secret").write_text("secret")
    (bench.workdir / "a").symlink_to(bench.root / "secret")
    os.mkfifo(bench.workdir / "b")
    assert codes(outputs(bench, out("a"), out("b"))) == [Code.MISSINGOUTPUTFILE] * 2
    assert bench.shelf.held == {}


@pytest.mark.parametrize(("kind", "code"), [("adler32", Code.PUTADMISMATCH), ("md5", Code.PUTMD5MISMATCH)])
def test_what_arrived_otherwise_is_not_counted_as_stored(bench, kind, code, monkeypatch):
    """data:D-10"""
    make(bench, a=b"one")
    true = type(bench.shelf).store

    def store(self, *given):
        from attrs import evolve

        return evolve(true(self, *given), checksum=spec("a", b"two", kind=kind).checksum)

    monkeypatch.setattr(type(bench.shelf), "store", store)
    output = FileSpec(lfn="a", checksum=Checksum(kind, "0" * 8), replicas=(Replica("mem://out/a"),))
    assert codes(outputs(bench, output)) == [code]
    assert bench.told == []


@pytest.mark.parametrize("has_tool", [True, False])
def test_outputs_without_a_place_or_a_tool_stay_and_it_is_said(bench, has_tool):
    make(bench, a=b"x", b=b"y")
    files = (FileSpec(lfn="a"), FileSpec(lfn="b")) if has_tool else (out("a"), out("b"))
    result = outputs(bench, *files, tools=[bench.shelf] if has_tool else [])
    assert result.errors == ()
    assert result.notes == {"left_in_workdir": ["a", "b"]}
    assert bench.told == []


def test_outputs_without_a_place_go_to_the_output_directory(bench):
    make(bench, **{"a b": b"x"})
    assert outputs(bench, FileSpec(lfn="a b"), output_dir="mem://dir/").errors == ()
    assert bench.shelf.held == {"mem://dir/a%20b": b"x"}


def test_a_place_that_no_tool_reaches_is_an_error(bench):
    """data:D-05"""
    make(bench, a=b"x")
    assert codes(outputs(bench, FileSpec(lfn="a", replicas=(Replica("root://h//a"),)))) == [Code.NOSTORAGEPROTOCOL]


def test_plugins_select_outputs_and_their_places(bench):
    """data:D-16"""
    make(bench, out_1=b"1", out_2=b"2")
    chosen = [FileSpec(lfn="out_1"), FileSpec(lfn="out_2")]
    hooks = bench.hooks(
        pilot_outputs_select=lambda: chosen,
        pilot_outputs_replicas=lambda files: {file.lfn: [Replica(f"mem://p/{file.lfn}")] for file in files},
    )
    result = outputs(bench, FileSpec(lfn="out_*"), hooks=hooks)
    assert result.errors == ()
    assert result.outputs == tuple(chosen)
    assert set(bench.shelf.held) == {"mem://p/out_1", "mem://p/out_2"}


def test_places_of_outputs_are_signed_whoever_named_them(bench):
    """data:A-13 (on the way out)"""
    make(bench, a=b"1", b=b"2", c=b"3", d=b"4")
    asked, gone = [], PilotError(Code.RUCIOSERVICEUNAVAILABLE, "c: nobody signs")

    def sign(replicas):
        asked.append({name: [place.url for place in places] for name, places in replicas.items()})
        return {"a": [Replica("mem://a?sig=1", signed=True)], "b": [Replica("mem://b?sig=2", signed=True)], "c": gone}

    hooks = bench.hooks(pilot_outputs_replicas=lambda: {"b": [Replica("mem://b")]}, pilot_outputs_sign=sign)
    result = outputs(bench, out("a"), FileSpec(lfn="b"), out("c"), FileSpec(lfn="d"), hooks=hooks)
    assert asked == [{"a": ["mem://out/a"], "b": ["mem://b"], "c": ["mem://out/c"]}]
    assert bench.shelf.held == {"mem://a?sig=1": b"1", "mem://b?sig=2": b"2"}
    assert (codes(result), result.notes) == ([Code.RUCIOSERVICEUNAVAILABLE], {"left_in_workdir": ["d"]})
    assert [each.url for each in result.receipts] == ["mem://a?***", "mem://b?***"]


def test_an_output_is_stored_under_another_name_than_it_has_on_the_disk(bench):
    (bench.workdir / "out").mkdir()
    make(bench, **{"out/hits.root": b"h"})
    chosen = FileSpec(lfn="7.hits.root", path="out/hits.root", replicas=(Replica("mem://p/7.hits.root"),))
    done = outputs(bench, hooks=bench.hooks(pilot_outputs_select=lambda: [chosen]))
    assert (done.errors, [each.lfn for each in done.receipts]) == ((), ["7.hits.root"])
    assert set(bench.shelf.held) == {"mem://p/7.hits.root"}
    gone = outputs(bench, hooks=bench.hooks(pilot_outputs_select=lambda: [evolve(chosen, path="out/none")]))
    assert codes(gone) == [Code.MISSINGOUTPUTFILE]


def test_secrets_in_addresses_are_not_told(bench):
    """data:A-13"""
    url = "mem://host/a?sig=s3cr3tvalue"
    make(bench, a=b"x", b=b"y")
    bench.shelf.trouble["mem://host/b?sig=s3cr3tvalue"] = [PilotError(Code.STAGEOUTFAILED, "at ?sig=s3cr3tvalue")] * 9
    files = [FileSpec(lfn=name, replicas=(Replica(url.replace("/a", f"/{name}")),)) for name in "ab"]
    result = outputs(bench, *files)
    assert url in bench.shelf.held
    assert len(result.errors) == len(bench.told) == 1
    assert "s3cr3tvalue" not in f"{result.errors} {bench.told}"


# --- the log --------------------------------------------------------------------------------------------------------


def make_log(bench):
    (bench.control / "archive").mkdir()
    (bench.control / "archive/log.tgz").write_bytes(b"archive")


def test_the_log_is_stored_from_its_folder_in_the_control_directory(bench):
    make_log(bench)
    job = Job(id="1", log=out("log.tgz"), errors=(PilotError(Code.PAYLOADEXECUTIONFAILURE),))
    assert control(bench).store_log(bench.task(job)).errors == ()
    assert [receipt.lfn for receipt in bench.told] == ["log.tgz"]


def test_a_log_that_was_not_made_or_has_no_place(bench):
    job = Job(id="1", log=out("log.tgz"))
    assert control(bench).store_log(bench.task(Job(id="1"))).notes == {}
    assert control(bench).store_log(bench.task(job)).errors == ()
    make_log(bench)
    assert control(bench, tools=[]).store_log(bench.task(job)).notes == {"left_in_control": ["log.tgz"]}


def test_a_log_that_cannot_be_stored_is_tried_again_and_told(bench):
    """pilot:I06"""
    make_log(bench)
    bench.shelf.trouble["mem://out/log.tgz"] = [PilotError(Code.STAGEOUTFAILED, "no")] * 9
    assert codes(control(bench).store_log(bench.task(Job(id="1", log=out("log.tgz"))))) == [Code.STAGEOUTFAILED]
    assert bench.shelf.asked == {"mem://out/log.tgz": 2}


# --- every mixture --------------------------------------------------------------------------------------------------

TROUBLES = st.sampled_from(["", "wrong", "late", "lost", "defect"])


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    troubles=st.lists(st.lists(TROUBLES, min_size=1, max_size=3), min_size=1, max_size=4), parallel=st.integers(1, 3)
)
def test_each_input_arrives_if_any_of_its_places_is_good(bench, tmp_path_factory, troubles, parallel):
    bench = type(bench)(tmp_path_factory.mktemp("mix"))
    files = []
    for number, places in enumerate(troubles):
        replicas = []
        for place, trouble in enumerate(places):
            url = f"mem://{number}/{place}"
            replicas.append(bench.shelf.put(url, b"bad" if trouble == "wrong" else b"content"))
            raised = {"late": [PilotError(Code.SERVICENOTAVAILABLE)], "lost": [PilotError(Code.MISSINGINPUTFILE)] * 9}
            bench.shelf.trouble[url] = {**raised, "defect": [KeyError("x")] * 9}.get(trouble, [])
        files.append(spec(f"f{number}", b"content", *replicas))
    result = inputs(bench, *files, parallel=parallel)
    good = [f"f{number}" for number, places in enumerate(troubles) if {"", "late"} & set(places)]
    assert [receipt.lfn for receipt in result.receipts] == good == bench.names()
    assert len(result.errors) == len(files) - len(good)
    for error in result.errors:
        assert error.detail.partition(":")[0] not in good
    assert all((bench.workdir / name).read_bytes() == b"content" for name in good)


def test_stored_files_are_told_even_if_the_step_never_ends(bench):
    """Receipts go out while other transfers still run."""
    make(bench, a=b"one", b=b"two")
    gate = threading.Event()
    bench.shelf.trouble["mem://out/b"] = [lambda: gate.wait(10)]
    worker = threading.Thread(target=outputs, args=[bench, out("a"), out("b")])
    worker.start()
    end = time.monotonic() + 5
    while not bench.told:
        assert time.monotonic() < end
        time.sleep(0.01)
    assert [receipt.lfn for receipt in bench.told] == ["a"]
    gate.set()
    worker.join(10)


def test_a_job_directory_that_is_gone_is_an_error_and_no_traceback(bench):
    Path(bench.workdir).rmdir()
    with pytest.raises(PilotError) as raised:
        outputs(bench, out("a"))
    assert raised.value.code is Code.FILEHANDLINGFAILURE
