from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilot_core.plugins.hooks import Answer, Tier
from pilot_core.plugins.patches import PatchConflict, apply_patches
from pilot_core.spec.patch import Patch


def _said(plugin: str, tier: Tier, *patches: Patch) -> Answer[tuple[Patch, ...]]:
    return Answer(plugin, tier, patches)


def test_verbs():
    base = {"PATH": "/bin", "GONE": "1", "argv": ("run",), "limit": 10, "least": 1}
    patches = [
        Patch.prepend("PATH", "/opt", between=":"),
        Patch.append("PATH", "/usr", between=":"),
        Patch.unset("GONE"),
        Patch.unset("NEVER"),
        Patch.append("argv", ("-v",)),
        Patch.min("limit", 5),
        Patch.max("least", 2),
        Patch.set("NEW", "x"),
        Patch.append("LONE", "y", between=":"),
    ]
    assert apply_patches(base, [_said("a", Tier.PLUGIN, *patches)]) == {
        "PATH": "/opt:/bin:/usr",
        "argv": ("run", "-v"),
        "limit": 5,
        "least": 2,
        "NEW": "x",
        "LONE": "y",
    }
    assert base["PATH"] == "/bin"


def test_the_higher_tier_has_the_last_word():
    answers = [
        _said("site", Tier.SITE, Patch.set("a", "site")),
        _said("experiment", Tier.EXPERIMENT, Patch.set("a", "experiment"), Patch.append("a", "!")),
        _said("plugin", Tier.PLUGIN, Patch.unset("a")),
    ]
    assert apply_patches({"a": "base"}, answers) == {"a": "site"}
    assert apply_patches({"a": "base"}, answers[1:]) == {"a": "experiment!"}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Patch.set("a", 1), Patch.set("a", 2)),
        (Patch.set("a", 1), Patch.unset("a")),
        (Patch.min("a", 1), Patch.max("a", 2)),
    ],
)
def test_two_of_one_tier_that_disagree_are_both_named(one, other):
    with pytest.raises(PatchConflict, match=r"^a: .*left and right") as caught:
        apply_patches({}, [_said("left", Tier.PLUGIN, one), _said("right", Tier.PLUGIN, other)])
    assert caught.value.plugins == ("left", "right")


def test_two_of_one_tier_may_agree_and_one_may_change_its_mind():
    agreed = [_said("left", Tier.PLUGIN, Patch.set("a", 1)), _said("right", Tier.PLUGIN, Patch.set("a", 1))]
    assert apply_patches({}, agreed) == {"a": 1}
    assert apply_patches({}, [_said("left", Tier.PLUGIN, Patch.set("a", 1), Patch.set("a", 2))]) == {"a": 2}


def test_a_patch_that_does_not_fit_names_its_plugin():
    with pytest.raises(PatchConflict, match=r"a: append 'x' does not fit the int that is there \(left\)"):
        apply_patches({"a": 1}, [_said("left", Tier.PLUGIN, Patch.append("a", "x"))])


numbers = st.integers(-5, 5)
keys = st.sampled_from("abc")
patches = st.one_of(
    st.builds(Patch.set, keys, numbers),
    st.builds(Patch.unset, keys),
    st.builds(Patch.min, keys, numbers),
    st.builds(Patch.max, keys, numbers),
    st.builds(Patch.append, keys, numbers),
    st.builds(Patch.append, st.just("text"), st.sampled_from("xyz")),
    st.builds(Patch.prepend, st.just("text"), st.sampled_from("xyz")),
)
answers = st.lists(
    st.tuples(st.sampled_from(Tier), st.lists(patches, max_size=4)).map(lambda said: (said[0], tuple(said[1]))),
    max_size=5,
).map(lambda said: [Answer(f"p{index}", *each) for index, each in enumerate(said)])


def _outcome(said):
    try:
        return apply_patches({"a": 0, "b": 1}, said)
    except PatchConflict as conflict:
        return str(conflict)


@given(answers, st.randoms(use_true_random=False))
def test_the_order_in_which_plugins_answer_does_not_matter(said, shuffle: random.Random):
    mixed = list(said)
    shuffle.shuffle(mixed)
    assert _outcome(mixed) == _outcome(said)


@given(answers, keys, numbers)
def test_what_the_site_sets_is_set(said, key, value):
    below = [answer for answer in said if answer.tier is not Tier.SITE]
    if isinstance(_outcome(below), dict):
        assert _outcome([*below, _said("site", Tier.SITE, Patch.set(key, value))])[key] == value
