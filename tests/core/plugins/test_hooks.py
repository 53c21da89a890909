from __future__ import annotations

import logging
import sys
import threading
from asyncio import CancelledError
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, assert_type

import pytest

from pilot_core.errors import Code, PilotError
from pilot_core.plugins.guard import PluginFailed, PluginRef
from pilot_core.plugins.hands import Hands
from pilot_core.plugins.hooks import Answer, Hooks, PluginRefused, Tier
from pilot_core.plugins.patience import Patience
from pilot_core.spec.markers import Shape, hook, hookimpl


@hook(Shape.FIRST, since="0.1")
def pilot_tea_kind(guest: str, hour: int) -> str | None:
    """Say which tea."""
    return None


@hook(Shape.GATHER, since="0.1")
def pilot_tea_cakes(guest: str) -> Sequence[str]:
    """Offer cakes."""
    return ()


@hook(Shape.TELL, since="0.1")
def pilot_tea_served(guest: str) -> None:
    """Hear that tea is served."""


pilot_tea_kind_spec, pilot_tea_cakes_spec = pilot_tea_kind, pilot_tea_cakes
SPECS = SimpleNamespace(
    pilot_tea_kind=pilot_tea_kind, pilot_tea_cakes=pilot_tea_cakes, pilot_tea_served=pilot_tea_served
)


def _hooks(**options: Any) -> Hooks:
    return Hooks(SPECS, **options)


def _plugin(*functions: Callable[..., Any], **marks: Any) -> SimpleNamespace:
    return SimpleNamespace(**{function.__name__: hookimpl(function, **marks) for function in functions})


def _kind(answer: str | None, asked: list[str] | None = None, **marks: Any) -> SimpleNamespace:
    def pilot_tea_kind() -> str | None:
        if asked is not None:
            asked.append(str(answer))
        return answer

    return _plugin(pilot_tea_kind, **marks)


def _sealed(*plugins: tuple[str, object, Tier], **options: Any) -> Hooks:
    hooks = _hooks(**options)
    for name, plugin, tier in plugins:
        hooks.register(plugin, name, tier=tier, distribution=f"pilot-{name}", version="1.2")
    hooks.seal()
    return hooks


def test_first_asks_from_the_site_down_and_stops_at_an_answer():
    """pilot:L04"""
    asked: list[str] = []
    hooks = _sealed(
        ("core", _kind("core", asked, tryfirst=True), Tier.CORE),
        ("site", _kind(None, asked), Tier.SITE),
        ("plugin", _kind("plugin", asked), Tier.PLUGIN),
        ("experiment", _kind("", asked), Tier.EXPERIMENT),
    )
    assert not hooks.first(pilot_tea_kind, guest="Ada", hour=5)
    assert asked == ["None", ""]
    assert [each.plugin.name for each in hooks.plugins()] == ["site", "experiment", "plugin", "core"]


def test_pluggys_order_holds_inside_a_tier():
    asked: list[str] = []
    hooks = _sealed(
        ("c", _kind(None, asked, trylast=True), Tier.PLUGIN),
        ("a", _kind(None, asked, tryfirst=True), Tier.PLUGIN),
        ("b", _kind("b", asked), Tier.PLUGIN),
    )
    assert hooks.first(pilot_tea_kind, guest="Ada", hour=5) == "b"
    assert asked == ["None", "b"]


def test_first_without_an_answer_is_none():
    assert _sealed().first(pilot_tea_kind, guest="Ada", hour=5) is None


def test_gather_says_whose_each_answer_is():
    def pilot_tea_cakes(guest: str) -> list[str]:
        return [f"scones for {guest}"]

    def no_cakes() -> None:
        return None

    no_cakes.__name__ = "pilot_tea_cakes"
    hooks = _sealed(
        ("one", _plugin(pilot_tea_cakes), Tier.CORE),
        ("none", _plugin(no_cakes), Tier.PLUGIN),
        ("two", SimpleNamespace(pilot_tea_cakes=hookimpl(pilot_tea_cakes), mine=True), Tier.SITE),
    )
    said = ["scones for Ada"]
    assert hooks.gather(pilot_tea_cakes_spec, guest="Ada") == [
        Answer("two", Tier.SITE, said),
        Answer("one", Tier.CORE, said),
    ]


