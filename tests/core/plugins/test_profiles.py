"""Experiments that are profiles: a file that is named, a package without Python, and one with some."""

from __future__ import annotations

import sys

import pytest

from pilot_core.agent.setup import Sources, prepare
from pilot_core.builtin import generic
from pilot_core.builtin.sources import QueueFileOptions
from pilot_core.model.wire import BadMessage
from pilot_core.plugins.choose import CannotChoose
from pilot_core.plugins.discover import EXPERIMENT, Discovery
from pilot_core.sdk import Job, hookimpl

PROFILE = "limits: {memory: 3 GB}\ncontainer: {image: sky.sif}\nenvironment: {set: {SKY: blue}}\n"
HOOKS = "from pilot_core.sdk import hookimpl\n\n@hookimpl\ndef pilot_payload_container():\n    return 'by-hook.sif'\n"


class Plain:
    @hookimpl
    def pilot_payload_container(self):
        return "plain.sif"


@pytest.fixture
def package(shelf):
    """Installs a package, as a distribution would, that has a profile and this ``__init__.py``."""

    def install(code):
        shelf.put("zz-sky", {EXPERIMENT: {"zz-sky": "zz_sky"}}, version="1.0")
        folder = shelf.place / "zz_sky"
        folder.mkdir()
        (folder / "profile.yaml").write_text(PROFILE)
        if code is not None:
            (folder / "__init__.py").write_text(code)
        sys.modules.pop("zz_sky", None)

    yield install
    sys.modules.pop("zz_sky", None)


def image(setup):
    from pilot_core.spec.payload import pilot_payload_container

    return setup.hooks.first(pilot_payload_container, job=Job(id="1"), queue=setup.queue, settings=setup.settings)


def test_a_file_that_is_named(tmp_path):
    path = tmp_path / "sky.yaml"
    path.write_text(PROFILE)
    setup = prepare(Sources(flags={"bootstrap.profile": "sky.yaml"}, cwd=str(tmp_path)))
    assert image(setup) == "sky.sif"
    row = next(row for row in setup.settings.explain() if row.path == "memory.limit_b")
    assert (row.value, row.layer, row.where) == ("3000000000", "experiment", str(path))


def test_its_relative_paths_are_seen_from_where_it_lies(tmp_path):
    (tmp_path / "sky").mkdir()
    (tmp_path / "sky" / "sky.yaml").write_text("settings:\n  queue_file: {path: queues.yaml}\n")
    (tmp_path / "sky" / "queues.yaml").write_text("local: {}\n")
    setup = prepare(Sources(flags={"bootstrap.profile": "sky/sky.yaml"}, cwd=str(tmp_path)))
    assert setup.settings.of(QueueFileOptions).path == tmp_path / "sky" / "queues.yaml"


def test_the_site_has_the_last_word(tmp_path):
    (tmp_path / "sky.yaml").write_text(PROFILE)
    (tmp_path / "site.yaml").write_text("bootstrap: {profile: sky.yaml}\nmemory: {limit_b: 1 GB}\n")
    setup = prepare(Sources(site=tmp_path / "site.yaml"))
    assert next(row.value for row in setup.settings.explain() if row.path == "memory.limit_b") == "1000000000"


@pytest.mark.parametrize(("code", "answer"), [(None, "sky.sif"), ("", "sky.sif"), (HOOKS, "by-hook.sif")])
def test_a_package_may_be_a_profile_and_what_that_cannot_say_is_python(package, code, answer):
    package(code)
    setup = prepare(Sources(flags={"bootstrap.experiment": "zz-sky"}))
    assert image(setup) == answer
    names = {
        each.plugin.name: each.plugin.distribution for each in setup.hooks.plugins() if each.plugin.name[:2] == "zz"
    }
    assert set(names) == {"zz-sky", *(["zz-sky.hooks"] if code == HOOKS else [])}
    assert set(names.values()) == {"zz-sky"}


def test_an_experiment_that_reads_none_says_so(tmp_path):
    path = tmp_path / "sky.yaml"
    path.write_text(PROFILE)
    discovery = Discovery().with_objects({EXPERIMENT: {"plain": Plain()}})
    with pytest.raises(CannotChoose, match="it reads no profile"):
        prepare(Sources(flags={"bootstrap.experiment": "plain", "bootstrap.profile": str(path)}), discovery)
    assert image(prepare(Sources(flags={"bootstrap.experiment": "plain"}), discovery)) == "plain.sif"


def test_a_profile_that_is_wrong_is_told(tmp_path):
    path = tmp_path / "sky.yaml"
    path.write_text("limit: {}\n")
    with pytest.raises(BadMessage, match=r"line 1: limit: no such key; did you mean 'limits'\?"):
        prepare(Sources(flags={"bootstrap.profile": str(path)}))


def test_without_a_profile_the_generic_experiment_is_a_plain_module():
    assert generic in [entry.obj for entry in prepare(Sources()).chosen.entries]
