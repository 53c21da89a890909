"""``pilot env``: what this node, batch slot and allocation are, and who says so."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

from pilot_core.cli.output import answer, columns, duration, size
from pilot_core.cli.parser import Parser, add_json


def describe(parser: Parser) -> None:
    """Add the arguments of ``pilot env``."""
    parser.add_argument(
        "--resource",
        default="auto",
        metavar="NAME",
        help="The resource driver to ask; by default the innermost batch system that is here.",
    )
    parser.add_argument("--workdir", type=Path, default=Path(), metavar="DIR", help="Where the disk is looked at.")
    parser.add_argument("--benchmark", action="store_true", help="Measure a processor too, for some seconds.")
    parser.add_argument(
        "words",
        nargs="*",
        metavar="COMMAND",
        help="A benchmark of one's own, with its arguments, after --; it prints its score last.",
    )
    add_json(parser)


def run(arguments: Namespace) -> int:
    """Look, measure if wanted, and tell."""
    from pilot_core.api.environment import look

    rows = [(name, told.value, told.by) for name, told in look(arguments.workdir, resource=arguments.resource).rows()]
    rows += _measured(arguments)
    told = {name: {"value": value, "by": by} for name, value, by in rows}
    table = columns(("NAME", "VALUE", "FROM"), ((name, _readable(name, value), by) for name, value, by in rows))
    answer(arguments.json, told, table)
    return 0


def _measured(arguments: Namespace) -> list[tuple[str, Any, str]]:
    rows: list[tuple[str, Any, str]] = []
    if not (arguments.benchmark or arguments.words):
        return rows
    from pilot_core.api.services import benchmark, benchmark_with

    if arguments.benchmark:
        done = benchmark()
        by = f"{done.rounds} rounds, which differ by {done.spread:.1%}"
        rows += [("benchmark.score", round(done.score, 3), by), ("benchmark.busy", round(done.busy, 3), by)]
    if arguments.words:
        rows.append(("benchmark.command", benchmark_with(arguments.words), arguments.words[0]))
    return rows


def _readable(name: str, value: Any) -> str:
    match value:
        case dict():
            return ", ".join(f"{key} {_readable(key, each)}" for key, each in value.items())
        case list() | tuple():
            return ", ".join(map(str, value)) or "none"
        case int() | float() if name.endswith("_b"):
            return size(value)
        case int() | float() if name.endswith("_s"):
            return duration(value)
    return str(value)
