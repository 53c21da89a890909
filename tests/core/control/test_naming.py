"""What a job and a catalogue say of an input, and which tools the queue wants for a place."""

from __future__ import annotations

import pytest
from tests.core.control.moving import codes, control, inputs, outputs, spec

from pilot_core.control.naming import in_agreement, transfer_of
from pilot_core.errors import Code, PilotError
from pilot_core.model.change import evolve
from pilot_core.model.files import Checksum, FileSpec, Replica
from pilot_core.model.job import Job

GOOD, MD5 = Checksum.parse("ad:1"), Checksum.parse("0" * 32)


def agreed(told, in_job=None, trusted="neither"):
    file, places = FileSpec(lfn="a", **(in_job or {})), [Replica("mem://b"), Replica("mem://a", **told)]
    return in_agreement(transfer_of(file, {"a": places}), trusted)


def test_a_catalogue_adds_what_the_job_does_not_say():
    """data:B-15"""
    assert agreed({"size_b": 5, "checksum": MD5}).file == FileSpec(lfn="a", size_b=5, checksum=MD5)
    assert agreed({"size_b": 0}).file.size_b == 0


@pytest.mark.parametrize(("told", "in_job", "code"), [
    ({"size_b": 1_000_001}, {"size_b": 1_000_000}, Code.GETADMISMATCH),
    ({"checksum": Checksum.parse("ad:2")}, {"checksum": GOOD}, Code.GETADMISMATCH),
    ({"checksum": Checksum.parse("1" * 32)}, {"checksum": MD5}, Code.GETMD5MISMATCH),
    ({"checksum": MD5}, {"checksum": GOOD}, None),
])  # fmt: skip
def test_what_they_say_differently_fails_unless_one_is_trusted(told, in_job, code, caplog):
    """data:A-15"""
    found = agreed(told, in_job)
    assert (found.error and found.error.code) == code
    assert not caplog.records
    (name, value), (_, own) = *told.items(), *in_job.items()
    assert getattr(agreed(told, in_job, "job").file, name) == own
    assert getattr(agreed(told, in_job, "catalogue").file, name) == value
    assert len(caplog.records) == (2 if code else 0)


def test_a_file_without_a_place_that_may_be_used_stops_no_other(bench):
    """data:A-09 data:A-12 (no file of two is lost)"""
    bad = PilotError(Code.NOREPLICAS, "s:b: of 1 places 1 on tape")
    bench.shelf.put("mem://a", b"a")
    hooks = bench.hooks(
        pilot_inputs_replicas=lambda job: {"a": [Replica("mem://a")], "b": [Replica("mem://b", tape=True)]},
        pilot_inputs_rank=lambda replicas: {"b": bad},
    )
    result = inputs(bench, spec("a", b"a"), spec("b", b"b"), hooks=hooks)
    assert (codes(result), [each.lfn for each in result.receipts]) == ([Code.NOREPLICAS], ["a"])
    assert (bench.names(), bench.shelf.asked["mem://b"]) == (["a"], 0)


def test_an_output_with_an_error_in_place_of_a_place_stops_no_other(bench):
    """data:D-04 data:F-05 (one without a storage)"""
    for name in "ab":
        (bench.workdir / name).write_bytes(b"x")
    gone = PilotError(Code.NOSTORAGE, "b: nothing is known of the storage X")
    hooks = bench.hooks(pilot_outputs_replicas=lambda files: {"a": [Replica("mem://out/a")], "b": gone})
    result = outputs(bench, FileSpec(lfn="a"), FileSpec(lfn="b"), hooks=hooks)
    assert (codes(result), [each.lfn for each in result.receipts], result.notes) == ([Code.NOSTORAGE], ["a"], {})
    assert (result.errors[0].detail, result.errors[0].facts) == (gone.detail, {"lfn": "b"})


# --- tools ---


@pytest.fixture
def three(bench):
    """Three tools that reach every place, under the names that a site chose them by."""
    tools = [type(bench.shelf)(name) for name in ("one", "two", "three")]
    for tool in tools:
        tool.put("mem://a", b"a")
    names = {"one": "one", "zwei": "two", "three": "three", "gone": "gone"}

    def fetched_by(*wanted):
        file = evolve(spec("a", b"a"), replicas=(Replica("mem://a", tools=wanted),))
        return inputs_by(bench, file, tools, names)

    return fetched_by


def inputs_by(bench, file, tools, names):
    (bench.workdir / "a").unlink(missing_ok=True)
    result = control(bench, tools=tools, names=names).stage_in(bench.task(Job(id="1", inputs=(file,))))
    return result.receipts[0].tool if result.receipts else result.errors[0].code


@pytest.mark.parametrize(("wanted", "tool"), [
    ((), "one"),
    (("zwei", "one"), "two"),
    (("gone", "three"), "three"),
    (("never-chosen",), "one"),
    (("gone",), Code.NOREPLICAS),
])  # fmt: skip
def test_a_place_is_reached_by_the_tools_that_the_queue_wants_there(three, wanted, tool):
    """data:B-21 (of those that the queue lists)"""
    assert three(*wanted) == tool
