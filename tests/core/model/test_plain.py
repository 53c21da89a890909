from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilot_core.model.plain import line_of, lines_of, parse_plain

TEXT = b"""\
a: 1
b:
  - c: x
    "odd key": y
  - [1,
     2]
d: {e: {f: 1}}
"""


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("a", 1),
        ("b[0].c", 3),
        ("b[0].'odd key'", 4),
        ("b[1][1]", 6),
        ("d.e.f", 7),
        ("b[0].missing", 3),
        ("z", 1),
        ("", 1),
    ],
)
def test_the_line_of_what_stands_at_a_path_or_is_missing_there(path, line):
    assert line_of(lines_of(TEXT), path) == line


NAMES = st.text("abc", min_size=1, max_size=3)


@given(
    st.recursive(
        st.integers(-99, 99) | NAMES,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
        max_leaves=12,
    )
)
def test_whatever_is_read_has_its_lines(value):
    data = json.dumps(value, indent=1).encode()
    lines = lines_of(data)
    assert parse_plain(data, "x") == value
    assert all(1 <= line <= data.count(b"\n") + 1 for line in lines.values())
    for path in walk(value):
        assert path in lines


def walk(value, path=""):
    pairs = value.items() if isinstance(value, dict) else ()
    entries = enumerate(value) if isinstance(value, list) else ()
    for below, inner in (
        *((f"{path}.{name}" if path else name, inner) for name, inner in pairs),
        *((f"{path}[{number}]", inner) for number, inner in entries),
    ):
        yield below
        yield from walk(inner, below)
