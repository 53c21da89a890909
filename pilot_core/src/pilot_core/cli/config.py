"""``pilot config show`` and ``check``: the settings that hold here, and what is wrong with a file."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from attrs import asdict, evolve

from pilot_core.cli import OWN
from pilot_core.cli.mistakes import Usage
from pilot_core.cli.output import answer, columns, count, duration
from pilot_core.cli.parser import OneOf, Parser, add_json, add_sources, sources_of
from pilot_core.cli.whom import Nobody, add_whom, whom
from pilot_core.config.layers import Row

if TYPE_CHECKING:
    from pilot_core.agent.setup import Setup, Sources
    from pilot_core.errors import PilotError
    from pilot_core.infosys.explain import Fact


def describe(parser: Parser) -> None:
    """Add the arguments of ``pilot config``."""
    parser.add_argument(
        "what", metavar="show|check", type=OneOf("show", "check"), help="Show all settings, or check FILE."
    )
    parser.add_argument("file", metavar="FILE", nargs="?", type=Path, help="The file to check.")
    parser.add_argument(
        "--sources", action="store_true", help="Say where each value comes from, and the facts of the queue."
    )
    add_whom(parser)
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

    closed: list[PilotError] = []
    with TemporaryDirectory() as nowhere:
        setup = prepare(_as_run(arguments, Path(nowhere)), closed=closed.append)
        facts = _facts(setup) if arguments.sources else []
    rows = [_placed(row, nowhere, arguments.workdir.absolute()) for row in setup.settings.explain()]
    tables = (_table(rows, arguments.sources), *((_facts_table(facts),) if facts else ()))
    answer(arguments.json, [*map(asdict, rows), *map(asdict, facts)], "\n\n".join(tables))
    _warn(setup.settings.warnings)
    for why in closed:
        raise why
    return 0


def _as_run(arguments: Namespace, nowhere: Path) -> Sources:
    """What `pilot run` would go by; what that would write for itself goes ``nowhere``, and no pilot is told of it."""
    sources, root = sources_of(arguments), arguments.workdir.absolute()
    (nowhere / OWN).mkdir()
    try:
        meant = whom(arguments, sources, nowhere)
    except Nobody:
        meant = {}
    own = (root if (root / OWN).is_dir() else nowhere) / OWN
    return evolve(sources, flags={**sources.flags, **meant}, own=own)


def _placed(row: Row, nowhere: str, root: Path) -> Row:
    """With the place that a pilot in ``root`` would have for its own."""
    return evolve(row, value=row.value.replace(nowhere, str(root)))


def _table(rows: Iterable[Row], sources: bool) -> str:
    if not sources:
        return columns(("OPTION", "VALUE"), ((row.path, row.value) for row in rows))
    cells = ((row.path, row.value, row.layer, row.where.removeprefix(row.layer)) for row in rows)
    return columns(("OPTION", "VALUE", "FROM", "WHERE"), cells)


def _facts(setup: Setup) -> list[Fact]:
    """What the information sources tell of the queue that these settings name."""
    from pilot_core.infosys.explain import explain

    return explain(setup.queue.name, setup.sources())


def _facts_table(facts: Iterable[Fact]) -> str:
    ages = ((fact, "" if fact.age_s is None else duration(fact.age_s)) for fact in facts)
    cells = ((fact.path, fact.source, fact.document, age, fact.note, fact.value) for fact, age in ages)
    return columns(("FACT", "SOURCE", "DOCUMENT", "AGE", "NOTE", "VALUE"), cells)


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
