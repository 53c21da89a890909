"""Error codes, the exception that carries one, and the choice among several."""

from __future__ import annotations

import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilot_core import errors
from pilot_core.errors import Code, ErrorCode, Party, PilotError, Retry, Stage, merge

CODES = errors.codes()
STOPS = [code for code in CODES if code.stage is Stage.STOP]

facts = st.dictionaries(
    st.text("abcxyz_", min_size=1).filter(lambda name: name not in {"code", "detail", "self"}),
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False, allow_infinity=False),
    max_size=3,
)
single_errors = st.builds(
    lambda code, detail, facts: PilotError(code, detail, **facts),
    st.sampled_from(CODES),
    st.text(max_size=5),
    facts,
)
stories = st.lists(single_errors, max_size=8)


def an_error(number: int, detail: str = "") -> PilotError:
    return PilotError(errors.code(number), detail)


def everything_in(error: PilotError) -> set[PilotError]:
    return {error.among(()), *error.others}


def reported(*numbers: int) -> int:
    merged = merge(map(an_error, numbers))
    assert merged is not None
    return merged.code.number


class BelleCodes:
    TAGMISSING = ErrorCode(2000, Stage.BEFORE, Party.PAYLOAD, Retry.COUNTED, "The job names no global tag")
    TAGUNKNOWN = ErrorCode(2001, Stage.PAYLOAD, Party.PAYLOAD, Retry.COUNTED, "The global tag is unknown")


@pytest.fixture(autouse=True)
def _registry_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_rows", "_acronyms", "_owners"):
        monkeypatch.setattr(errors, name, dict(getattr(errors, name)))


# The server's contract: numbers, acronyms and process exit codes that others rely on.


def test_numbers_and_acronyms_of_the_field():
    field = {1099: "STAGEINFAILED", 1137: "STAGEOUTFAILED", 1201: "SIGTERM", 1305: "PAYLOADEXECUTIONFAILURE"}
    assert {number: errors.code(number).acronym for number in field} == field
    assert sum(1 for code in CODES if code.number < 1900) == 147


def test_process_exit_codes():
    table = "64 1377, 65 1008, 66 1199, 67 1103, 68 1163 1177 1373, 69 1098, 70 1301, 71 1116, 72 1117, 73 1186"
    table += ", 74 1330, 75 1332, 76 1342, 77 1331, 78 1359, 79 1318, 80 1382, 81 1213, 82 1385, 83 1386"
    table += ", 130 1208, 131 1202, 135 1206, 137 1200, 138 1207, 139 1203, 143 1201 1379, 152 1204"
    expected = {int(row.split()[0]): set(map(int, row.split()[1:])) for row in table.split(", ")}
    found: dict[int, set[int]] = {}
    for code in CODES:
        found.setdefault(code.exit_code, set()).add(code.number)
    del found[1]
    assert found == expected


def test_every_sentence_is_one_short_line():
    for code in CODES:
        assert 10 < len(code.sentence) <= 70, code
        assert code.sentence.isprintable()
        assert not code.sentence.endswith("."), code
    assert len({code.sentence for code in CODES}) == len(CODES)


def test_constants_are_the_registered_rows():
    assert Code.STAGEINFAILED is errors.code(1099) is errors.by_acronym("stageinfailed")
    assert errors.owner(Code.STAGEINFAILED) == "pilot-core"


# The registry.


def test_a_plugin_registers_codes_twice_without_harm():
    errors.register("pilot-belle", BelleCodes)
    errors.register("pilot-belle", BelleCodes)
    assert errors.by_acronym("TAGMISSING") is errors.code(2000) is BelleCodes.TAGMISSING
    assert errors.owner(BelleCodes.TAGUNKNOWN) == "pilot-belle"


@pytest.mark.parametrize(
    ("number", "acronym", "complaint"),
    [
        (1999, "NEW", "pilot-x: 1999 NEW is outside 2000 to 2999"),
        (3000, "NEW", "pilot-x: 3000 NEW is outside 2000 to 2999"),
        (2000, "NEW", "2000 NEW is taken: pilot-belle has 2000 TAGMISSING"),
        (2005, "SIGTERM", "2005 SIGTERM is taken: pilot-core has 1201 SIGTERM"),
    ],
)
def test_a_row_that_may_not_be_added_names_both_sides_and_adds_nothing(number: int, acronym: str, complaint: str):
    errors.register("pilot-belle", BelleCodes)
    before = errors.codes()
    good, bad = (ErrorCode(at, Stage.ANY, Party.PLUGIN, Retry.NEVER, "New") for at in (2900, number))
    with pytest.raises(ValueError, match=complaint):
        errors.register("pilot-x", type("Table", (), {"GOOD": good, acronym: bad}))
    assert errors.codes() == before


