"""Outputs on their way: what the journal knows before they leave, and what a pilot does that finds it."""

from __future__ import annotations

import pytest

from pilot_core.errors import Code, PilotError
from pilot_core.machine import events as e
from pilot_core.machine.course import Course, leaving
from pilot_core.model.files import FileSpec, Leaving, Receipt, Replica
from pilot_core.model.job import Job

from .moving import codes, make, out, outputs, spec

LATE = PilotError(Code.SERVICENOTAVAILABLE, "503")


def two_places(name):
    return FileSpec(lfn=name, replicas=(Replica("mem://1"), Replica("mem://2")))


def told(bench):
    """The journal in short: what was told of which file."""
    return [(each.file.lfn, each.place) if isinstance(each, Leaving) else each.lfn for each in bench.journal]


def test_sizes_and_sums_are_known_before_the_first_byte_leaves(bench):
    make(bench, a=b"one", b=b"two")
    bench.shelf.trouble = {f"mem://out/{name}": [lambda: seen.append(list(bench.journal))] for name in "ab"}
    seen: list[list[object]] = []
    assert outputs(bench, out("a"), out("b"), parallel=1).errors == ()
    first = seen[0]
    assert [(each.file.lfn, each.file.size_b, each.file.checksum) for each in first] == [
        (name, 3, spec(name, content).checksum) for name, content in (("a", b"one"), ("b", b"two"))
    ]
    assert told(bench) == [("a", "mem://out/a"), ("b", "mem://out/b"), "a", "b"]


def test_another_place_is_known_before_anything_is_sent_there(bench):
    make(bench, a=b"one")
    bench.shelf.trouble = {"mem://1": [LATE], "mem://2": [lambda: seen.append(told(bench))]}
    seen: list[object] = []
    result = outputs(bench, two_places("a"))
    assert [receipt.url for receipt in result.receipts] == ["mem://2"]
    assert seen == [[("a", "mem://1"), ("a", "mem://2")]]


def test_a_file_is_first_sent_again_where_it_may_lie(bench):
    """The pilot died after it had sent the file to its second place."""
    make(bench, a=b"one")
    before = {"a": Leaving(file=spec("a", b"one"), place="mem://2")}
    assert outputs(bench, two_places("a"), leaving=before).receipts[0].url == "mem://2"
    assert bench.shelf.asked == {"mem://2": 1}
    assert told(bench) == ["a"]


def test_where_it_may_lie_is_tried_in_all_rounds_before_another_place(bench):
    make(bench, a=b"one")
    before = {"a": Leaving(file=spec("a", b"one"), place="mem://2")}
    bench.shelf.trouble = {"mem://2": [LATE] * 9}
    assert outputs(bench, two_places("a"), leaving=before, attempts=3).receipts[0].url == "mem://1"
    assert bench.shelf.asked == {"mem://2": 3, "mem://1": 1}


def test_a_place_that_nobody_names_any_more_is_asked_all_the_same(bench):
    make(bench, a=b"one")
    before = {"a": Leaving(file=spec("a", b"one"), place="mem://old")}
    assert outputs(bench, two_places("a"), leaving=before).receipts[0].url == "mem://old"


def test_what_became_another_file_begins_anew(bench):
    make(bench, a=b"one, and more")
    before = {"a": Leaving(file=spec("a", b"one"), place="mem://2")}
    assert outputs(bench, two_places("a"), leaving=before).receipts[0].url == "mem://1"


def test_a_signature_is_not_in_the_journal(bench):
    make(bench, a=b"one")
    place = Replica("https://h/a?X-Sig=verysecret", signed=True)
    bench.shelf.schemes = ("https",)
    result = outputs(bench, FileSpec(lfn="a", replicas=(place,)))
    assert place.url in bench.shelf.held
    assert "verysecret" not in f"{bench.journal} {result}"
    assert result.receipts[0].url == "https://h/a?***"


def test_the_machine_keeps_what_was_told_last():
    course = Course(job=Job(id="1"))
    for place in ("mem://1", "mem://2"):
        files = (Leaving(file=FileSpec(lfn="a"), place=place), Leaving(file=FileSpec(lfn="b"), place="mem://b"))
        course, commands = leaving(course, e.FilesLeaving(job="1", files=files))
        assert commands == ()
    assert {name: each.place for name, each in course.job.leaving.items()} == {"a": "mem://2", "b": "mem://b"}


