"""The root of the checkout holds what the house says, and nothing else."""

from __future__ import annotations

import fnmatch
from pathlib import Path

ROOT_HOLDS = {
    *("pilot_core", "pilot_atlas", "pilot_hpc", "pilot_lsst", "pilot_copytools"),
    *("tests", "docs", ".ci", "noxfile.py", "pyproject.toml", "README.md", "LICENSE", ".gitignore"),
}
DISTRIBUTION_HOLDS = {"pyproject.toml", "README.md", "CHANGELOG.md", "changes", "src"}


def what_people_put(folder: Path, ignored: list[str]) -> set[str]:
    names = {path.name for path in folder.iterdir()} - {".git"}
    return {name for name in names if not any(fnmatch.fnmatch(name, pattern) for pattern in ignored)}


def ignored_by(root: Path) -> list[str]:
    lines = (root / ".gitignore").read_text().splitlines()
    return [line.rstrip("/") for line in lines if line and not line.startswith("#")]


def test_the_root(root: Path):
    assert what_people_put(root, ignored_by(root)) == ROOT_HOLDS


def test_each_distribution(root: Path):
    for top in sorted(root.glob("pilot_*")):
        assert what_people_put(top, ignored_by(root)) == DISTRIBUTION_HOLDS, top.name
        assert what_people_put(top / "src", ignored_by(root)) == {top.name}, top.name
        assert (top / "src" / top.name / "py.typed").exists(), top.name
