from __future__ import annotations

import os
import subprocess
import sys

import pytest

from pilot_core.plugins.discover import Discovery, State

GROUP = "pilot_core.copytool"


def _named(discovery: Discovery, *names: str):
    return [each for each in discovery.find(GROUP) if each.name in names]


def test_finding_imports_nothing(shelf):
    shelf.put("zz-tools", {GROUP: {"zz-one": "zz_one:Tool"}}, version="2.3", zz_one="1/0")
    (found,) = _named(Discovery(), "zz-one")
    assert (found.kind, found.distribution, found.version) == ("copytool", "zz-tools", "2.3")
    assert found.state is State.INSTALLED
    assert "zz_one" not in sys.modules


def test_loads_what_is_asked_in_the_order_asked(shelf):
    points = {GROUP: {"zz-one": "zz_one:Tool", "zz-two": "zz_two:Tool", "zz-three": "zz_three:Tool"}}
    tool = "class Tool: pass\n"
    shelf.put("zz-tools", points, zz_one=tool, zz_two=tool, zz_three="raise RuntimeError")
    loaded = Discovery().load(GROUP, ["zz-two", "zz-one"])
    assert [each.name for each in loaded] == ["zz-two", "zz-one"]
    assert [each.state for each in loaded] == [State.LOADED, State.LOADED]
    assert [each.obj for each in loaded] == [sys.modules["zz_two"].Tool, sys.modules["zz_one"].Tool]
    assert "zz_three" not in sys.modules


def test_an_alias_is_another_name(shelf):
    shelf.put("zz-tools", {GROUP: {"zz-one": "zz_one:Tool", "zz-uno": "zz_one:Tool"}}, zz_one="class Tool: ...")
    one, other = Discovery().load(GROUP, ["zz-one", "zz-uno"])
    assert one.obj is other.obj
    assert one.state is State.LOADED


def test_rivals_are_refused_and_both_named(shelf):
    shelf.put("zz-mine", {GROUP: {"zz-one": "zz_one:Tool"}}, version="1.0", zz_one="class Tool: ...")
    shelf.put("zz-yours", {GROUP: {"zz-one": "zz_one:Tool"}}, version="3.1")
    discovery = Discovery()
    (loaded,) = discovery.load(GROUP, ["zz-one"])
    assert loaded.state is State.RIVAL
    assert "zz-mine 1.0 and zz-yours 3.1" in loaded.reason
    assert "zz_one" not in sys.modules


def test_a_distribution_that_is_on_the_path_twice_is_no_rival(shelf, tmp_path, monkeypatch):
    shelf.put("zz-tools", {GROUP: {"zz-one": "zz_one:Tool", "zz-gone": "zz_one:Tool"}}, version="1.0")
    first = type(shelf)(tmp_path / "first")
    first.put("zz.Tools", {GROUP: {"zz-one": "zz_one:Tool"}}, version="2.0")
    monkeypatch.syspath_prepend(str(first.place))
    (found,) = _named(Discovery(), "zz-one", "zz-gone")
    assert (found.name, found.version, found.state) == ("zz-one", "2.0", State.INSTALLED)


@pytest.mark.parametrize("source", ["def (", "assert False", "raise SystemExit(3)", "x = {}['y']", "import zz_one.sub"])
def test_what_does_not_load_is_a_record(shelf, source):
    shelf.put("zz-tools", {GROUP: {"zz-one": "zz_one:Tool"}}, zz_one=source)
    (loaded,) = Discovery().load(GROUP, ["zz-one"])
    assert loaded.state is State.BROKEN
    assert loaded.reason.startswith("does not load: ")
    assert loaded.distribution == "zz-tools"


def test_a_missing_attribute_is_broken(shelf):
    shelf.put("zz-tools", {GROUP: {"zz-one": "zz_one:Toll"}}, zz_one="class Tool: ...")
    (loaded,) = Discovery().load(GROUP, ["zz-one"])
    assert loaded.state is State.BROKEN
    assert "Toll" in loaded.reason


@pytest.mark.parametrize(("extras", "install"), [(("zz-one",), "pip install 'zz-tools[zz-one]'"), (("other",), "")])
def test_a_library_that_is_not_there_is_no_defect(shelf, extras, install):
    shelf.put("zz-tools", {GROUP: {"zz-one": "zz_one:Tool"}}, extras=extras, zz_one="import zz_library.client")
    (loaded,) = Discovery().load(GROUP, ["zz-one"])
    assert loaded.state is State.UNSUITABLE
    assert "'zz_library'" in loaded.reason
    assert loaded.install == install


def test_one_that_fails_leaves_the_others(shelf):
    points = {GROUP: {"zz-one": "zz_one", "zz-two": "zz_two"}}
    shelf.put("zz-tools", points, zz_one="raise ValueError", zz_two="")
    states = [each.state for each in Discovery().load(GROUP, ["zz-one", "zz-two"])]
    assert states == [State.BROKEN, State.LOADED]


def test_an_unknown_name_is_answered_with_the_nearest(shelf):
    shelf.put("zz-tools", {GROUP: {"zz-xrootd": "zz_one"}}, zz_one="")
    (missing,) = Discovery().load(GROUP, ["zz-xrotd"])
    assert missing.state is State.MISSING
    assert "did you mean 'zz-xrootd'?" in missing.reason


def test_objects_stand_for_what_is_installed(shelf):
    shelf.put("zz-tools", {GROUP: {"zz-one": "zz_one", "zz-two": "zz_one"}}, zz_one="")
    fake = object()
    discovery = Discovery().with_objects({GROUP: {"zz-one": fake}}, "zz-kit", "9")
    one, two = discovery.load(GROUP, ["zz-one", "zz-two"])
    assert (one.obj, one.distribution, one.version) == (fake, "zz-kit", "9")
    assert two.state is State.LOADED
    alone = Discovery.from_objects({GROUP: {"zz-one": fake}})
    assert alone.groups() == [GROUP]
    assert [each.obj for each in alone.find(GROUP)] == [fake]


PROGRAM = """
import sys
sys.executable = "/usr/bin/python3"  # stevedore keeps no cache for an interpreter under /tmp
from pilot_core.plugins.discover import Discovery, State
import pilot_core.plugins.hooks, pilot_core.plugins.choose, pilot_core.plugins.doctor
assert "stevedore" not in sys.modules and "importlib.metadata" not in sys.modules, "imported too early"
(loaded,) = Discovery().load("pilot_core.copytool", ["zz-one"])
assert loaded.state is State.LOADED, loaded
assert "stevedore" in sys.modules
"""


def test_nothing_is_cached_in_anybodys_home(shelf, tmp_path):
    shelf.put("zz-tools", {GROUP: {"zz-one": "zz_one"}}, zz_one="")
    home = tmp_path / "home"
    home.mkdir()
    environ = {name: value for name, value in os.environ.items() if name != "XDG_CACHE_HOME"}
    path = os.pathsep.join(entry for entry in sys.path if entry)
    run = subprocess.run(
        [sys.executable, "-B", "-c", PROGRAM],
        env=environ | {"HOME": str(home), "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    assert list(home.rglob("*")) == []
