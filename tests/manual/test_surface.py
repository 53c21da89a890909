"""The surface as the manual shows it: who answers which hook, and what became of the older pilot's."""

from __future__ import annotations

import ast
import re
import sys
from html.parser import HTMLParser
from importlib import import_module

import pytest

from pilot_core.cli.hooks import contract
from pilot_core.spec import drivers

from .snippets import DOCS

sys.path.insert(0, str(DOCS / "_ext"))
surface = import_module("pilot_surface")

ROWS = surface.rows()
BY = ("hook", "driver", "option", "not needed")


class Tables(HTMLParser):
    """The cells of each table of a page, row by row."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: list[list[list[str]]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_data(self, data):
        if self.tables and self.tables[-1] and self.tables[-1][-1]:
            self.tables[-1][-1][-1] += data.strip("\n")


@pytest.fixture(scope="session")
def tables(built) -> list[list[list[str]]]:
    return Tables((built / "plugin-surface.html").read_text()).tables


def test_each_of_the_31_ways_is_accounted_for():
    assert len(ROWS) == 31
    assert len({row["was"] for row in ROWS}) == 31
    assert all(row.keys() == {"was", "by", "now"} and row["by"] in BY for row in ROWS)
    assert all(row["now"].startswith("not needed, because") for row in ROWS if row["by"] == "not needed")


@pytest.mark.parametrize("number", range(1, 32))
def test_every_hook_that_is_named_exists(number):
    row = ROWS[number - 1]
    named = re.findall(r"`(pilot_[a-z_]+)`", row["now"])
    assert [name for name in named if name not in contract()] == []
    assert named or row["by"] != "hook"


def test_every_hook_has_a_way_that_led_to_it():
    told = " ".join(row["now"] for row in ROWS)
    assert [name for name in contract() if f"`{name}`" not in told] == []


def test_every_driver_that_is_named_exists():
    kinds = {re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower() for name in vars(drivers)}
    named = [name for row in ROWS for name in re.findall(r"drivers? `([a-z_]+)`", row["now"])]
    assert set(named) <= kinds


def test_the_page_shows_every_hook_every_distribution_and_all_31(tables):
    answers, sizes, ways = tables
    assert [row[0] for row in answers[1:]] == list(contract())
    assert answers[0][1:] == [row[0] for row in sizes[1:]] == list(surface.SOURCES)
    assert [row[0] for row in ways[1:]] == [str(number) for number in range(1, 32)]


def test_who_answers_is_counted_in_the_code():
    found = {(each.hook, each.distribution) for each in surface.answers()}
    assert ("pilot_payload_command", "the example") in found
    assert {("pilot_payload_command", f"pilot-{name}") for name in ("core", "atlas", "lsst")} <= found
    assert {hook for hook, _ in found} <= contract().keys()


def test_hookimpls_of_experiments_are_thin():
    thick = [each for each in surface.answers() if each.distribution in ("pilot-atlas", "pilot-lsst")]
    assert thick
    assert [each for each in thick if each.n_lines > 6] == []


SAMPLE = '''
@hookimpl
def pilot_x(job):
    """Two lines
    of text."""
    # a comment

    if job:
        return (
            1
        )
    return 2
'''


def test_lines_are_those_of_statements():
    (function,) = ast.parse(SAMPLE).body
    assert len(surface.code_lines(function)) == 6