def test_answers_are_typed() -> None:
    hooks = _sealed()
    assert_type(hooks.first(pilot_tea_kind, guest="Ada", hour=5), str | None)
    assert_type(hooks.gather(pilot_tea_cakes, guest="Ada"), list[Answer[Sequence[str]]])
    with pytest.raises(TypeError, match="is not a hook of shape first"):
        hooks.first(pilot_tea_cakes, guest="Ada")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="is not a hook of shape tell"):
        hooks.tell(pilot_tea_kind, guest="Ada", hour=5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="takes exactly, by name: guest, hour"):
        hooks.first(pilot_tea_kind, guest="Ada")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="takes exactly, by name: guest, hour"):
        hooks.first(pilot_tea_kind, "Ada", 5)


class Observer:
    def __init__(self, fail: bool = True) -> None:
        self.fail = fail
        self.heard = 0

    @hookimpl
    def pilot_tea_served(self, guest: str) -> None:
        self.heard += 1
        if self.fail:
            raise KeyError(guest)


def test_tell_goes_on_without_those_that_fail(caplog):
    bad, good = Observer(), Observer(fail=False)
    hooks = _sealed(("bad", bad, Tier.SITE), ("good", good, Tier.CORE))
    with caplog.at_level(logging.WARNING):
        for _ in range(5):
            hooks.tell(pilot_tea_served, guest="Ada")
    assert (bad.heard, good.heard) == (3, 5)
    assert hooks.benched() == [("bad", "pilot_tea_served")]
    assert "plugin bad (pilot-bad 1.2) failed in pilot_tea_served: KeyError: 'Ada'" in caplog.text
    assert "benched for pilot_tea_served until the next job" in caplog.text
    hooks.unbench()
    hooks.tell(pilot_tea_served, guest="Ada")
    assert (bad.heard, hooks.benched()) == (4, [])


def test_only_failures_in_a_row_count():
    moody = Observer()
    hooks = _sealed(("moody", moody, Tier.PLUGIN))
    for fail in (True, True, False, True, True, False):
        moody.fail = fail
        hooks.tell(pilot_tea_served, guest="Ada")
    assert (moody.heard, hooks.benched()) == (6, [])


def test_a_benched_plugin_is_passed_over():
    hooks = _sealed(("slow", _kind("slow"), Tier.SITE), ("core", _kind("core"), Tier.CORE))
    hooks.bench("slow", "pilot_tea_kind")
    assert hooks.first(pilot_tea_kind, guest="Ada", hour=5) == "core"


def test_a_retired_plugin_does_not_count_among_those_that_listen():
    bad = SimpleNamespace(pilot_tea_served=hookimpl(lambda guest: None))
    hooks = _sealed(("slow", _kind("slow"), Tier.SITE), ("bad", bad, Tier.PLUGIN))
    assert hooks.listens(pilot_tea_served)
    hooks.retire("bad", ["pilot_tea_served"])
    assert not hooks.listens(pilot_tea_served)
    assert hooks.first(pilot_tea_kind, guest="Ada", hour=5) == "slow"
    with pytest.raises(PluginFailed, match=r"bad .*no hook 'pilot_tea_serve'; did you mean 'pilot_tea_served'"):
        hooks.retire("bad", ["pilot_tea_serve"])


def test_a_failure_carries_its_plugin():
    """pilot:L02"""

    def pilot_tea_kind(hour: int) -> str:
        return str({}[hour])

    hooks = _sealed(("bad", _plugin(pilot_tea_kind), Tier.PLUGIN))
    with pytest.raises(PluginFailed, match="bad") as caught:
        hooks.first(pilot_tea_kind_spec, guest="Ada", hour=5)
    failed = caught.value
    assert (failed.plugin, failed.distribution, failed.version) == ("bad", "pilot-bad", "1.2")
    assert failed.hook == "pilot_tea_kind"
    assert isinstance(failed.cause, KeyError)
    assert failed.__cause__ is failed.cause


