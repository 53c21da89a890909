"""Inputs that are read where they lie, inputs that are there already, and what is told of every try."""

from __future__ import annotations

from attrs import evolve

from pilot_core.errors import Code, PilotError
from pilot_core.model.files import FileSpec, Replica
from pilot_core.model.queue import Queue
from pilot_core.model.transfers import PHRASES, state_of, told_error

from .moving import codes, inputs, make, out, outputs, spec

LATE = PilotError(Code.SERVICENOTAVAILABLE, "503")


def hearing(bench, **more):
    heard = []
    return heard, bench.hooks(pilot_transfer_tried=lambda attempt: heard.append(attempt), **more)  # noqa: PLW0108


def direct(name, content, *replicas, **more):
    return spec(name, content, *(evolve(each, direct=True) for each in replicas), direct=True, **more)


def test_a_file_that_can_be_read_where_it_lies_is_not_copied(bench, crate):
    """data:C-01"""
    staged = []
    heard, hooks = hearing(bench, pilot_inputs_staged=lambda direct: staged.append(dict(direct)))
    far, near = crate.put("mem://h/far", b"far"), crate.put("mem://h/near", b"near")
    result = inputs(bench, direct("far", b"far", far), spec("near", b"near", near), tools=[crate], hooks=hooks)
    assert result.errors == ()
    assert {receipt.lfn: (receipt.direction, receipt.url) for receipt in result.receipts} == {
        "far": ("direct", "mem://h/far"),
        "near": ("in", "mem://h/near"),
    }
    assert bench.names() == ["near"]
    assert [{name: place.url for name, place in each.items()} for each in staged] == [{"far": "mem://h/far"}]
    assert {attempt.file.lfn: state_of(attempt) for attempt in heard} == {"far": "FOUND_ROOT", "near": "DONE"}


def test_a_queue_may_want_no_look_before_a_payload_opens_files(bench, crate):
    """data:C-09"""
    heard, hooks = hearing(bench)
    bench.queue = Queue(name="q", params={"catchall": "nopenfiles=4 RemoteIO_Test=False"})
    result = inputs(bench, direct("a", b"x", Replica("mem://h/lost")), tools=[crate], hooks=hooks)
    assert [receipt.direction for receipt in result.receipts] == ["direct"]
    assert [state_of(attempt) for attempt in heard] == ["FOUND_ROOT"]
    assert not crate.asked


def test_a_wrong_or_missing_one_is_not_opened(bench, crate):
    """data:C-05 (each place by itself)"""
    heard, hooks = hearing(bench)
    short, right = crate.put("mem://h/short", b"sh"), crate.put("mem://h/right", b"right")
    places = [Replica("mem://h/lost"), short, crate.put("mem://h/wrong", b"wrong"), right]
    result = inputs(bench, direct("a", b"right", *places), tools=[crate], hooks=hooks)
    assert [receipt.url for receipt in result.receipts] == ["mem://h/right"]
    assert [state_of(attempt) for attempt in heard] == ["FAILED_REMOTE_OPEN"] * 3 + ["FOUND_ROOT"]
    assert bench.names() == []


def test_a_file_that_cannot_be_opened_is_copied(bench, crate):
    def look(*_):
        raise PilotError(Code.STAGEINAUTHENTICATIONFAILURE, "no")

    crate.look = look
    result = inputs(bench, direct("a", b"x", crate.put("mem://h/a", b"x")), tools=[crate])
    assert [receipt.direction for receipt in result.receipts] == ["in"]
    assert bench.names() == ["a"]


def test_only_where_the_site_lets_a_payload_read(bench, crate):
    """data:C-03 (what is not marked), and nowhere with a signature"""
    place = crate.put("mem://h/a", b"x")
    for file in (
        spec("a", b"x", place, direct=True),
        direct("b", b"x", evolve(place, signed=True)),
        evolve(direct("c", b"x", place), direct=False),
    ):
        assert [receipt.direction for receipt in inputs(bench, file, tools=[crate]).receipts] == ["in"]


def test_what_is_read_elsewhere_needs_no_room(bench, crate):
    """data:B-13"""
    crate.look = lambda replica, file, moving: None
    crate.held["mem://h/a"] = b""
    file = FileSpec(lfn="a", size_b=2**62, direct=True, replicas=(Replica("mem://h/a", direct=True),))

    from pilot_core.spec.drivers import Found

    crate.look = lambda replica, file, moving: Found(size_b=2**62)
    assert inputs(bench, file, tools=[crate]).errors == ()


# --- what is there --------------------------------------------------------------------------------------------------


def test_what_lies_there_already_is_not_brought_again(bench):
    """data:B-23"""
    make(bench, a=b"right")
    result = inputs(bench, spec("a", b"right", bench.shelf.put("mem://a", b"right")))
    assert [(receipt.tool, receipt.url) for receipt in result.receipts] == [("present", (bench.workdir / "a").as_uri())]
    assert bench.shelf.asked == {}


def test_a_wrong_one_in_its_place_is_replaced(bench):
    """data:B-24"""
    make(bench, a=b"wrong")
    assert inputs(bench, spec("a", b"right", bench.shelf.put("mem://a", b"right"))).errors == ()
    assert (bench.workdir / "a").read_bytes() == b"right"


