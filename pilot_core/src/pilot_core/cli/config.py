"""``pilot config show`` and ``check``: the settings that hold here, and what is wrong with a file."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Iterable
from pathlib import Path

from attrs import asdict

from pilot_core.cli.mistakes import Usage
from pilot_core.cli.output import answer, columns, count
from pilot_core.cli.parser import OneOf, Parser, add_json, add_sources, sources_of
from pilot_core.config.layers import Row


def describe(parser: Parser) -> None:
    """Add the arguments of ``pilot config``."""
    parser.add_argument(
        "what", metavar="show|check", type=OneOf("show", "check"), help="Show all settings, or check FILE."
    )
    parser.add_argument("file", metavar="FILE", nargs="?", type=Path, help="The file to check.")
    parser.add_argument("--sources", action="store_true", help="Say where each value comes from.")
    add_json(parser)
    add_sources(parser)


def run(arguments: Namespace) -> int:
    """Show or check; a faulty file is an error with all its faults."""
    if (arguments.what == "check") != (arguments.file is not None):
        wants = "check wants a FILE" if arguments.what == "check" else "show takes no FILE; did you mean --config?"
        raise Usage(wants, "config")
    return _check(arguments) if arguments.what == "check" else _show(arguments)


def _show(arguments: Namespace) -> int:
    from pilot_core.agent.setup import prepare

    settings = prepare(sources_of(arguments)).settings
    rows = settings.explain()
    answer(arguments.json, [asdict(row) for row in rows], _table(rows, arguments.sources))
    _warn(settings.warnings)
    return 0


def _table(rows: Iterable[Row], sources: bool) -> str:
    if not sources:
        return columns(("OPTION", "VALUE"), ((row.path, row.value) for row in rows))
    cells = ((row.path, row.value, row.layer, row.where.removeprefix(row.layer)) for row in rows)
    return columns(("OPTION", "VALUE", "FROM", "WHERE"), cells)


def _check(arguments: Namespace) -> int:
    from pilot_core.agent.setup import Sources, prepare

    settings = prepare(Sources(site=arguments.file)).settings
    given = sum(row.where == str(arguments.file) for row in settings.explain())
    told = {"file": str(arguments.file), "options": given, "warnings": list(settings.warnings)}
    answer(arguments.json, told, f"{arguments.file}: {count(given, 'option')}, no faults")
    _warn(settings.warnings)
    return 0


def _warn(warnings: Iterable[str]) -> None:
    for warning in warnings:
        print(f"pilot: warning: {warning}", file=sys.stderr)
