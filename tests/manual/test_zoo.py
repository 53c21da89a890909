"""The manual's table of what the looping monitor makes of each payload is what it makes of them."""

from __future__ import annotations

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

from .snippets import DOCS

FOUND = spec_from_file_location("zoo", Path(__file__).parents[1] / "bench/zoo.py")
zoo = module_from_spec(FOUND)
FOUND.loader.exec_module(zoo)
PAGE = (DOCS / "guides/monitors.md").read_text()


@pytest.mark.parametrize("animal", zoo.ANIMALS, ids=lambda animal: animal.name.replace(" ", "-"))
def test_each_row_is_true(animal):
    found = {name: zoo.is_stopped(animal, **options) is not None for name, options in zoo.SETTINGS.items()}
    table = zoo.table(dict.fromkeys(zoo.NAMES, found))
    (row,) = (line for line in table.splitlines() if line.startswith(f"| {animal.name} |"))
    assert row in PAGE


def test_the_sums_follow_from_the_rows():
    told = [[cell.strip() for cell in line.split("|")[1:-1]] for line in PAGE.splitlines() if line.startswith("| ")]
    rows = {row[0]: row[1:] for row in told}
    found = {
        name: {setting: "stopped" in cell for setting, cell in zip(zoo.SETTINGS, rows[name], strict=True)}
        for name in zoo.NAMES
    }
    assert zoo.table(found) in PAGE
