"""Directives about the surface: who answers which hook, in how many lines, and what became of the older pilot's.

They read the sources of the five distributions and of the example, as not all of these are installed together.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import yaml
from attrs import frozen
from pilot_reference import Written, table
from sphinx.application import Sphinx

from pilot_core.cli.hooks import contract

ROOT: Final = Path(__file__).resolve().parents[2]
ROWS: Final = ROOT / "docs/surface.yaml"
SOURCES: Final = {
    **{f"pilot-{name}": ROOT / f"pilot_{name}/src" for name in ("core", "copytools", "hpc", "atlas", "lsst")},
    "the example": ROOT / "tests/example_plugin/src",
}
Function = ast.FunctionDef | ast.AsyncFunctionDef


@frozen
class Answer:
    """A function that answers a hook, and how long it is."""

    hook: str
    distribution: str
    n_lines: int


def answers() -> list[Answer]:
    """Every function that is marked as an answer, in all sources."""
    return [
        Answer(node.name, name, len(code_lines(node)))
        for name, folder in SOURCES.items()
        for tree in trees(folder)
        for node in ast.walk(tree)
        if isinstance(node, Function) and any(map(_is_mark, node.decorator_list))
    ]


def trees(folder: Path) -> Iterator[ast.Module]:
    """The modules below a folder, but for what is written for others to fill in."""
    paths = sorted(path for path in folder.rglob("*.py") if "templates" not in path.parts)
    return (ast.parse(path.read_text()) for path in paths)


def _is_mark(decorator: ast.expr) -> bool:
    name = decorator.func if isinstance(decorator, ast.Call) else decorator
    return isinstance(name, ast.Name) and name.id == "hookimpl"


def code_lines(tree: ast.Module | Function) -> set[int]:
    """The numbers of the lines in which statements stand, decorators and docstrings apart."""
    found: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.stmt) and not _is_text(node):
            end = node.body[0].lineno - 1 if isinstance(node, Function | ast.ClassDef) else node.end_lineno
            found |= set(range(node.lineno, max(end or node.lineno, node.lineno) + 1))
    texts = (node for node in ast.walk(tree) if _is_text(node))
    return found - {line for node in texts for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)}


def _is_text(node: ast.AST) -> bool:
    """A docstring, or a text that says what the line before it is."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def rows() -> list[dict[str, str]]:
    """What became of each way, in its order."""
    found: list[dict[str, str]] = yaml.safe_load(ROWS.read_text())
    return found


# --- what is shown ----------------------------------------------------------------------------------------------------


def pilot_answers() -> Iterator[str]:
    """Hooks by distributions."""
    every = answers()
    yield table(("hook", *SOURCES), ((f"`{hook}`", *_counts(hook, every)) for hook in contract()))


def _counts(hook: str, every: list[Answer]) -> Iterator[str]:
    for name in SOURCES:
        counts = (str(each.n_lines) for each in every if (each.hook, each.distribution) == (hook, name))
        yield ", ".join(counts) or " "


def pilot_sizes() -> Iterator[str]:
    """Distributions by their lines and hooks."""
    every = answers()
    yield table(("distribution", "lines of code", "hooks answered"), (_size(name, every) for name in SOURCES))


def _size(name: str, every: list[Answer]) -> tuple[str, int, int]:
    n_lines = sum(len(code_lines(tree)) for tree in trees(SOURCES[name]))
    return name, n_lines, len({each.hook for each in every if each.distribution == name})


def pilot_surface() -> Iterator[str]:
    """The ways of the older pilot, numbered."""
    told = ((number, row["was"], row["by"], row["now"]) for number, row in enumerate(rows(), 1))
    yield table(("#", "what an experiment could say", "by", "here"), told)


def setup(app: Sphinx) -> dict[str, bool]:
    """Give Sphinx the directives."""
    for write in (pilot_answers, pilot_sizes, pilot_surface):
        name = write.__name__.replace("_", "-")
        app.add_directive(name, type(name, (Written,), {"write": staticmethod(write)}))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
