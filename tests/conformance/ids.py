"""Which test carries which scenario, read from the tests' own text; run as a program it prints the table."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
LIST = Path(__file__).with_name("ids.txt")
DATA = Path(__file__).with_name("ids-data.txt")
PILOT = Path(__file__).with_name("ids-pilot.txt")
CONTRACTS = TESTS.parent / "pilot_core/src/pilot_core/testing/contracts"
CITED = {file: re.compile(rf"{file}:((?:[A-Z]-\d\d|I\d)(?:\s*\([^)]*\))?)") for file in ("server", "data")}
CITED["pilot"] = re.compile(r"pilot:([A-L]\d\d(?:, [A-L]\d\d)*)")
LINE = re.compile(r"([A-Z]-?\d\d|I\d)  ([^:]+)(?:: (.+))?")


def scenario(*names: str) -> pytest.MarkDecorator:
    """The test does what these scenarios say, with a real pilot; their ids stand in its own."""
    return pytest.mark.parametrize("scenario", [names], indirect=True, ids=["+".join(names)])


def half(*names: str) -> pytest.MarkDecorator:
    """The test asks a server for what these scenarios take as given."""
    return scenario(*names)


def listed(path: Path = LIST) -> dict[str, str]:
    """Each id with the reason why it comes later, or nothing."""
    found: dict[str, str] = {}
    for line in path.read_text().splitlines():
        read = LINE.fullmatch(line)
        assert read, f"{path.name}: {line!r} is not 'ID  name' or 'ID  name: why it comes later'"
        assert read[1] not in found, f"{path.name}: {read[1]} stands there twice"
        found[read[1]] = read[3] or ""
    return found


def carried(tests: Path = TESTS, file: str = "server") -> dict[str, list[str]]:
    """Each id with the tests that name it, in a decorator or in their description, and which part of it they do."""
    found: dict[str, list[str]] = defaultdict(list)
    contracts = sorted(CONTRACTS.glob("*.py")) if file == "data" else []
    for path in (*sorted(tests.rglob("test_*.py")), *contracts):
        where = path.relative_to(tests) if path.is_relative_to(tests) else path.name
        source = path.read_text()
        for name, function in _tests(ast.parse(source)):
            for cited in _cited(function, file) if file != "pilot" else _noted(function, source):
                told, _, part = cited.partition("(")
                found[told.strip()].append(f"{where}::{name}" + (f" ({part}" if part else ""))
    return found


def _tests(tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            yield node.name, node


def _cited(function: ast.FunctionDef, file: str) -> Iterator[str]:
    yield from CITED[file].findall(ast.get_docstring(function) or "")
    if file != "server":
        return
    for each in function.decorator_list:
        if isinstance(each, ast.Call) and isinstance(each.func, ast.Name) and each.func.id in ("scenario", "half"):
            part = " (the server's half)" if each.func.id == "half" else ""
            yield from (f"{arg.value}{part}" for arg in each.args if isinstance(arg, ast.Constant))


def _noted(function: ast.FunctionDef, source: str) -> Iterator[str]:
    """Those in comments too, as a case of many has no description of its own."""
    begin = min([function.lineno, *(each.lineno for each in function.decorator_list)])
    for several in CITED["pilot"].findall("\n".join(source.splitlines()[begin - 1 : function.end_lineno])):
        yield from several.split(", ")


def table(path: Path = LIST, file: str = "server") -> str:
    """One line an id."""
    tests = carried(file=file)
    rows = [f"{file}:{name}  {'; '.join(tests[name]) or f'later: {why}'}" for name, why in listed(path).items()]
    return "\n".join(rows)


if __name__ == "__main__":
    print(table())
    print(table(DATA, "data"))
    print(table(PILOT, "pilot"))