def test_the_innermost_plugin_is_the_culprit():
    def raises() -> str:
        raise ValueError("mine")

    raises.__name__ = "pilot_tea_kind"

    def calls() -> str:
        return raises()

    calls.__name__ = "pilot_tea_kind"
    hooks = _sealed(("caller", _plugin(calls), Tier.SITE), ("culprit", _plugin(raises), Tier.CORE))
    with pytest.raises(PluginFailed) as caught:
        hooks.first(pilot_tea_kind, guest="Ada", hour=5)
    assert caught.value.plugin == "culprit"


def test_two_plugins_of_one_class_are_told_apart():
    hooks = _sealed(("one", Observer(fail=False), Tier.SITE), ("two", Observer(), Tier.CORE))
    hooks.tell(pilot_tea_served, guest="Ada")
    for _ in range(2):
        hooks.tell(pilot_tea_served, guest="Ada")
    assert hooks.benched() == [("two", "pilot_tea_served")]

    class Brewer:
        @hookimpl
        def pilot_tea_kind(self) -> str | None:
            return self.brew()

        def brew(self) -> str | None:
            return None

    class Clumsy(Brewer):
        def brew(self) -> str | None:
            raise ValueError("spilt")

    hooks = _sealed(("one", Brewer(), Tier.SITE), ("two", Clumsy(), Tier.CORE))
    with pytest.raises(PluginFailed, match="plugin two"):
        hooks.first(pilot_tea_kind, guest="Ada", hour=5)


def test_what_a_plugin_says_in_the_pilots_own_words_passes():
    def pilot_tea_kind() -> str:
        raise PilotError(next(each for each in vars(Code).values() if hasattr(each, "acronym")), "no water")

    hooks = _sealed(("dry", _plugin(pilot_tea_kind), Tier.PLUGIN))
    with pytest.raises(PilotError, match="no water") as caught:
        hooks.first(pilot_tea_kind_spec, guest="Ada", hour=5)
    assert caught.value.facts["plugin"] == "dry"


@pytest.mark.parametrize(
    "raised", [SystemExit(3), StopIteration("x"), GeneratorExit, CancelledError, KeyboardInterrupt]
)
def test_plugins_may_not_end_the_pilot_but_the_user_may(raised):
    def pilot_tea_kind() -> str:
        raise raised

    hooks = _sealed(("bad", _plugin(pilot_tea_kind), Tier.PLUGIN))
    with pytest.raises(KeyboardInterrupt if raised is KeyboardInterrupt else PluginFailed):
        hooks.first(pilot_tea_kind_spec, guest="Ada", hour=5)
    assert hooks.running() == {}


@pytest.mark.parametrize("raised", [CancelledError, KeyboardInterrupt])
def test_what_a_plugin_raises_in_a_worker_is_no_answer(raised):
    """Found: a cancellation that escaped counted as "passes", and the core's default was done."""

    def pilot_tea_kind() -> str:
        raise raised

    hooks = _sealed(("bad", _plugin(pilot_tea_kind), Tier.PLUGIN))
    call = Patience(lambda: hooks.first(pilot_tea_kind_spec, guest="Ada", hour=5), "tea", Hands())
    with pytest.raises(PluginFailed):
        call.wait(5)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_call_that_ends_without_an_answer_has_failed():
    call = Patience(sys.exit, "tea", Hands())
    with pytest.raises(PilotError, match="ended without an answer"):
        call.wait(5)


def _wrapper(around: Callable[[], Any], name: str) -> SimpleNamespace:
    around.__name__ = name
    return _plugin(around, wrapper=True)


def test_wrappers_go_around_all_tiers_the_highest_outermost():
    def outer():
        return f"({(yield)})"

    def inner():
        return f"[{(yield)}]"

    hooks = _sealed(
        ("outer", _wrapper(outer, "pilot_tea_kind"), Tier.SITE),
        ("inner", _wrapper(inner, "pilot_tea_kind"), Tier.PLUGIN),
        ("core", _kind("tea"), Tier.CORE),
    )
    assert hooks.first(pilot_tea_kind, guest="Ada", hour=5) == "([tea])"


