"""Floors and independence, as pyproject.toml tells import-linter, and the keeper, which stands alone."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path


def imports(tree: ast.Module) -> set[str]:
    """The top-level names a module imports from outside its own folder, wherever in it."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(str(node.module).partition(".")[0])
    return found


def test_import_linter_keeps_every_contract(root: Path):
    linter = Path(sys.executable).with_name("lint-imports")
    run = subprocess.run([linter, "--no-cache"], cwd=root, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "0 broken" in run.stdout


def test_the_keeper_needs_the_standard_library_only(sources):
    keeper = [source for source in sources if source.name.startswith("pilot_core/keeper/")]
    assert keeper
    for source in keeper:
        assert imports(source.tree) <= sys.stdlib_module_names, source.name


def test_modules_import_by_their_full_name_except_the_keepers(sources):
    relative = [
        source.name
        for source in sources
        for node in ast.walk(source.tree)
        if isinstance(node, ast.ImportFrom) and node.level and "/keeper/" not in source.name
    ]
    assert relative == []
