from __future__ import annotations

import json

import pytest

PROFILE = """\
about: a sky survey
facts: {field: fieldName}
limits: {memory: 3 GB}
setup: [{source: sky.sh, arguments: ["{field}"]}]
inputs: [{match: "*.fits", path: image.fits}, {match: "atlas*", way: skip}]
command: [reduce, "--field={field}", "{arguments}"]
outputs: [{match: "*.cat"}]
"""
JOB = """\
id: sky-1
command: [https://h/trf/x, -v]
inputs: [a.fits, atlas.db]
wire: {fieldName: "it's M31"}
"""


@pytest.fixture
def files(tmp_path):
    (tmp_path / "sky.yaml").write_text(PROFILE)
    (tmp_path / "job.yaml").write_text(JOB)
    return tmp_path


def test_it_says_what_a_profile_says(pilot, files):
    said = pilot("profile", "check", files / "sky.yaml")
    assert (said.code, said.err) == (0, "")
    lines = [" ".join(line.split()) for line in said.out.splitlines()]
    assert lines[0] == "WHAT a sky survey"
    assert "fact field: the job's 'fieldName', without which it is refused" in lines
    assert "setting memory.limit_b is 3 GB" in lines
    assert "input *.fits: copy, found as image.fits" in lines
    assert "set-up source sky.sh {field}" in lines
    assert "command reduce --field={field} {arguments}" in lines
    assert json.loads(pilot("profile", "check", files / "sky.yaml", "--json").out)["about"] == "a sky survey"


def test_it_says_what_becomes_of_a_job(pilot, files):
    said = pilot("profile", "check", files / "sky.yaml", "--job", files / "job.yaml")
    lines = [" ".join(line.split()) for line in said.out.splitlines()]
    assert "program fetched from https://h/trf/x" in lines
    assert "input a.fits: copied, as image.fits" in lines
    assert "input atlas.db: not brought, as atlas.db" in lines
    assert """set-up sky.sh 'it'"'"'s M31'""" in lines
    assert """command reduce '--field=it'"'"'s M31' -v""" in lines


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("limit: {}", "line 1: limit: no such key; did you mean 'limits'?"),
        ("settings: {memory: {limit: 3 GB}}", "memory.limit: no such option; did you mean 'limit_b'?"),
        ("about: x\nlimits:\n  memory: much", "memory.limit_b: wants a whole number of bytes"),
    ],
)
def test_mistakes_are_told(pilot, files, text, told):
    (files / "sky.yaml").write_text(text)
    said = pilot("profile", "check", files / "sky.yaml")
    assert said.code == 2
    assert told in said.err
    assert str(files / "sky.yaml") in said.err


def test_a_section_that_nobody_has_is_warned_of(pilot, files):
    (files / "sky.yaml").write_text("settings: {memorx: {limit_b: 3 GB}}")
    said = pilot("profile", "check", files / "sky.yaml")
    assert said.code == 0
    assert "memorx: no section of a plugin that is installed here; did you mean 'memory'?" in said.err
