"""``pilot new-plugin``: what it writes is a distribution that works, and whose tests pass untouched."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilot_core.cli.new_plugin import naming, unfit, written


def test_it_writes_a_distribution_and_says_how_to_go_on(pilot, tmp_path):
    said = pilot("new-plugin", "star-survey", "--dir", tmp_path / "made")
    top = tmp_path / "made" / "pilot-star-survey"
    files = {str(path.relative_to(top)) for path in top.rglob("*") if path.is_file()}
    assert files == {
        "pyproject.toml",
        "README.md",
        "src/pilot_star_survey/__init__.py",
        "src/pilot_star_survey/py.typed",
        "tests/test_star_survey.py",
    }
    assert said.code == 0
    assert all(str(top / name) in said.out for name in files)
    assert f"pip install -e '{top}[test]'" in said.out
    project = tomllib.loads((top / "pyproject.toml").read_text())["project"]
    assert project["name"] == "pilot-star-survey"
    assert project["entry-points"]["pilot_core.experiment"] == {"star-survey": "pilot_star_survey"}
    assert project["dependencies"] == ["pilot-core>=0.1,<2"]


def test_its_own_tests_pass_untouched(pilot, tmp_path):
    pilot("new-plugin", "belle")
    top = tmp_path / "pilot-belle"
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", "."],
        cwd=top,
        env={**os.environ, "PYTHONPATH": f"{top / 'src'}:{os.environ.get('PYTHONPATH', '')}"},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stdout
    assert "3 passed" in ran.stdout


def test_it_overwrites_nothing(pilot, tmp_path):
    (tmp_path / "pilot-belle").mkdir()
    said = pilot("new-plugin", "belle")
    assert said.code == 2
    assert "is there already" in said.err
    assert not list((tmp_path / "pilot-belle").iterdir())


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("Belle_II", "try 'belle-ii'"),
        ("pilot-belle", "gets its 'pilot-' by itself; try 'belle'"),
        ("pilot-class", "gets its 'pilot-' by itself"),
        ("a--b", "try 'a-b'"),
        ("-", "is not made of"),
        ("", "is not made of"),
        ("9lives", "is not made of"),
        ("../../etc", "try 'etc'"),
        ("class", "is a word of the Python language"),
        ("match", "is a word of the Python language"),
        ("generic", "is an experiment already"),
        ("core", "is taken: pilot-core"),
        ("x" * 51, "is not made of"),
    ],
)
def test_names_that_will_not_do(name, why):
    assert why in unfit(name)


@pytest.mark.parametrize("name", ["belle", "star-survey", "x2", "x" * 50])
def test_names_that_will(name):
    assert unfit(name) == ""


@given(st.from_regex(r"[a-z][a-z0-9]{0,8}(-[a-z0-9]{1,8}){0,2}", fullmatch=True))
def test_whatever_the_name_python_and_toml_can_read_what_is_written(name):
    for path, text in written(naming(name)).items():
        assert not Path(path).is_absolute()
        assert "$" not in path + text
        if path.endswith(".py"):
            ast.parse(text)
        if path.endswith(".toml"):
            tomllib.loads(text)
