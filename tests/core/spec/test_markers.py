from __future__ import annotations

import warnings

import pytest

from pilot_core.plugins.hooks import Hooks, Tier
from pilot_core.spec.markers import Shape, hook, hookimpl


@pytest.mark.parametrize(("shape", "is_first"), [(Shape.FIRST, True), (Shape.GATHER, False), (Shape.TELL, False)])
def test_a_spec_is_the_function_itself_with_marks(shape, is_first):
    def pilot_bell_rung(door: str) -> None:
        """Hear the bell."""

    marked = hook(shape, since="0.3")(pilot_bell_rung)
    assert marked is pilot_bell_rung
    assert (marked.shape, marked.since) == (shape, "0.3")
    assert marked.pilot_core_spec["firstresult"] is is_first


def test_a_hooks_name_has_the_prefix():
    with pytest.raises(TypeError, match="hook bell_rung: a hook's name starts with 'pilot_'"):

        @hook(Shape.TELL, since="0.1")
        def bell_rung() -> None: ...


@pytest.mark.parametrize("source", ["def pilot_bell(a=1): ...", "def pilot_bell(*, a=1): ..."])
def test_a_hooks_arguments_have_no_defaults(source):
    found: dict[str, object] = {}
    exec(source, found)
    with pytest.raises(TypeError, match=r"hook pilot_bell: .* has a default"):
        hook(Shape.TELL, since="0.1")(found["pilot_bell"])


class Bell:
    @hook(Shape.TELL, since="0.1", changed={"door": DeprecationWarning("door goes at 2.0: take gate")})
    def pilot_bell_rung(self, door: str, gate: str) -> None:
        """Hear the bell."""


def test_a_plugin_that_takes_what_will_go_is_warned():
    class Old:
        @hookimpl
        def pilot_bell_rung(self, door: str) -> None: ...

    class New:
        @hookimpl
        def pilot_bell_rung(self, gate: str) -> None: ...

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Hooks(Bell).register(New(), "new", tier=Tier.PLUGIN)
    with pytest.warns(DeprecationWarning, match="take gate"):
        Hooks(Bell).register(Old(), "old", tier=Tier.PLUGIN)
