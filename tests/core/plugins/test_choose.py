from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from pilot_core.plugins.choose import CannotChoose, Wish, check_required, choose_plugins
from pilot_core.plugins.discover import EXPERIMENT, PLUGIN, Discovery, Entry, State
from pilot_core.plugins.doctor import Doctor
from pilot_core.plugins.hooks import Hooks, Tier
from pilot_core.spec.drivers import Driver
from pilot_core.spec.markers import Shape, hook

TOOL = "pilot_core.copytool"


@hook(Shape.GATHER, since="0.1")
def pilot_tea_cakes(guest: str) -> list[str]:
    """Offer cakes."""
    return []


@hook(Shape.FIRST, since="0.1")
def pilot_tea_host(guest: str) -> str | None:
    """Say who pours."""


ANSWERS = """
from pilot_core.spec.markers import hookimpl

@hookimpl
def pilot_tea_cakes(guest):
    return [__name__]
"""


@pytest.fixture
def house(shelf):
    points = {
        EXPERIMENT: {"zz-exp": "zz_exp", "zz-other": "zz_other"},
        PLUGIN: {"zz-a": "zz_a", "zz-b": "zz_b"},
    }
    modules = {"zz_exp": ANSWERS, "zz_other": ANSWERS, "zz_a": ANSWERS, "zz_b": ANSWERS}
    shelf.put("zz-house", points, version="1.4", **modules)
    return shelf


def _choose(**wish) -> tuple[Hooks, dict[str, Entry], tuple[str, ...]]:
    hooks = Hooks(SimpleNamespace(pilot_tea_cakes=pilot_tea_cakes))
    chosen = choose_plugins(Discovery(), hooks, Wish(**{"experiment": "zz-exp"} | wish))
    return hooks, {entry.name: entry for entry in chosen.entries}, chosen.warnings


def _who_answers(hooks: Hooks) -> list[str]:
    return [answer.plugin for answer in hooks.gather(pilot_tea_cakes, guest="Ada")]


def test_the_experiment_and_every_plugin(house):
    hooks, entries, warnings = _choose()
    assert sorted(_who_answers(hooks)) == ["zz-a", "zz-b", "zz-exp"]
    assert _who_answers(hooks)[0] == "zz-exp"
    assert entries["zz-other"].state is State.INSTALLED
    assert warnings == ()


def test_blocked_by_name(house):
    hooks, entries, warnings = _choose(blocked={"zz-a", "zz-bb"})
    assert _who_answers(hooks) == ["zz-exp", "zz-b"]
    assert (entries["zz-a"].state, entries["zz-a"].reason) == (State.BLOCKED, "blocked by name (no:zz-a)")
    assert warnings == ("no plugin 'zz-bb' is installed; did you mean 'zz-b'?",)


def test_only_these(house):
    hooks, entries, _ = _choose(only=["zz-b"])
    assert _who_answers(hooks) == ["zz-exp", "zz-b"]
    assert "not among the only ones wanted: zz-b" in entries["zz-a"].reason


def test_only_these_leaves_the_cores_own(shelf, house):
    shelf.put("pilot_core", {PLUGIN: {"zz-core": "zz_core"}}, version="9", zz_core=ANSWERS)
    hooks, _, _ = _choose(only=[])
    assert _who_answers(hooks) == ["zz-exp", "zz-core"]
    assert [each.tier for each in hooks.plugins()] == [Tier.EXPERIMENT, Tier.CORE]
    with pytest.raises(CannotChoose, match="zz-core cannot be blocked"):
        _choose(blocked={"zz-core"}, essential={"zz-core"})


def test_an_experiment_that_is_not_there_names_those_that_are(house):
    with pytest.raises(CannotChoose, match=r"experiment 'zz-exq': not installed; did you mean 'zz-exp'\?; inst"):
        _choose(experiment="zz-exq")
    with pytest.raises(CannotChoose, match="plugin zz-exp cannot be blocked"):
        _choose(blocked={"zz-exp"})


@pytest.mark.parametrize("source", ["import zz_library", "1/0", ANSWERS.replace("(guest)", "(visitor)")])
def test_a_plugin_that_fails_is_fatal_only_when_required(house, source):
    (house.place / "zz_a.py").write_text(source)
    hooks, entries, _ = _choose()
    assert _who_answers(hooks) == ["zz-exp", "zz-b"]
    assert entries["zz-a"].state in (State.BROKEN, State.UNSUITABLE)
    with pytest.raises(CannotChoose, match=r"required plugin 'zz-a': .*(zz_library|ZeroDivisionError|visitor)"):
        _choose(required=["zz-a"])


def test_all_problems_at_once(house):
    with pytest.raises(CannotChoose) as caught:
        _choose(experiment="nope", blocked={"nope"}, required=["zz-house>=2", "zz-a>>1"])
    assert len(caught.value.problems) == 4


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("zz-a", ""),
        ("zz-a>=1.4", ""),
        ("zz-a >= 1.4.0", ""),
        ("zz_house>=1", ""),
        ("zz-a>=1.10", "required plugin 'zz-a' is 1.4 here, wanted is at least 1.10"),
        ("zz-c", "required plugin 'zz-c' is not installed; did you mean 'zz-a'?"),
        ("zz-a==1.4", "required plugin 'zz-a==1.4': write it as name or name>=N.M, with whole numbers"),
        ("zz-a>=1.4rc1", "required plugin 'zz-a>=1.4rc1': write it as name or name>=N.M, with whole numbers"),
    ],
)
def test_requirements(written, problem):
    assert check_required(written, [Entry(PLUGIN, "zz-a", "zz-house", "1.4", State.LOADED)]) == problem