def test_two_rows_of_one_table_may_not_share_a_number():
    rows = {name: ErrorCode(2100, Stage.ANY, Party.PLUGIN, Retry.NEVER, name) for name in ("ONE", "TWO")}
    with pytest.raises(ValueError, match="pilot-x: 2100 TWO is taken: pilot-x has 2100 ONE"):
        errors.register("pilot-x", type("Table", (), rows))


def test_what_is_misspelt_is_answered_with_the_nearest():
    with pytest.raises(errors.NoSuchCode, match=r"no error code 'stageinfaled'; near it: 1099 STAGEINFAILED"):
        errors.by_acronym("stageinfaled")
    with pytest.raises(errors.NoSuchCode, match=r"^no error code '42'$"):
        errors.code(42)


# The exception.


def test_an_error_says_number_acronym_sentence_and_detail_on_one_line():
    error = PilotError(Code.STAGEINFAILED, "a.root:\n no copy")
    assert str(error) == "1099 STAGEINFAILED: An input could not be fetched: a.root: no copy"
    assert str(PilotError(Code.STAGEINFAILED)) == "1099 STAGEINFAILED: An input could not be fetched"


@given(stories)
def test_the_wire_form_is_json_and_reads_back_equal(story: list[PilotError]):
    merged = merge(story) or an_error(1305)
    read = PilotError.from_wire(json.loads(json.dumps(merged.to_wire())))
    assert read == merged
    assert str(read) == str(merged)


def test_a_code_whose_plugin_is_not_here_reads_back_whole():
    wire = PilotError(BelleCodes.TAGMISSING, "global_tag").to_wire()
    read = PilotError.from_wire(wire)
    assert read.to_wire() == wire
    assert read.code == BelleCodes.TAGMISSING


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"number": "1099"}, "number is an integer, not '1099'"),
        ({"detail": None}, "detail is a text, not None"),
        ({"facts": []}, "facts are an object"),
        ({"number": 2222, "stage": "moon"}, "error 2222: no stage 'MOON'"),
        ({"number": 2222, "party": "moon"}, "'moon' is not a valid Party"),
    ],
)
def test_a_broken_wire_form_is_refused_by_name(change: dict[str, object], complaint: str):
    with pytest.raises(ValueError, match=complaint):
        PilotError.from_wire(an_error(1099).to_wire() | change)


@given(stories)
def test_errors_survive_pickling(story: list[PilotError]):
    merged = merge(story)
    assert pickle.loads(pickle.dumps(merged)) == merged


def test_facts_that_json_lacks_are_kept_as_text(tmp_path):
    error = PilotError(Code.MKDIR, path=tmp_path, tries=3)
    assert error.to_wire()["facts"] == {"path": str(tmp_path), "tries": 3}


# The choice among several.


@pytest.mark.parametrize(
    ("story", "expected"),
    [
        ([1201, 1305], 1201),
        ([1305, 1201], 1305),
        ([1144, 1305, 1137, 1320], 1144),
        ([1137, 1305], 1305),
        ([1320, 1137, 1305], 1305),
        ([1305, 1212], 1212),
        ([1212, 1305], 1212),
        ([1150, 1305, 1201], 1150),
        ([1305, 1201, 1212], 1212),
        ([1201, 1305, 1212], 1201),
        ([1099, 1171], 1171),
        ([1171, 1099, 1151], 1171),
        ([1319, 1137], 1137),
        ([1310, 1900], 1310),
        ([1301, 1900], 1900),
    ],
)
def test_the_reported_error(story: list[int], expected: int):
    assert reported(*story) == expected


def test_nothing_merges_to_nothing():
    assert merge([]) is None


@given(stories)
def test_merging_loses_nothing_and_invents_nothing(story: list[PilotError]):
    merged = merge(story)
    assert (everything_in(merged) if merged else set()) == set(story)


@given(stories)
def test_merging_again_changes_nothing(story: list[PilotError]):
    merged = merge(story)
    assert merged is None or merge([merged]) == merged


@given(stories)
def test_merging_as_errors_come_reports_the_same_as_merging_at_the_end(story: list[PilotError]):
    merged: PilotError | None = None
    for error in story:
        merged = merge([merged, error] if merged else [error])
    at_the_end = merge(story)
    assert (merged and (merged.code, everything_in(merged))) == (
        at_the_end and (at_the_end.code, everything_in(at_the_end))
    )


@given(stories, st.randoms(use_true_random=False))
def test_without_a_stop_only_equals_depend_on_the_order(story: list[PilotError], random):
    story = [error for error in story if error.code not in STOPS]
    shuffled = random.sample(story, len(story))
    one, two = merge(story), merge(shuffled)
    assert (one is None) == (two is None)
    assert one is None or two is None or _rank(one) == _rank(two)


def _rank(error: PilotError) -> tuple[int, bool]:
    return error.code.stage, error.code.vague


@given(st.sampled_from(STOPS), stories)
def test_a_stop_explains_all_that_follows_it(stop: ErrorCode, story: list[PilotError]):
    merged = merge([PilotError(stop), *story])
    assert merged is not None
    assert merged.code is stop
