from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pilot_core.model.wire import BadMessage, Fields, oddity, shown


def problems(fields: Fields) -> list[str]:
    return [str(problem) for problem in fields.problems]


def deep(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = [value]
    return value


def test_fields_are_read_as_what_they_are():
    raw = {"name": "x", "n": 3, "size": "1.5 kB", "wall": "2 min", "flag": True, "list": ["a", 7], "t": {"k": 1}}
    fields = Fields(raw)
    assert fields.text("name") == "x"
    assert fields.number("n") == 3
    assert fields.size("size") == 1500
    assert fields.duration("wall") == 120.0
    assert fields.flag("flag") is True
    assert fields.texts("list") == ("a", "7")
    assert fields.table("t") == {"k": "1"}
    fields.refuse_unknown()
    fields.raise_problems()


@pytest.mark.parametrize(
    ("written", "bytes_"), [("2 GB", 2 * 10**9), ("2gib", 2 * 2**30), ("10 b", 10), (7, 7), (2.0, 2), ("0.5 KiB", 512)]
)
def test_sizes(written, bytes_):
    assert Fields({"size": written}).size("size") == bytes_


NO_SIZES = [-1, "2", "2 parsecs", True, "", [], float("nan"), 10**400, "9" * 400 + " GB", "1e3 b"]


@pytest.mark.parametrize("written", NO_SIZES, ids=shown)
def test_what_is_no_size(written):
    fields = Fields({"size": written})
    assert fields.size("size") is None
    assert problems(fields)[0].startswith("size: wants a number of bytes, or a text such as '2 GB', not ")


def test_null_counts_as_absent():
    fields = Fields({"a": None, "b": None})
    assert fields.text("a", "default") == "default"
    assert fields.fields("b") is None
    fields.text("c", required=True)
    assert problems(fields) == ["c: is missing; write one"]


def test_all_problems_are_told_at_once_each_with_its_path():
    fields = Fields({"inputs": [{"size": 1}, {"size": "much", "nmae": "x"}], "wall": "soon"})
    for place, value in fields.items("inputs"):
        file = fields.inner(place, value)
        file.size("size")
        file.text("name")
        file.refuse_unknown()
    fields.duration("wall")
    fields.refuse_unknown()
    with pytest.raises(BadMessage) as raised:
        fields.raise_problems("job.yaml")
    assert str(raised.value).splitlines() == [
        "job.yaml: inputs[1].size: wants a number of bytes, or a text such as '2 GB', not 'much'",
        "job.yaml: inputs[1].nmae: no such key; did you mean 'name'?",
        "job.yaml: wall: wants a number of seconds, or a text such as '10 min', not 'soon'",
    ]


def test_a_reader_that_tolerates_unknown_fields_just_does_not_ask():
    fields = Fields({"PandaID": 17, "unheardOf": 1})
    assert fields.number("PandaID") == 17
    fields.raise_problems()


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (True, "wants text, not true; put it in quotes"),
        (1.5, "wants text, not 1.5; put it in quotes"),
        (["x"], "wants text, not a list"),
        ("a\x00b", r"holds a control character, leave it out: 'a\x00b'"),
        ("two\nlines", r"holds a control character, leave it out: 'two\nlines'"),
        ("\ud800", r"holds half of a character pair, leave it out: '\ud800'"),
        (10**5000, "wants text, not a huge number"),
        (object(), "wants text, not a object"),
    ],
    ids=range(8),
)
def test_what_is_no_text(value, told):
    fields = Fields({"name": value})
    assert fields.text("name") == ""
    assert problems(fields) == [f"name: {told}"]


def test_lines_are_allowed_where_they_are_wanted():
    fields = Fields({"script": "one\ntwo\n"})
    assert fields.text("script", lines=True) == "one\ntwo\n"
    assert not fields.problems


@pytest.mark.parametrize("value", [True, 1.5, float("inf"), float("nan"), "3", 2**63, 10**5000, -1, [], {}], ids=shown)
def test_what_is_no_number(value):
    fields = Fields({"n": value})
    assert fields.number("n", 5) == 5
    assert problems(fields)[0].startswith("n: wants a whole number from 0 on, not ")


@pytest.mark.parametrize("raw", [None, 3, "x", [1], b"x", object()], ids=shown)
def test_what_is_no_mapping(raw):
    with pytest.raises(BadMessage, match="wants a mapping of names to values, not"):
        Fields(raw).raise_problems()


def test_keys_are_texts():
    fields = Fields({3: "x", ("a",): "y", "ok": 1})
    assert len(fields.problems) == 2
    assert fields.names() == ("ok",)


def test_a_strange_key_is_quoted_and_cut():
    fields = Fields({"a\nb" * 100: 1})
    fields.refuse_unknown()
    (told,) = problems(fields)
    assert "\n" not in told
    assert len(told) < 120


def test_a_long_list_of_problems_is_cut():
    fields = Fields({f"key{number}": 1 for number in range(5000)})
    fields.refuse_unknown()
    with pytest.raises(BadMessage) as raised:
        fields.raise_problems()
    assert len(raised.value.problems) == 5000
    assert str(raised.value).endswith("and 4980 more")


NOT_JSON = [deep(100_000), float("nan"), {1: 2}, {"a": ["\ud800"]}, object(), b"x", 10**30]


@pytest.mark.parametrize("value", NOT_JSON, ids=shown)
def test_what_json_cannot_keep(value):
    fields = Fields({"options": {"a": value}})
    assert fields.values("options") == {}
    assert problems(fields)[0].startswith("options: ")


def test_what_json_can_keep():
    assert oddity({"a": [1, 2.5, None, True, {"b": "text\n"}], "c": deep(20)}) == ""


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.integers(), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=200)
@given(json_like)
@example({"0[\x1e": False})
def test_nothing_but_bad_messages_comes_out(raw):
    fields = Fields(raw)
    for name in fields.names():
        for read in (fields.text, fields.number, fields.size, fields.duration, fields.flag, fields.values):
            read(name)
        fields.table(name)
        fields.texts(name)
        assert "\n" not in shown(fields.value(name))
    fields.refuse_unknown()
    said = str(BadMessage(fields.problems, "it"))
    assert all(line.startswith(("it: ", "and ")) for line in said.splitlines())
