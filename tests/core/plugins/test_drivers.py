from __future__ import annotations

from abc import abstractmethod

import pytest

from pilot_core.plugins.discover import Discovery, State
from pilot_core.plugins.drivers import Drivers, NoSuchDriver
from pilot_core.plugins.guard import Guard
from pilot_core.spec.drivers import Driver

GROUP = "pilot_core.copytool"


class Cart(Driver):
    name = "cart"


class Crane(Driver):
    name = "crane"
    needs = "steel"

    @classmethod
    def probe(cls) -> str | None:
        return "the module 'steel' is not installed"


class Tractor(Driver):
    name = "tractor"

    @classmethod
    def probe(cls) -> str | None:
        raise OSError("no fuel")


class Sketch(Driver):
    name = "sketch"

    @abstractmethod
    def fetch(self) -> None: ...


class Stone:
    name = "stone"


TOOLS = {each.name: each for each in (Cart, Crane, Tractor, Sketch, Stone)} | {"barrow": Cart}


def _drivers() -> Drivers:
    return Drivers(Discovery.from_objects({GROUP: TOOLS}, "zz-tools", "1.0"), Guard())


def test_one_by_its_name_or_an_alias():
    usable = _drivers().one(GROUP, "barrow")
    assert (usable.driver, usable.asked, usable.name) == (Cart, "barrow", "cart")
    assert usable.plugin.distribution == "zz-tools"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("crate", r"copytool 'crate': not installed; did you mean 'crane'\?; installed: barrow, cart, crane"),
        (
            "crane",
            r"copytool 'crane': the module 'steel' is not .*; to install it: pip install 'zz-tools\[steel\]'",
        ),
        ("tractor", r"plugin tractor \(zz-tools 1.0\) failed in probe: OSError: no fuel"),
        ("sketch", "is unfinished: it lacks fetch"),
        ("stone", "is no driver"),
    ],
)
def test_one_that_is_not_to_be_had_says_why(name, told):
    with pytest.raises(NoSuchDriver, match=told):
        _drivers().one(GROUP, name)


def test_several_in_order_with_reasons_for_those_left_out():
    several = _drivers().several(GROUP, ["crane", "barrow", "gone", "cart", "tractor"])
    assert [each.asked for each in several.usable] == ["barrow"]
    assert [(each.name, each.state) for each in several.skipped] == [
        ("crane", State.UNSUITABLE),
        ("gone", State.MISSING),
        ("tractor", State.BROKEN),
    ]


def test_several_keep_the_order_asked():
    class Sled(Driver):
        name = "sled"

    drivers = Drivers(Discovery.from_objects({GROUP: TOOLS | {"sled": Sled}}), Guard())
    assert [each.name for each in drivers.several(GROUP, ["sled", "cart"]).usable] == ["sled", "cart"]
    assert [each.name for each in drivers.several(GROUP, ["cart", "sled"]).usable] == ["cart", "sled"]
