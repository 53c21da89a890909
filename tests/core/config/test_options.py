from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Mapping
from pathlib import Path

import pytest
from attrs import frozen

from pilot_core.config.options import add_flags, fields_of, flags_given, option
from pilot_core.config.values import read_value


@frozen
class Tea:
    section = "tea"

    kind: str = option("black", help="Which tea.", flag="--tea", choices=("black", "green"))
    steep_s: int = option(180, help="How long.", unit="s", job=True)
    milk: bool = option(False, help="With milk.", flag="--milk")
    pot: Path | None = option(None, help="Where it is made.", env="TEAPOT")
    spoons: Mapping[str, int] = option({"sugar": 1}, help="What goes in.")


def test_a_field_is_a_row_of_the_manual():
    kind, steep, _, pot, _ = fields_of(Tea)
    assert (kind.path, kind.env, kind.flag, kind.choices) == (
        "tea.kind",
        "PILOT_TEA_KIND",
        "--tea",
        ("black", "green"),
    )
    assert (steep.type, steep.default, steep.unit, steep.job, steep.help) == (
        int,
        180,
        "s",
        True,
        "How long.",
    )
    assert (pot.env, pot.type) == ("TEAPOT", Path | None)


def test_defaults_cannot_be_changed():
    with pytest.raises(TypeError):
        Tea().spoons["salt"] = 1  # type: ignore[index]
    with pytest.raises(TypeError, match="a tuple, not a list"):
        option([], help="")


def test_a_section_has_only_options():
    @frozen
    class Plain:
        section = "plain"
        size: int = 3

    with pytest.raises(TypeError, match=r"Plain\.size is declared without option"):
        fields_of(Plain)


@pytest.mark.parametrize(
    ("written", "text", "read"), [("no", False, "no"), (False, False, "no"), (True, False, "yes"), ("yes", True, "yes")]
)
def test_yes_and_no_are_words_where_they_are_choices(written, text, read):
    """Though YAML reads them as false and true."""

    @frozen
    class Guests:
        section = "guests"
        welcome: str = option("ask", help="Whether.", choices=("ask", "yes", "no"))

    (welcome,) = fields_of(Guests)
    assert read_value(welcome, written, text=text) == read


def test_units_are_few():
    with pytest.raises(TypeError, match="unit 'weeks'"):
        option(1, help="", unit="weeks")


def _flags(*arguments: str) -> tuple[list[str], dict[str, str]]:
    parser = ArgumentParser()
    add_flags(parser, fields_of(Tea))
    parsed = parser.parse_args(arguments)
    return parsed.set, flags_given(parsed, fields_of(Tea))


def test_flags_and_set():
    assert _flags() == ([], {})
    assert _flags("--tea", "green", "--milk", "--set", "tea.steep_s=5 min") == (
        ["tea.steep_s=5 min"],
        {"tea.kind": "green", "tea.milk": "true"},
    )
    assert _flags("--no-milk")[1] == {"tea.milk": "false"}