def test_a_link_is_never_taken_for_the_file(bench):
    (bench.root / "elsewhere").write_bytes(b"right")
    (bench.workdir / "a").symlink_to(bench.root / "elsewhere")
    result = inputs(bench, spec("a", b"right", bench.shelf.put("mem://a", b"right")))
    assert [receipt.tool for receipt in result.receipts] == ["shelf"]
    assert not (bench.workdir / "a").is_symlink()


# --- what is told ---------------------------------------------------------------------------------------------------


def test_every_try_is_told(bench):
    """data:B-04, data:H-03: one for each, with its own endpoint, a failed one before the good one"""
    heard, hooks = hearing(bench)
    bad = evolve(bench.shelf.put("mem://bad", b"wrong"), endpoint="ONE", activity="read_lan")
    good = evolve(bench.shelf.put("mem://good", b"right"), endpoint="TWO")
    assert inputs(bench, spec("a", b"right", bad, good, scope="s", dataset="d"), hooks=hooks).errors == ()
    assert [(each.replica.endpoint, state_of(each), each.number) for each in heard] == [
        ("ONE", "AD_MISMATCH", 1),
        ("TWO", "DONE", 2),
    ]
    first = heard[0]
    assert (first.file.scope, first.file.dataset, first.size_b, first.tool) == ("s", "d", 5, "shelf")
    assert (first.direction, first.replica.activity, first.replica.url) == ("in", "read_lan", "mem://bad")
    assert first.asked <= first.began <= first.moved <= first.ended
    assert "expected" in first.error.detail


def test_outputs_are_told_with_what_they_are(bench):
    heard, hooks = hearing(bench)
    make(bench, a=b"one")
    bench.shelf.trouble["mem://out/a"] = [LATE]
    assert outputs(bench, out("a", endpoint="RSE"), hooks=hooks).errors == ()
    assert [(each.direction, state_of(each), each.size_b) for each in heard] == [
        ("out", "SERVICE_ERROR", 3),
        ("out", "DONE", 3),
    ]


def test_no_secret_is_told(bench):
    """data:I-09 (of an address)"""
    heard, hooks = hearing(bench)
    bench.shelf.trouble["mem://a?k=verysecret"] = [PilotError(Code.STAGEINFAILED, "at mem://a?k=verysecret")] * 9
    result = inputs(bench, FileSpec(lfn="a", replicas=(Replica("mem://a?k=verysecret", signed=True),)), hooks=hooks)
    assert len(heard) == 2
    assert "verysecret" not in f"{heard} {result}"


def test_an_alternative_is_noted(bench):
    """data:F-01, data:F-05"""
    make(bench, a=b"one", b=b"two")
    places = (Replica("mem://1", "ONE"), Replica("mem://2", "TWO"))
    bench.shelf.trouble["mem://1"] = [PilotError(Code.NOREMOTESPACE, "full")] * 9
    result = outputs(
        bench,
        FileSpec(lfn="a", endpoint="ONE", replicas=places),
        FileSpec(lfn="b", endpoint="ONE", replicas=places[:1]),
        parallel=1,
    )
    assert [(receipt.lfn, receipt.endpoint) for receipt in result.receipts] == [("a", "TWO")]
    assert codes(result) == [Code.NOREMOTESPACE]
    assert result.notes == {"stored_elsewhere": {"a": "TWO"}}


def test_words_of_tools_mean_codes():
    for text, number, fetched, stored in (
        ("[ERROR] cp: No space left on device", None, Code.NOLOCALSPACE, Code.NOREMOTESPACE),
        ("the file does not match the checksum adler32 of before", None, Code.GETADMISMATCH, Code.PUTADMISMATCH),
        ("timeout; No such file or directory", None, Code.MISSINGINPUTFILE, Code.NOSUCHFILE),
        ("Could not establish context", None, Code.NOPROXY, Code.NOPROXY),
        ("", 110, Code.STAGEINTIMEOUT, Code.STAGEOUTTIMEOUT),
        ("what?", 1, Code.STAGEINAUTHENTICATIONFAILURE, Code.STAGEOUTAUTHENTICATIONFAILURE),
        ("what?", None, Code.STAGEINFAILED, Code.STAGEOUTFAILED),
    ):
        assert (told_error("in", text, number).code, told_error("out", text, number).code) == (fetched, stored)


def test_no_phrase_hides_another():
    for number, phrase in enumerate(PHRASES):
        text = " ".join(phrase.words)
        hidden = [before.words for before in PHRASES[:number] if all(word in text for word in before.words)]
        assert hidden == [], phrase.words


def test_long_words_are_cut():
    """data:T-17 (what is kept of it)"""
    assert len(told_error("in", "x" * 10**7 + " No space left on device").detail) <= 4000


def test_an_experiment_adds_its_facts_to_what_is_told_of_a_try(bench, crate):
    heard, hooks = hearing(bench, pilot_transfer_facts=lambda attempt: {"usr": attempt.file.lfn, "version": None})
    inputs(bench, spec("a", b"x", crate.put("mem://h/a", b"x")), tools=[crate], hooks=hooks)
    assert [attempt.facts for attempt in heard] == [{"usr": "a", "version": None}]


def test_a_failing_experiment_adds_nothing_and_stops_nothing(bench, crate, caplog):
    heard, hooks = hearing(bench, pilot_transfer_facts=lambda: 1 / 0)
    assert inputs(bench, spec("a", b"x", crate.put("mem://h/a", b"x")), tools=[crate], hooks=hooks).errors == ()
    assert [attempt.facts for attempt in heard] == [{}]
    assert "nothing is added to what is told of a: plugin tester (pilot-tester 1.2)" in caplog.text
