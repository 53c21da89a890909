"""``pilot drain``, ``pause``, ``resume`` and ``stop``: an order to a running pilot."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any, Final

from pilot_core.agent.control import ask
from pilot_core.cli import OWN
from pilot_core.cli.output import answer, count
from pilot_core.cli.parser import Parser, add_json

TAKEN: Final = {
    "drain": "it takes no more jobs and ends with those it has",
    "pause": "it takes no more jobs until `pilot resume`",
    "resume": "it takes jobs again",
    "stop": "it ends its jobs and itself now",
}


def describe(parser: Parser) -> None:
    """Add the arguments of a command that reaches a running pilot."""
    parser.add_argument(
        "workdir", nargs="?", type=Path, default=Path(), help="Its work directory; by default this one."
    )
    add_json(parser)


def run(arguments: Namespace) -> int:
    """Give the order and say how many jobs it meets."""
    told = give(arguments.workdir, arguments.command)
    answer(arguments.json, told, f"{TAKEN[arguments.command]} ({count(len(told['jobs']), 'job')} under way)")
    return 0


def give(workdir: Path, order: str) -> dict[str, Any]:
    """What the pilot in this directory answers to an order, or ``NoPilot``."""
    return ask(workdir.absolute() / OWN, {"order": order})
