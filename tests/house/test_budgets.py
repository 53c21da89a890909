"""Sizes, and constructs that are counted."""

from __future__ import annotations

import ast
import io
import statistics
import tokenize
from collections import defaultdict

#: Where ``except Exception`` may stand, once each: a plugin call, a worker's end, a request, two programs' entries.
BOUNDARIES = {
    "pilot_core/plugins/guard.py",
    "pilot_core/agent/workers.py",
    "pilot_core/cli/main.py",
    "pilot_core/dispatcher/messages.py",
    "pilot_core/keeper/watch.py",
}
#: Where nothing announces what is waited for: a hanging process's stacks, an answer left as a file, what a storage
#: begins to write after its client hung up, a dispatcher that is away.
SLEEPS = {
    "pilot_core/keeper/watch.py",
    "pilot_core/agent/control.py",
    "pilot_core/cli/jobs.py",
    "pilot_copytools/_dav.py",
}
BROAD = {"Exception", "BaseException"}


def lines_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1


def body_without_docstring(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[ast.stmt]:
    return function.body[1:] if ast.get_docstring(function, clean=False) is not None else function.body


def is_broad(node: ast.AST) -> bool:
    """``except:``, ``except Exception`` in any tuple, ``suppress(Exception)``."""
    if isinstance(node, ast.ExceptHandler):
        caught = [None] if node.type is None else list(ast.walk(node.type))
    elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("suppress"):
        caught = list(node.args)
    else:
        return False
    return any(one is None or (isinstance(one, ast.Name) and one.id in BROAD) for one in caught)


def test_files_are_short(sources):
    sizes = {source.name: source.text.count("\n") for source in sources}
    assert {name: size for name, size in sizes.items() if size > 400} == {}


def test_functions_are_short(sources):
    sizes = {f"{s.name}:{f.lineno} {f.name}": lines_of(f) for s in sources for f in s.functions()}
    assert {name: size for name, size in sizes.items() if size > 50} == {}
    assert statistics.median(sizes.values()) <= 9
    assert statistics.quantiles(sizes.values(), n=10)[-1] <= 30


def test_comments_say_only_what_code_cannot(sources):
    lines = sum(source.text.count("\n") for source in sources)
    comments = sum(
        token.type == tokenize.COMMENT
        for source in sources
        for token in tokenize.generate_tokens(io.StringIO(source.text).readline)
    )
    assert comments <= 0.06 * lines


def test_broad_excepts_stand_at_the_boundaries_once_each(sources):
    found = defaultdict(list)
    for source in sources:
        for node in ast.walk(source.tree):
            if is_broad(node):
                found[source.name].append(node.lineno)
    assert {name: lines for name, lines in found.items() if name not in BOUNDARIES or len(lines) > 1} == {}


def test_nothing_is_left_for_later(sources):
    for source in sources:
        for word in ("TODO", "FIXME", "XXX", "NotImplementedError", "pragma: no cover"):
            assert word not in source.text, source.name


def test_nothing_runs_by_a_shell(sources):
    for source in sources:
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Call):
                where = f"{source.name}:{node.lineno}"
                assert "shell" not in {keyword.arg for keyword in node.keywords}, where
                assert ast.unparse(node.func) not in {"os.system", "os.popen"}, where


def test_nothing_sleeps_where_it_could_wait(sources):
    calls = [
        f"{source.name}:{node.lineno}"
        for source in sources
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in {"sleep", "time.sleep"}
        and source.name not in SLEEPS
    ]
    assert calls == []


def test_no_function_stands_twice(sources):
    seen = defaultdict(list)
    for source in sources:
        for function in source.functions():
            body = body_without_docstring(function)
            if len(list(ast.walk(ast.Module(body, [])))) > 40:
                seen[ast.dump(ast.Module(body, []))].append(f"{source.name}:{function.lineno} {function.name}")
    assert [places for places in seen.values() if len(places) > 1] == []


def test_every_module_says_what_it_is(sources):
    assert [source.name for source in sources if not ast.get_docstring(source.tree)] == []