# --- a lost answer --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [PilotError(Code.COMMUNICATIONFAILURE, "cut off"), OSError("reset"), LATE])
def test_a_file_whose_answer_was_lost_is_found_where_it_lies(bench, crate, error):
    """data:D-11 (by looking)"""
    make(bench, a=b"one")
    crate.trouble = {"mem://1": [lambda: crate.put("mem://1", b"one"), error]}

    def store(source, replica, file, moving):
        crate.asked[replica.url] += 1
        crate.held[replica.url] = b"one"
        raise error

    crate.store = store
    result = outputs(bench, two_places("a"), tools=[crate])
    assert [receipt.url for receipt in result.receipts] == ["mem://1"]
    assert crate.asked == {"mem://1": 1}


@pytest.mark.parametrize("lies", [None, b"on"])
def test_what_does_not_lie_there_is_stored_elsewhere(bench, crate, lies):
    make(bench, a=b"one")
    if lies:
        crate.held["mem://1"] = lies
    crate.trouble = {"mem://1": [LATE]}
    assert outputs(bench, two_places("a"), tools=[crate]).receipts[0].url == "mem://2"


# --- registering ----------------------------------------------------------------------------------------------------


class Catalogue:
    """Knows files by name, and fails as often as it is told to."""

    def __init__(self, **fails):
        self.fails = {name: list(errors) for name, errors in fails.items()}
        self.asked = []
        self.known = {}

    def register(self, receipts):
        self.asked.append([receipt.lfn for receipt in receipts])
        errors = {name: errors.pop(0) for name, errors in self.fails.items() if errors and name in self.asked[-1]}
        self.known.update({receipt.lfn: receipt.url for receipt in receipts if receipt.lfn not in errors})
        return errors

    def hooks(self, bench):
        def pilot_outputs_register(job, receipts):
            return self.register(receipts)

        return bench.hooks(pilot_outputs_register=pilot_outputs_register)


def test_only_what_is_registered_is_stored(bench):
    make(bench, a=b"one", b=b"two")
    catalogue = Catalogue(b=[PilotError(Code.STAGEOUTFAILED, "no")] * 9)
    result = outputs(bench, out("a"), out("b"), hooks=catalogue.hooks(bench), parallel=1)
    assert [receipt.lfn for receipt in bench.told] == ["a"]
    assert codes(result) == [Code.STAGEOUTFAILED]
    assert catalogue.asked == [["a"], ["b"], ["b"]]
    assert bench.shelf.asked == {"mem://out/a": 1, "mem://out/b": 1}


def test_an_upload_is_known_before_it_is_registered(bench):
    make(bench, a=b"one")
    seen = []
    hooks = bench.hooks(pilot_outputs_register=lambda receipts: seen.append(bench.journal[-1].uploaded))
    assert outputs(bench, out("a"), hooks=hooks).errors == ()
    assert [each.url for each in seen] == ["mem://out/a"]
    assert isinstance(bench.journal[-1], Receipt)


def test_what_was_uploaded_is_only_registered(bench):
    """The pilot died between upload and registration."""
    make(bench, a=b"one")
    lies = Receipt(lfn="a", direction="out", url="mem://2", tool="shelf", size_b=3)
    before = {"a": Leaving(file=spec("a", b"one"), place="mem://2", uploaded=lies)}
    catalogue = Catalogue()
    result = outputs(bench, two_places("a"), leaving=before, hooks=catalogue.hooks(bench))
    assert result.receipts == (lies,)
    assert catalogue.known == {"a": "mem://2"}
    assert bench.shelf.asked == {}


def test_files_of_one_call_are_registered_together(bench, crate):
    make(bench, a=b"one", b=b"two")
    catalogue = Catalogue(a=[LATE])
    files = [FileSpec(lfn=name, replicas=(Replica(f"mem://h/{name}"),)) for name in "ab"]
    assert outputs(bench, *files, tools=[crate], hooks=catalogue.hooks(bench)).errors == ()
    assert [sorted(each) for each in catalogue.asked] == [["a", "b"], ["a"]]


def test_a_catalogue_with_a_defect_is_named(bench):
    make(bench, a=b"one")

    def register():
        raise ZeroDivisionError("oops")

    result = outputs(bench, out("a"), hooks=bench.hooks(pilot_outputs_register=register))
    assert bench.told == []
    assert "a: stored at mem://out/a, but not registered: plugin tester (pilot-tester 1.2)" in result.errors[0].detail
