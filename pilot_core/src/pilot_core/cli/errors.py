"""``pilot errors``: what a code means, whose fault it is, and what to do."""

from __future__ import annotations

import os
import sys
from argparse import Namespace

from pilot_core.cli.output import answer, columns
from pilot_core.cli.parser import Parser, add_json
from pilot_core.errors import ErrorCode, NoSuchCode, by_acronym, code, codes, owner


def describe(parser: Parser) -> None:
    """Add the arguments of ``pilot errors``."""
    parser.add_argument("code", nargs="?", help="A number or an acronym; all are listed without it.")
    add_json(parser)


def run(arguments: Namespace) -> int:
    """List all codes, those of plugins too, or explain one."""
    if arguments.code is None:
        _learn_from_plugins()
        rows = codes()
        answer(arguments.json, [_plain(row) for row in rows], _listed(rows))
        return 0
    found = _find(arguments.code)
    answer(arguments.json, _plain(found), _explained(found))
    return 0


def _find(text: str) -> ErrorCode:
    """The code; plugins are asked for theirs only if the core has none of this name."""
    try:
        return _look_up(text)
    except NoSuchCode:
        _learn_from_plugins()
        return _look_up(text)


def _look_up(text: str) -> ErrorCode:
    return code(int(text)) if text.isdecimal() else by_acronym(text)


def _learn_from_plugins() -> None:
    from pilot_core.agent.setup import Sources, choose
    from pilot_core.config.layers import ConfigError
    from pilot_core.plugins.choose import CannotChoose
    from pilot_core.plugins.discover import Discovery
    from pilot_core.plugins.guard import PluginFailed

    try:
        choose(Sources(environ=dict(os.environ)), Discovery())
    except (ConfigError, CannotChoose, PluginFailed) as broken:
        print(f"pilot: codes of plugins are left out: {broken}", file=sys.stderr)


def _plain(row: ErrorCode) -> dict[str, object]:
    return {
        "number": row.number,
        "acronym": row.acronym,
        "sentence": row.sentence,
        "stage": row.stage.name.lower(),
        "party": row.party.value,
        "retry": row.retry.name.lower(),
        "advice": row.retry.value,
        "exit_code": row.exit_code,
        "owner": owner(row),
    }


def _listed(rows: list[ErrorCode]) -> str:
    cells = ((row.number, row.acronym, row.party.value, row.exit_code, row.sentence) for row in rows)
    return columns(("CODE", "ACRONYM", "PARTY", "EXIT", "WHAT HAPPENED"), cells)


def _explained(row: ErrorCode) -> str:
    lines = {
        "whose fault": row.party.value,
        "advice": row.retry.value,
        "exit code": f"{row.exit_code}, where the pilot itself ends by it",
        "from": owner(row),
    }
    told = (f"{name + ':':<13}{text}" for name, text in lines.items())
    return "\n".join((f"{row}", f"{row.sentence}.", "", *told))
