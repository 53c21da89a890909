"""Transforms from web servers: from where they may come, and how they do."""

from __future__ import annotations

import pytest

from pilot_atlas.options import AtlasOptions
from pilot_atlas.transform import bring, programs_of
from pilot_atlas.verify import problems

from .jobs import analysis

PATH = "/trf/user/runGen-00-00-02"
HERE = f"https://pandaserver.cern.ch:25443{PATH}"


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        (HERE, True),
        (f"https://PandaServer.cern.ch{PATH}", True),
        ("https://atlpan.web.cern.ch/atlpan/x", True),
        ("https://atlpan.web.cern.ch/atlpanic/x", False),  # pilot:C03
        (f"https://pandaserver.cern.ch.evil.example{PATH}", False),  # pilot:C03
        (f"https://pandaserver.cern.ch:8443{PATH}", False),
        (f"http://pandaserver.cern.ch:25080{PATH}", False),
    ],
)
def test_transforms_come_from_the_servers_of_the_experiment(settings, url, allowed):
    programs = programs_of(AtlasOptions())
    assert programs.allows(url) == allowed
    assert bool(list(problems(analysis(url), settings))) != allowed


def test_the_same_path_is_asked_of_the_other_servers_and_all_that_has_an_end():
    programs = programs_of(AtlasOptions())
    places = programs.places(HERE)
    assert places[0] == HERE
    assert places[-1] == f"https://atlpan.web.cern.ch/atlpan{PATH}"
    assert programs.each_s * len(places) * programs.rounds == pytest.approx(AtlasOptions().transform_s)


@pytest.fixture
def workdir(tmp_path):
    (tmp_path / "job").mkdir()
    return tmp_path / "job"


def fetch(web, workdir, make_settings, *more, **options):
    bases = [f"{each.url}/trf" for each in (web, *more)]
    return bring(web.url + PATH, workdir, make_settings(atlas={"transforms": bases, **options}))


def test_it_is_executable_then_and_nothing_else_is_left(web, workdir, make_settings):
    web.put(PATH, b"#!/bin/sh\n")
    name = fetch(web, workdir, make_settings)
    assert [each.name for each in workdir.iterdir()] == [name]
    assert (workdir / name).stat().st_mode & 0o777 == 0o755
    assert (workdir / name).read_bytes() == b"#!/bin/sh\n"


def test_another_server_is_asked_where_one_fails(new_web, workdir, make_settings):
    first, second = new_web(), new_web()
    first.put(PATH, b"busy", 503)
    second.put(PATH, b"#!/bin/sh\n")
    assert fetch(first, workdir, make_settings, second) == "runGen-00-00-02"
    assert (first.asked, second.asked) == ([PATH], [PATH])


def test_what_is_there_is_not_fetched_and_what_the_site_has_is_copied(web, workdir, make_settings, tmp_path):
    (workdir / "runGen-00-00-02").write_text("mine")
    fetch(web, workdir, make_settings)
    assert (workdir / "runGen-00-00-02").read_text() == "mine"
    (workdir / "runGen-00-00-02").unlink()
    (tmp_path / "site").mkdir()
    (tmp_path / "site/runGen-00-00-02").write_text("the site's")
    fetch(web, workdir, make_settings, transform_folder=str(tmp_path / "site"))
    assert (workdir / "runGen-00-00-02").read_text() == "the site's"
    assert (workdir / "runGen-00-00-02").stat().st_mode & 0o777 == 0o755
    assert web.asked == []