@pytest.mark.parametrize(("version", "fits"), [("1.10.dev3", True), ("1.9.9", False), ("2", True), ("1.10rc1", True)])
def test_versions_are_compared_by_their_leading_integers(version, fits):
    problem = check_required("zz-a>=1.10", [Entry(PLUGIN, "zz-a", "zz-house", version, State.LOADED)])
    assert (problem == "") is fits


def test_a_site_file_is_asked_first_and_may_know_more_hooks(house, tmp_path):
    site = tmp_path / "pilotfile.py"
    site.write_text(ANSWERS + "@hookimpl\ndef pilot_tea_cake(): ...\n")
    hooks, _, warnings = _choose(site_file=site)
    assert hooks.gather(pilot_tea_cakes, guest="Ada")[0].value == ["pilotfile"]
    assert warnings == (f"{site}: no hook 'pilot_tea_cake'; did you mean 'pilot_tea_cakes'?; it is left out",)


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("def (", "failed in import: SyntaxError"),
        ("1/0", "ZeroDivisionError"),
        (None, "there is no such file"),
        ("def pilot_tea_cakes(): ...", "not marked with @hookimpl"),
    ],
)
def test_a_site_file_that_does_not_work_is_named(house, tmp_path, source, told):
    site = tmp_path / "pilotfile.py"
    if source is not None:
        site.write_text(source)
    with pytest.raises(CannotChoose, match=f"pilotfile.py.*{told}"):
        _choose(site_file=site)


class Cart(Driver):
    name = "zz-cart"


class Crane(Driver):
    name = "zz-crane"
    needs = "steel"

    @classmethod
    def probe(cls) -> str | None:
        return "no steel"


def test_the_doctor_sees_everything(house):
    house.put("zz-tools", {TOOL: {"zz-c": "zz_tool", "zz-x": "zz_gone:X"}}, extras=("zz-x",), zz_gone="import zz_y")
    house.put("zz-rival", {TOOL: {"zz-c": "zz_tool"}})
    (house.place / "zz_b.py").write_text("1/0")
    discovery = Discovery().with_objects({TOOL: {"zz-cart": Cart, "zz-crane": Crane}}, "zz-own", "3")
    hooks = Hooks(SimpleNamespace(pilot_tea_cakes=pilot_tea_cakes))
    chosen = choose_plugins(discovery, hooks, Wish("zz-exp", blocked={"zz-a"}))
    rows = {row.name: row for row in Doctor(discovery, hooks, chosen).rows() if row.name.startswith("zz-")}
    assert {name: row.state for name, row in rows.items()} == {
        "zz-exp": "loaded",
        "zz-other": "installed",
        "zz-a": "blocked",
        "zz-b": "broken",
        "zz-c": "rival",
        "zz-x": "unsuitable",
        "zz-cart": "loaded",
        "zz-crane": "unsuitable",
    }
    assert rows["zz-exp"].hooks == ("pilot_tea_cakes",)
    assert rows["zz-crane"].install == "pip install 'zz-own[steel]'"
    assert rows["zz-x"].install == "pip install 'zz-tools[zz-x]'"
    assert json.loads(json.dumps(rows["zz-exp"].as_json()))["hooks"] == ["pilot_tea_cakes"]


POURS = """
from pilot_core.spec.markers import hookimpl

@hookimpl
def pilot_tea_host(guest):
    return __name__
"""


def _shared(**wish) -> list[str]:
    hooks = Hooks(SimpleNamespace(pilot_tea_cakes=pilot_tea_cakes, pilot_tea_host=pilot_tea_host))
    discovery = Discovery()
    return Doctor(discovery, hooks, choose_plugins(discovery, hooks, Wish(**{"experiment": "zz-exp"} | wish))).shared()


def test_the_doctor_names_both_who_answer_one_question(house):
    for name in ("zz_a", "zz_b"):
        (house.place / f"{name}.py").write_text(POURS)
    (told,) = _shared()
    assert told.startswith("pilot_tea_host is answered by plugin zz-")
    assert "plugin zz-a (zz-house 1.4)" in told
    assert "plugin zz-b (zz-house 1.4)" in told
    assert told.endswith("by chance: leave one out with --plugin no:NAME")
    assert _shared(blocked={"zz-a"}) == []


def test_the_doctor_says_that_the_experiments_answer_counts_over_a_plugins(house):
    for name in ("zz_a", "zz_exp"):
        (house.place / f"{name}.py").write_text(POURS)
    (told,) = _shared()
    whom = "plugin zz-exp (zz-house 1.4) and by plugin zz-a (zz-house 1.4)"
    assert told == f"pilot_tea_host is answered by {whom}; zz-exp is asked first"
