"""``pilot cancel``: jobs of a dispatcher are ended, or never begun."""

from __future__ import annotations

from argparse import ArgumentTypeError, Namespace
from collections.abc import Iterator

from pilot_core.cli.client import HELD, Client, add_dispatcher, reach, tell_done
from pilot_core.cli.mistakes import Usage
from pilot_core.cli.output import answer
from pilot_core.cli.parser import Parser, add_json


def job_id(word: str) -> int:
    """A job's number, as the type of an argument."""
    if not word.isdecimal() or not word.isascii():
        raise ArgumentTypeError(f"{word!r} is no job's number; `pilot jobs` lists them")
    return int(word)


def describe(parser: Parser) -> None:
    """Add the arguments of ``pilot cancel``."""
    parser.add_argument("ids", nargs="*", type=job_id, metavar="ID", help="The job's number.")
    parser.add_argument("--all", action="store_true", help="All jobs that are not over.")
    parser.add_argument("--queue", metavar="Q", help="With --all: of this queue only.")
    parser.add_argument("--waiting", action="store_true", help="With --all: only those that no pilot has.")
    add_json(parser)
    add_dispatcher(parser)


def run(arguments: Namespace) -> int:
    """Cancel; 1 if any of the jobs could not be."""
    if bool(arguments.ids) == arguments.all:
        raise Usage("give the numbers of jobs, or --all", "cancel")
    if (arguments.queue or arguments.waiting) and not arguments.all:
        raise Usage("--queue and --waiting go with --all; a number alone says which job", "cancel")
    with reach(arguments) as client:
        ids = arguments.ids or list(_meant(client, arguments))
        done = client.post("cancel", {"ids": ids}) if ids else {"done": [], "refused": []}
    if arguments.json:
        answer(True, done, "")
        return 1 if done["refused"] else 0
    if not ids:
        print("no job is left to cancel")
    return tell_done(done, "is cancelled; if a pilot has it, as soon as that hears of it")


def _meant(client: Client, wanted: Namespace) -> Iterator[int]:
    for state in ("activated",) if wanted.waiting else ("activated", *HELD):
        yield from client.numbers(state, wanted.queue)
