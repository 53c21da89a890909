"""No scenario is forgotten: each has a test, or a reason why it comes later."""

from __future__ import annotations

import pytest

from .ids import DATA, LIST, PILOT, carried, listed

LISTS = {"server": LIST, "data": DATA, "pilot": PILOT}
each_list = pytest.mark.parametrize("file", LISTS)


@pytest.fixture(scope="module")
def tests():
    return {file: carried(file=file) for file in LISTS}


def pilots(tests, name):
    """The tests that say how a pilot fares; what a server says is but half of a scenario."""
    return [each for each in tests[name] if "(the server's half)" not in each]


@each_list
def test_each_scenario_has_a_test_or_a_reason(tests, file):
    bare = [name for name, why in listed(LISTS[file]).items() if not why and not pilots(tests[file], name)]
    assert not bare, f"write a test for {bare}, or after a colon in {LISTS[file].name} why it comes later"


@each_list
def test_no_scenario_has_both(tests, file):
    both = [name for name, why in listed(LISTS[file]).items() if why and pilots(tests[file], name)]
    assert not both, f"{both} have tests now: take the reasons out of {LISTS[file].name}"


@each_list
def test_no_test_names_a_scenario_that_is_none(tests, file):
    known = listed(LISTS[file])
    assert {name: where for name, where in tests[file].items() if name not in known} == {}


def test_the_list_is_whole():
    counts = {"T": 15, "A": 14, "J": 22, "D": 25, "U": 20, "F": 18, "C": 17, "R": 13, "E": 11, "M": 10}
    assert sorted(listed()) == sorted([*_numbered(counts), *(f"I{number}" for number in range(1, 10))])


def test_the_list_of_data_is_whole():
    counts = dict(zip("ABCDFGHIJKLT", (17, 32, 9, 20, 7, 8, 7, 10, 11, 6, 12, 21), strict=True))
    assert sorted(listed(DATA)) == sorted(_numbered(counts))


def test_the_list_of_the_pilot_is_whole():
    counts = dict(zip("ABCDEFGHIJKL", (15, 11, 14, 25, 25, 15, 7, 9, 14, 5, 6, 7), strict=True))
    assert sorted(listed(PILOT)) == sorted(_numbered(counts, ""))


def _numbered(counts, dash="-"):
    return [f"{letter}{dash}{number:02}" for letter, most in counts.items() for number in range(1, most + 1)]


@pytest.mark.parametrize(("line", "told"), [
    ("A-1 name", "is not 'ID  name'"), ("A-01  name\nA-01  other", "A-01 stands there twice"),
])  # fmt: skip
def test_a_list_that_cannot_be_read(tmp_path, line, told):
    path = tmp_path / "ids.txt"
    path.write_text(line)
    with pytest.raises(AssertionError, match=told):
        listed(path)


def test_what_a_test_says_of_itself_is_found(tmp_path):
    (tmp_path / "test_a.py").write_text(
        '@scenario("A-01", "A-02")\ndef test_x():\n    """server:B-03 (a part)"""\n@half("A-01")\ndef test_y(): ...\n'
    )
    assert carried(tmp_path) == {
        "A-01": ["test_a.py::test_x", "test_a.py::test_y (the server's half)"],
        "A-02": ["test_a.py::test_x"],
        "B-03": ["test_a.py::test_x (a part)"],
    }
