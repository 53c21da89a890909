"""``pilot retry``: jobs of a dispatcher that failed, or were cancelled, run once more."""

from __future__ import annotations

from argparse import Namespace

from pilot_core.cli.cancel import job_id
from pilot_core.cli.client import add_dispatcher, reach, tell_done
from pilot_core.cli.mistakes import Usage
from pilot_core.cli.output import answer
from pilot_core.cli.parser import Parser, add_json


def describe(parser: Parser) -> None:
    """Add the arguments of ``pilot retry``."""
    parser.add_argument("ids", nargs="*", type=job_id, metavar="ID", help="The job's number.")
    parser.add_argument("--all-failed", action="store_true", help="All jobs that failed.")
    parser.add_argument("--queue", metavar="Q", help="With --all-failed: of this queue only.")
    add_json(parser)
    add_dispatcher(parser)


def run(arguments: Namespace) -> int:
    """Retry; 1 if any of the jobs could not be."""
    if bool(arguments.ids) == arguments.all_failed:
        raise Usage("give the numbers of jobs, or --all-failed", "retry")
    if arguments.queue and not arguments.all_failed:
        raise Usage("--queue goes with --all-failed; a number alone says which job", "retry")
    with reach(arguments) as client:
        ids = arguments.ids or list(client.numbers("failed", arguments.queue))
        done = client.post("retry", {"ids": ids}) if ids else {"done": [], "refused": []}
    if arguments.json:
        answer(True, done, "")
        return 1 if done["refused"] else 0
    if not ids:
        print("no job failed")
    return tell_done(done, "waits to run again")
