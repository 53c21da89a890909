"""The checkout, its packages and their syntax, read once."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from attrs import frozen

ROOT = Path(__file__).resolve().parents[2]
DISTRIBUTIONS = ("pilot_core", "pilot_copytools", "pilot_hpc", "pilot_atlas", "pilot_lsst")


@frozen
class Source:
    """One Python file of a package."""

    path: Path
    text: str
    tree: ast.Module

    @property
    def name(self) -> str:
        """``pilot_core/io/box.py``: the place of the file in the package, as people say it."""
        return str(self.path.relative_to(ROOT)).partition("/src/")[2]

    def functions(self) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
        return [node for node in ast.walk(self.tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def own_files(top: Path) -> list[Path]:
    """The files below a folder that people wrote."""
    made = {
        "__pycache__",
        ".nox",
        ".git",
        ".hypothesis",
        "dist",
        ".mypy_cache",
        ".ruff_cache",
        ".pytest_cache",
    }
    return sorted(path for path in top.rglob("*") if path.is_file() and not made & set(path.relative_to(ROOT).parts))


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def files() -> list[Path]:
    return own_files(ROOT)


@pytest.fixture(scope="session")
def sources() -> list[Source]:
    """Every module of the five packages; a plugin's template is text, not a module."""
    paths = [path for dist in DISTRIBUTIONS for path in own_files(ROOT / dist / "src") if path.suffix == ".py"]
    texts = {path: path.read_text() for path in paths if "templates" not in path.parts}
    return [Source(path, text, ast.parse(text)) for path, text in texts.items()]