def test_a_wrapper_is_not_blamed_for_what_it_wraps_and_may_mend_it():
    def innocent():
        return (yield)

    def mending():
        try:
            return (yield)
        except PluginFailed as failed:
            return f"water, for want of {failed.plugin}"

    def pilot_tea_kind() -> str:
        raise ValueError

    bad = ("bad", _plugin(pilot_tea_kind), Tier.CORE)
    hooks = _sealed(("wrapper", _wrapper(innocent, "pilot_tea_kind"), Tier.SITE), bad)
    with pytest.raises(PluginFailed) as caught:
        hooks.first(pilot_tea_kind_spec, guest="Ada", hour=5)
    assert caught.value.plugin == "bad"
    hooks = _sealed(("wrapper", _wrapper(mending, "pilot_tea_kind"), Tier.SITE), bad)
    assert hooks.first(pilot_tea_kind_spec, guest="Ada", hour=5) == "water, for want of bad"


def test_a_wrapper_of_a_gather_sees_answers_and_returns_them():
    def fewer():
        return [each for each in (yield) if each.plugin != "one"]

    def forgets():
        yield

    def pilot_tea_cakes() -> list[str]:
        return ["scone"]

    one = ("one", _plugin(pilot_tea_cakes), Tier.CORE)
    hooks = _sealed(one, ("wrapper", _wrapper(fewer, "pilot_tea_cakes"), Tier.SITE))
    assert hooks.gather(pilot_tea_cakes_spec, guest="Ada") == []
    hooks = _sealed(one, ("wrapper", _wrapper(forgets, "pilot_tea_cakes"), Tier.SITE))
    with pytest.raises(PluginFailed, match=r"plugin wrapper .*returns the list of answers, not None"):
        hooks.gather(pilot_tea_cakes_spec, guest="Ada")


def test_a_wrapper_yields_once():
    def twice():
        yield
        yield

    def never():
        if None:
            yield

    for around in (twice, never):
        hooks = _sealed(("wrapper", _wrapper(around, "pilot_tea_kind"), Tier.SITE))
        with pytest.raises(PluginFailed, match=r"plugin wrapper .*a wrapper yields once"):
            hooks.first(pilot_tea_kind, guest="Ada", hour=5)


def _refused(plugin: object) -> str:
    hooks = _hooks()
    with pytest.raises(PluginRefused) as caught:
        hooks.register(plugin, "bad", tier=Tier.PLUGIN, distribution="pilot-bad", version="0.1")
    assert hooks.plugins() == []
    hooks.seal()
    assert hooks.first(pilot_tea_kind, guest="Ada", hour=5) is None
    assert str(caught.value).startswith("plugin bad (pilot-bad 0.1): ")
    return str(caught.value)


def test_registration_names_every_fault_at_once_and_takes_nothing():
    def pilot_tea_kind() -> str:
        return "never asked"

    def pilot_tea_cakes():
        yield "scone"

    def pilot_tee_served() -> None: ...

    def pilot_tea_towel() -> None: ...

    plugin = _plugin(pilot_tea_kind, pilot_tea_cakes, pilot_tee_served)
    plugin.pilot_tea_towel = pilot_tea_towel
    told = _refused(plugin)
    assert "pilot_tea_cakes has a yield" in told
    assert "no hook 'pilot_tee_served'; did you mean 'pilot_tea_served'?" in told
    assert "pilot_tea_towel looks like a hook but is not marked" in told


async def _later() -> str:
    return "later"


def test_refuses_async_old_wrappers_unknown_arguments_and_wrapped_news():
    def pilot_tea_kind(): ...

    def around():
        yield

    def pilot_tea_cakes(visitor: str) -> list[str]:
        return [visitor]

    _later.__name__ = "pilot_tea_kind"
    assert "is async" in _refused(_plugin(_later))
    assert "wraps a hook that only informs" in _refused(_wrapper(around, "pilot_tea_served"))
    assert "'visitor'" in _refused(_plugin(pilot_tea_kind, pilot_tea_cakes))
    around.__name__ = "pilot_tea_kind"
    assert "old-style wrapper" in _refused(_plugin(around, hookwrapper=True))


