from __future__ import annotations

import random
from collections.abc import Mapping
from enum import Enum
from pathlib import Path

import pytest
from attrs import frozen, validators
from hypothesis import given
from hypothesis import strategies as st

from pilot_core.config.layers import ConfigError, Layer, Rank, Schema, read_yaml
from pilot_core.config.options import option
from pilot_core.config.values import show_value


class Colour(Enum):
    RED = "r"
    DARK_BLUE = "b"


@frozen
class Tea:
    section = "tea"

    kind: str = option("black", help="Which.", choices=("black", "green"), flag="--tea", job=True)
    steep_s: int = option(180, help="How long.", unit="s", job=True, validator=validators.le(10**6))
    heat: float = option(95.5, help="How hot.")
    milk: bool = option(False, help="With milk.")
    pot: Path | None = option(None, help="Where.")
    cups: tuple[str, ...] = option((), help="Which cups.")
    spoons: Mapping[str, int] = option({}, help="What goes in.")
    colour: Colour = option(Colour.RED, help="Of the cosy.")


@frozen
class Cake:
    section = "cake"

    size_b: int = option(10, help="How big.", unit="b", env="CAKE")
    least: int | None = option(None, help="At least.")


SCHEMA = Schema([Tea, Cake])


def _tea(rank: Rank = Rank.SITE, **values: object) -> Layer:
    return Layer(rank, rank.title, {"tea": values})


def _problems(*layers: Layer) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        SCHEMA.merge(*layers)
    return [str(problem) for problem in caught.value.problems]


def test_defaults():
    settings = SCHEMA.merge()
    assert settings.of(Tea) == Tea()
    assert settings.of(Cake) == Cake()
    assert {row.layer for row in settings.explain()} == {"defaults"}


def test_a_section_that_is_not_there():
    with pytest.raises(LookupError, match="'cake' is not part"):
        Schema([Tea]).merge().of(Cake)


@given(
    st.dictionaries(st.sampled_from([rank for rank in Rank if rank is not Rank.DEFAULTS]), st.integers(0, 99)),
    st.randoms(use_true_random=False),
)
def test_the_highest_rank_wins_in_whatever_order_layers_come(values, shuffle: random.Random):
    layers = [
        _tea(rank, steep_s=str(value) if rank in (Rank.ENVIRONMENT, Rank.COMMAND_LINE) else value)
        for rank, value in values.items()
    ]
    shuffle.shuffle(layers)
    settings = SCHEMA.merge(*layers)
    winner = max(values, default=Rank.DEFAULTS)
    assert settings.of(Tea).steep_s == values.get(winner, 180)
    assert settings.sources["tea.steep_s"].layer is winner


def test_each_option_is_ranked_by_itself_and_within_a_rank_the_later_wins():
    settings = SCHEMA.merge(
        _tea(Rank.QUEUE, heat=80),
        _tea(Rank.SITE, heat=70, milk=True),
        _tea(Rank.SITE, milk=False, cups=["a"]),
    )
    assert settings.of(Tea) == Tea(heat=80.0, milk=False, cups=("a",))


def test_provenance():
    environment = SCHEMA.environment({"PILOT_TEA_MILK": "yes", "CAKE": "2 kB"})
    command_line = SCHEMA.command_line(["tea.heat=60"], {"tea.kind": "green"})
    site = Layer(Rank.SITE, "site.yaml", {"tea": {"milk": False, "cups": ["a", "b"]}})
    rows = {
        row.path: (row.value, row.layer, row.where) for row in SCHEMA.merge(environment, command_line, site).explain()
    }
    assert rows["tea.milk"] == ("true", "environment", "$PILOT_TEA_MILK")
    assert rows["cake.size_b"] == ("2000", "environment", "$CAKE")
    assert rows["tea.cups"] == ("a,b", "site", "site.yaml")
    assert rows["tea.kind"] == ("green", "command line", "command line")
    assert rows["tea.pot"] == ("", "defaults", "")


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("steep_s", "240", 240),
        ("steep_s", "4 min", 240),
        ("steep_s", "1.5h", 5400),
        ("heat", "1e2", 100.0),
        ("milk", "On", True),
        ("milk", "0", False),
        ("pot", "/a b", Path("/a b")),
        ("pot", "", None),
        ("cups", " a, b,", ("a", "b")),
        ("cups", "", ()),
        ("spoons", "sugar=2, salt=0", {"sugar": 2, "salt": 0}),
        ("colour", "dark_blue", Colour.DARK_BLUE),
        ("colour", "b", Colour.DARK_BLUE),
    ],
)
def test_text_is_read_as_the_type_declared(name, text, value):
    tea = SCHEMA.merge(SCHEMA.command_line([f"tea.{name}={text}"])).of(Tea)
    assert getattr(tea, name) == value
    assert SCHEMA.merge(SCHEMA.command_line([f"tea.{name}={show_value(value)}"])).of(Tea) == tea


