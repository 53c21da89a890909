"""``pilot cancel``: jobs of a dispatcher are ended, or never begun."""

from __future__ import annotations

from argparse import ArgumentTypeError, Namespace

from pilot_core.cli.client import add_dispatcher, reach, tell_done
from pilot_core.cli.output import answer
from pilot_core.cli.parser import Parser, add_json


def job_id(word: str) -> int:
    """A job's number, as the type of an argument."""
    if not word.isdecimal() or not word.isascii():
        raise ArgumentTypeError(f"{word!r} is no job's number; `pilot jobs` lists them")
    return int(word)


def describe(parser: Parser) -> None:
    """Add the arguments of ``pilot cancel``."""
    parser.add_argument("ids", nargs="+", type=job_id, metavar="ID", help="The job's number.")
    add_json(parser)
    add_dispatcher(parser)


def run(arguments: Namespace) -> int:
    """Cancel; 1 if any of the jobs could not be."""
    with reach(arguments) as client:
        done = client.post("cancel", {"ids": arguments.ids})
    if arguments.json:
        answer(True, done, "")
        return 1 if done["refused"] else 0
    return tell_done(done, "is cancelled; a payload that runs is ended by its pilot")
