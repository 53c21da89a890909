"""Reading a command line: what argparse does, near misses named, and the options that say where settings come from."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from pilot_core.cli.mistakes import Usage
from pilot_core.config.options import add_flags, fields_of, flags_given
from pilot_core.config.schema import CORE
from pilot_core.config.spelling import meant

if TYPE_CHECKING:
    from pilot_core.agent.setup import Sources
    from pilot_core.config.options import Option


class Parser(argparse.ArgumentParser):
    """A parser for one command; every mistake is a ``Usage`` and options are never abbreviated."""

    def __init__(self, **more: Any) -> None:
        super().__init__(allow_abbrev=False, add_help=False, **more)
        self.add_argument("-h", "--help", action="help", help="Say this.")
        self.more: Callable[[Parser], None] | None = None
        """Adds what is seldom on a line: asked only if there is a word that is not known."""
        self.add_argument("--debug", action="store_true", help="Say more, and where an error came from.")

    def read(self, words: Sequence[str], *, command: str) -> argparse.Namespace:
        """The arguments in ``words``; what is not known is named with what was probably meant."""
        arguments, unknown = self.parse_known_args(words)
        if unknown and self.more is not None:
            self.more(self)
            arguments, unknown = self.parse_known_args(words)
        if unknown:
            word = unknown[0].partition("=")[0]
            if word.startswith("-"):
                self.error(f"no option {word}{meant(word, self._option_string_actions)}")
            self.error(f"one argument too many: {word!r}")
        arguments.command = command
        return arguments

    def error(self, message: str) -> NoReturn:
        """Refuse the command line."""
        raise Usage(message.removeprefix("argument "), self.prog.removeprefix("pilot "))


class OneOf:
    """A word out of a few, as the type of an argument."""

    def __init__(self, *words: str) -> None:
        self.words = words

    def __call__(self, word: str) -> str:
        if word not in self.words:
            raise argparse.ArgumentTypeError(f"{word!r} is not {' or '.join(self.words)}{meant(word, self.words)}")
        return word


def add_json(parser: Parser) -> None:
    """Offer the answer as JSON."""
    parser.add_argument("--json", action="store_true", help="Answer in JSON.")


def add_sources(parser: Parser) -> None:
    """Add the options that say where settings come from."""
    group = parser.add_argument_group("settings")
    group.add_argument("--config", type=Path, metavar="FILE", help="The site's settings, a YAML file.")
    group.add_argument(
        "--plugin",
        action="append",
        default=[],
        metavar="NAME|no:NAME",
        help="Load this plugin, and of all others only those named so; with no: do not load it.",
    )
    add_flags(group, _core_options())  # type: ignore[arg-type]


def sources_of(arguments: argparse.Namespace) -> Sources:
    """What the command line and the environment say, and where they were given."""
    from pilot_core.agent.setup import Sources

    flags = flags_given(arguments, _core_options())
    only, blocked = _split_plugins(arguments.plugin)
    return Sources(
        site=arguments.config.absolute() if arguments.config else None,
        environ=dict(os.environ),
        assignments=tuple(arguments.set),
        flags=flags | ({"bootstrap.plugins": ",".join(only)} if only else {}),
        blocked=tuple(blocked),
        cwd=os.getcwd(),
    )


def _core_options() -> list[Option]:
    return [option for section in CORE for option in fields_of(section)]


def _split_plugins(named: Sequence[str]) -> tuple[list[str], list[str]]:
    only = [name for name in named if not name.startswith("no:")]
    return only, [name.removeprefix("no:") for name in named if name.startswith("no:")]