@pytest.mark.parametrize(
    ("written", "size_b"),
    [("2 GB", 2 * 10**9), ("1KiB", 1024), ("2.3 TB", 2_300_000_000_000), ("7", 7), ("7b", 7)],
)
def test_sizes(written, size_b):
    assert SCHEMA.merge(SCHEMA.environment({"CAKE": written})).of(Cake).size_b == size_b


@pytest.mark.parametrize(
    ("name", "raw", "told"),
    [
        ("steep_s", "180", "wants a whole number of seconds, or as '10 min', not '180'"),
        ("steep_s", "2 weeks", "wants a whole number of seconds, or as '10 min', not '2 weeks'"),
        ("steep_s", "100 ms", "wants a whole number of seconds, or as '10 min', not '100 ms'"),
        ("steep_s", True, "wants a whole number of seconds, or as '10 min', not True"),
        ("steep_s", None, "wants a whole number of seconds, or as '10 min', not None"),
        ("heat", float("nan"), "wants a number, not nan"),
        ("heat", "hot", "wants a number, not 'hot'"),
        ("milk", "yes", "wants true or false, not 'yes'"),
        ("milk", 1, "wants true or false, not 1"),
        ("kind", 3, "wants text, not 3"),
        ("kind", "grean", "'grean' is not one of black, green; did you mean 'green'?"),
        ("pot", "", "wants a path, not an empty text"),
        ("cups", "a", "wants a list, not 'a'"),
        ("cups", ["a", 1], "wants text, not 1"),
        ("spoons", ["a"], "wants a mapping from text, not ['a']"),
        ("spoons", {"a": "b"}, "wants a whole number, not 'b'"),
        ("colour", "reed", "'reed' is not one of red, dark_blue; did you mean 'red'?"),
        ("stepp_s", 1, "no such option; did you mean 'steep_s'?"),
    ],
)
def test_what_does_not_fit_is_told_with_what_would(name, raw, told):
    assert _problems(_tea(**{name: raw})) == [f"site: tea.{name}: {told}"]


def test_all_problems_at_once():
    layers = (
        Layer(Rank.SITE, "a.yaml", {"tea": {"heat": "x", "hat": 1}, "cake": [1]}),
        SCHEMA.environment({"PILOT_TEA_MILK": "perhaps"}),
        SCHEMA.command_line(["tea", "cake.least=1.5"]),
        Layer(Rank.JOB, "job 7", {"tea": {"milk": True, "kind": "green"}}),
    )
    assert _problems(*reversed(layers)) == [
        "a.yaml: tea.heat: wants a number, not 'x'",
        "a.yaml: tea.hat: no such option; did you mean 'heat'?",
        "a.yaml: cake: wants a mapping of options, not [1]",
        "$PILOT_TEA_MILK: tea.milk: wants true or false, not 'perhaps'",
        "command line: --set tea: wants section.name=value",
        "command line: cake.least: wants a whole number, not '1.5'",
        "job 7: tea.milk: a job may not set this option",
    ]


def test_a_job_sets_what_it_may():
    assert SCHEMA.merge(_tea(Rank.JOB, kind="green"), _tea(Rank.COMMAND_LINE, kind="black")).of(Tea).kind == "green"


def test_validators_speak_with_the_place():
    (problem,) = _problems(_tea(steep_s=10**6 + 1))
    assert problem.startswith("site: tea: 'steep_s' must be <= 1000000")


