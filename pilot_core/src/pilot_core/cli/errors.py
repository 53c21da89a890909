"""``pilot errors``: what a code means, whose fault it is, and what to do; what a log says went wrong."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from pilot_core.cli.mistakes import Usage
from pilot_core.cli.output import answer, columns
from pilot_core.cli.parser import Parser, add_json
from pilot_core.errors import ErrorCode, NoSuchCode, PilotError, by_acronym, code, codes, owner
from pilot_core.model.failure import Failure, class_of, failure_of

if TYPE_CHECKING:
    from pilot_core.plugins.hooks import Hooks


def describe(parser: Parser) -> None:
    """Add the arguments of ``pilot errors``."""
    parser.add_argument("code", nargs="?", help="A number or an acronym; all are listed without it.")
    parser.add_argument(
        "--explain",
        metavar="FILE",
        type=Path,
        help="Say what a payload's log tells of; exit code 1 if nothing is known.",
    )
    add_json(parser)


def run(arguments: Namespace) -> int:
    """List all codes, those of plugins too, or explain one, or a log."""
    if arguments.explain is not None:
        if arguments.code is not None:
            raise Usage("either a code or --explain FILE", "errors")
        return _explain(arguments.explain, as_json=arguments.json)
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


def _explain(path: Path, *, as_json: bool) -> int:
    from pilot_core.control.evidence import recognise
    from pilot_core.control.payload import patterns_of
    from pilot_core.control.said import Said
    from pilot_core.redact import Redactor

    path = _readable(path)
    hooks = _learn_from_plugins()
    said = Said(path.parent, Redactor())
    found = recognise(said, patterns_of(hooks) if hooks else (), only=path.name)
    failures = [failure_of(match.error()) for match in found if match.believed]
    answer(as_json, [each.to_wire() for each in failures], _told(failures) or f"{path.name}: no known failure is in it")
    return 0 if failures else 1


def _readable(path: Path) -> Path:
    """The log itself, which may be named by a link."""
    try:
        if path.is_fifo() or path.is_socket():
            raise Usage(f"{path} is no plain file", "errors")
        path.open("rb").close()
    except OSError as error:
        raise Usage(f"{path} cannot be read: {error.strerror}", "errors") from None
    return path.resolve()


def _told(failures: list[Failure]) -> str:
    return "\n\n".join(map(_explained_failure, failures))


def _explained_failure(failure: Failure) -> str:
    seen = failure.evidence
    lines = {
        "seen": f"{seen}: {seen.text}" if seen else "",
        "class": failure.kind,
        "whose fault": failure.fault.value,
        "what to do": failure.remedy,
        "retry": str(failure.advice),
        "code": f"{failure.code} {failure.acronym}",
    }
    return "\n".join((f"{failure.cause}.", *_columns(lines)))


def _columns(lines: dict[str, str]) -> list[str]:
    return [f"{name + ':':<13}{text}" for name, text in lines.items() if text]


def _learn_from_plugins() -> Hooks | None:
    from pilot_core.agent.setup import Sources, choose
    from pilot_core.config.layers import ConfigError
    from pilot_core.plugins.choose import CannotChoose
    from pilot_core.plugins.discover import Discovery
    from pilot_core.plugins.guard import PluginFailed

    try:
        return choose(Sources(environ=dict(os.environ)), Discovery())[0]
    except (ConfigError, CannotChoose, PluginFailed) as broken:
        print(f"pilot: codes of plugins are left out: {broken}", file=sys.stderr)
        return None


def _plain(row: ErrorCode) -> dict[str, object]:
    return {
        "number": row.number,
        "acronym": row.acronym,
        "sentence": row.sentence,
        "stage": row.stage.name.lower(),
        "class": class_of(row),
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
        "class": class_of(row),
        "whose fault": row.party.value,
        "advice": row.retry.value,
        "retry": str(failure_of(PilotError(row)).advice),
        "exit code": f"{row.exit_code}, where the pilot itself ends by it",
        "from": owner(row),
    }
    return "\n".join((f"{row}", f"{row.sentence}.", "", *_columns(lines)))
