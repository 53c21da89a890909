"""``pilot wrapper``: the script that a factory sends to a node."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pilot_core.cli.parser import Parser

SCRIPT: Final = Path(__file__).parents[1] / "scripts" / "pilot-wrapper"


def describe(parser: Parser) -> None:
    """It takes no arguments."""


def run(arguments: Namespace) -> int:
    """Print the script."""
    print(SCRIPT.read_text(encoding="utf-8"), end="")
    return 0