@pytest.mark.parametrize(("name", "raw"), [("steep_s", -1), ("heat", -0.5), ("spoons", {"sugar": 1, "salt": -2})])
def test_numbers_have_a_least(name, raw):
    """Found: with a watchdog of 0 s the pilot was killed without a word."""
    (problem,) = _problems(_tea(**{name: raw}))
    assert problem == f"site: tea.{name}: wants at least 0, not {raw!r}"


def test_relative_places_are_seen_from_where_they_were_written():
    """Found: after `pilot recover` from another directory the outputs were there."""

    @frozen(kw_only=True)
    class Shelf:
        section = "shelf"

        path: Path | None = option(None, help="Where.")
        put: str = option("", help="Where to.", place=True)
        name: str = option("", help="What.")

    given = {"path": "a/b", "put": "c/", "name": "d"}
    schema = Schema([Shelf])
    site = schema.merge(Layer(Rank.SITE, "site", {"shelf": given}, base="/etc")).of(Shelf)
    assert site == Shelf(path=Path("/etc/a/b"), put="/etc/c/", name="d")
    line = schema.command_line(["shelf.path=/x", "shelf.put=https://h/x"], base="/home")
    assert schema.merge(line).of(Shelf) == Shelf(path=Path("/x"), put="https://h/x")
    environ = schema.environment({"PILOT_SHELF_PUT": "../y"}, base="/home")
    assert schema.merge(environ).of(Shelf).put == "/home/../y"


def test_what_is_for_others_only_warns():
    site = Layer(Rank.SITE, "site.yaml", {"teas": {"x": 1}, "cake": None})
    experiment = Layer(Rank.EXPERIMENT, "plugin", {"coffee": {"strength": 9}})
    queue = Layer(Rank.QUEUE, "queue", {"tea": {"newer": 1}})
    environment = SCHEMA.environment(
        {"PILOT_TEA_HEET": "1", "PILOT_HOME": "x", "PILOT_TEA_HEAT": ""}, also=["PILOT_HOME"]
    )
    settings = SCHEMA.merge(experiment, site, queue, environment)
    assert settings.of(Tea) == Tea()
    assert settings.warnings == (
        "site.yaml: teas: no section of a plugin that is installed here; did you mean 'tea'?",
        "queue: tea.newer: no such option",
        "$PILOT_TEA_HEET is not known here; did you mean 'PILOT_TEA_HEAT'?",
    )


def test_two_sections_may_not_claim_one_name():
    @frozen
    class Other:
        section = "tea"

    @frozen
    class Pie:
        section = "pie"
        size: int = option(1, help="", env="CAKE", flag="--tea")

    with pytest.raises(ConfigError, match=r"section 'tea': declared twice, among .*Tea, .*Other"):
        Schema([Tea, Other])
    with pytest.raises(ConfigError) as caught:
        Schema([Tea, Cake, Pie])
    assert [problem.path for problem in caught.value.problems] == ["variable CAKE", "flag --tea"]


def test_reads_yaml(tmp_path):
    file = tmp_path / "site.yaml"
    file.write_text("tea:\n  steep_s: 5 min\n  cups: [a]\n  pot: /pot\n  spoons: {sugar: 2}\n")
    layer = Layer(Rank.SITE, str(file), read_yaml(file))
    assert SCHEMA.merge(layer).of(Tea) == Tea(steep_s=300, cups=("a",), pot=Path("/pot"), spoons={"sugar": 2})
    file.write_text("")
    assert read_yaml(file) == {}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"tea:\n  a: [1\n  b: 2\n", "site.yaml, line 3, column 4: "),
        (b"- tea\n", "site.yaml: wants a mapping from names to sections"),
        (b"1: tea\n", "site.yaml: wants a mapping from names to sections"),
        (b"tea: \xff\n", "site.yaml: not UTF-8 at byte 5"),
        (b"tea: \x01\n", "site.yaml: unacceptable character"),
        (
            b"tea: !!python/object:os.system x\n",
            "site.yaml, line 1, column 6: could not determine a constructor",
        ),
        (None, "site.yaml: No such file or directory"),
    ],
)
def test_yaml_that_cannot_be_read_is_named_by_place(tmp_path, content, told):
    file = tmp_path / "site.yaml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        read_yaml(file)
    assert told in str(caught.value)