def test_a_generator_that_slips_through_is_named():
    def pilot_tea_cakes() -> Any:
        return (cake for cake in ["scone"])

    hooks = _sealed(("bad", _plugin(pilot_tea_cakes), Tier.PLUGIN))
    with pytest.raises(PluginFailed, match=r"plugin bad .*return a list"):
        hooks.gather(pilot_tea_cakes_spec, guest="Ada")


def test_a_site_may_use_hooks_of_another_core():
    def pilot_tea_kind() -> str:
        return "mint"

    def pilot_tea_kinds() -> None: ...

    hooks = _hooks()
    warnings = hooks.register(_plugin(pilot_tea_kind, pilot_tea_kinds), "pilotfile", tier=Tier.SITE)
    hooks.seal()
    assert warnings == ["no hook 'pilot_tea_kinds'; did you mean 'pilot_tea_kind'?"]
    assert hooks.first(pilot_tea_kind_spec, guest="Ada", hour=5) == "mint"


def test_one_name_one_plugin():
    hooks = _hooks()
    hooks.register(_kind("a"), "tea", tier=Tier.PLUGIN, distribution="pilot-tea", version="1.0")
    with pytest.raises(PluginRefused, match=r"plugin tea: its name is taken by plugin tea \(pilot-tea 1.0\)"):
        hooks.register(_kind("b"), "tea", tier=Tier.PLUGIN)
    hooks.seal()
    assert hooks.first(pilot_tea_kind, guest="Ada", hour=5) == "a"


def test_registration_ends_before_asking_begins():
    hooks = _hooks()
    with pytest.raises(RuntimeError, match="after seal"):
        hooks.first(pilot_tea_kind, guest="Ada", hour=5)
    hooks.seal()
    with pytest.raises(RuntimeError, match="registration has ended"):
        hooks.register(_kind("late"), "late", tier=Tier.SITE)


def test_the_one_that_hangs_can_be_named():
    inside, release = threading.Event(), threading.Event()

    def pilot_tea_kind() -> str:
        inside.set()
        release.wait(10)
        return "done"

    hooks = _sealed(("slow", _plugin(pilot_tea_kind), Tier.PLUGIN))
    worker = threading.Thread(target=lambda: hooks.first(pilot_tea_kind_spec, guest="Ada", hour=5))
    worker.start()
    assert inside.wait(10)
    assert worker.ident is not None
    running = hooks.running()[worker.ident]
    assert (running.plugin.name, running.what) == ("slow", "pilot_tea_kind")
    release.set()
    worker.join()
    assert hooks.running() == {}


def test_a_driver_is_called_by_the_same_guard():
    hooks = _sealed()
    tool = PluginRef("xfer", "pilot-tools", "2.0")
    assert hooks.guarded(tool, "fetch", max, 1, 2) == 2
    with pytest.raises(PluginFailed, match=r"plugin xfer \(pilot-tools 2.0\) failed in fetch: ValueError"):
        hooks.guarded(tool, "fetch", int, "x")


def test_trace_tells_questions_and_answers_in_short():
    told: list[str] = []
    hooks = _sealed(("site", _kind("x" * 500), Tier.SITE), trace=told.append)
    hooks.first(pilot_tea_kind, guest="Ada", hour=5)
    assert told[0] == "pilot_tea_kind() asks site"
    assert told[1].startswith("pilot_tea_kind: site says 'xxx")
    assert len(told[1]) < 100


def test_plugins_are_listed_with_their_hooks():
    def pilot_tea_kind(): ...

    def pilot_tea_cakes(): ...

    hooks = _sealed(("tea", _plugin(pilot_tea_kind, pilot_tea_cakes), Tier.PLUGIN))
    (listed,) = hooks.plugins()
    assert listed.hooks == ("pilot_tea_cakes", "pilot_tea_kind")
    assert (listed.plugin.distribution, listed.tier) == ("pilot-tea", Tier.PLUGIN)
