"""``pilot recover``: what a dead pilot left in its work directory is brought to its end and reported."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import evolve

from pilot_core.cli import OWN
from pilot_core.cli.mistakes import Usage
from pilot_core.cli.output import answer, count
from pilot_core.cli.parser import Parser, add_json, add_sources, sources_of

if TYPE_CHECKING:
    from pilot_core.agent.ending import Ending
    from pilot_core.config.layers import Settings


def describe(parser: Parser) -> None:
    """Add the arguments of ``pilot recover``."""
    parser.add_argument("workdir", type=Path, help="The work directory of the dead pilot.")
    told = "Its dispatcher has moved, or has other tokens: the file with its join string, or - (stdin)."
    parser.add_argument("--join", metavar="FILE", help=told)
    parser.add_argument("--home", type=Path, metavar="DIR", help="Its dispatcher lives in this home now.")
    add_json(parser)
    add_sources(parser)


def run(arguments: Namespace) -> int:
    """Take up all jobs that were left, with the options that their pilot was started with."""
    from pilot_core.cli.start import keeper

    root = arguments.workdir.absolute()
    if not (root / OWN).is_dir():
        raise Usage(f"no pilot has worked in {arguments.workdir}: there is no {OWN} in it", "recover")
    with keeper(root) as starter:
        from pilot_core.cli.remembered import recall
        from pilot_core.cli.start import set_up, work
        from pilot_core.cli.status import left_in
        from pilot_core.cli.whom import place_now
        from pilot_core.redact import Redactor

        left, redactor = left_in(root), Redactor()
        if not arguments.json:
            _announce(left, arguments.workdir)
        sources = sources_of(arguments)
        sources = evolve(sources, flags={**place_now(arguments, sources, root), **sources.flags})
        setup = set_up(recall(root, sources), root, redactor)
        waiting = _waiting(root, setup.settings)
        if waiting and not arguments.json:
            print(f"{count(len(waiting), 'report')} of jobs that are over {'waits' if len(waiting) == 1 else 'wait'}")
            sys.stdout.flush()
        ending = work(setup, root, starter, redactor, recover=True)
    undelivered = _tell_waiting(waiting, ending.refused, arguments.json)
    return _tell(ending, arguments.json) or undelivered


def _announce(left: list[dict[str, object]], workdir: Path) -> None:
    print(f"{count(len(left), 'job')} left in {workdir}")
    for row in left:
        print(f"  {row['id']}: {row['phase']}")
    sys.stdout.flush()


def _waiting(root: Path, settings: Settings) -> list[Path]:
    """The last reports that no pilot could deliver yet, here and in the outbox."""
    from pilot_core.config.schema import ReportOptions
    from pilot_core.control.outbox import waiting_below

    outbox = settings.of(ReportOptions).outbox
    return waiting_below(root) + (sorted(outbox.glob("*.json")) if outbox else [])


def _tell_waiting(waiting: list[Path], refused: Mapping[Path, str], as_json: bool) -> int:
    """What became of the reports that waited; 1 if one waits still."""
    from pilot_core.cli.start import LOG

    still = [path for path in waiting if path.exists()]
    for why in () if as_json else refused.values():
        print(why)
    if (gone := len({*waiting} - {*still} - refused.keys())) and not as_json:
        print(f"{count(gone, 'report')} that waited {'is' if gone == 1 else 'are'} delivered")
        sys.stdout.flush()
    for path in still:
        print(f"pilot: a report waits still in {path}; {LOG} says why", file=sys.stderr)
    return 1 if still else 0


def _tell(ending: Ending, as_json: bool) -> int:
    from pilot_core.cli.outcome import read_records, story
    from pilot_core.cli.start import LOG

    records = read_records(ending.records)
    if records or as_json:
        answer(as_json, [*records.values()], "\n".join(story(record, path) for path, record in records.items()))
    for control in ending.remain:
        print(f"pilot: a job remains in {control}; {LOG} says why and what to do", file=sys.stderr)
    reported = len(records) == len(ending.records) and all(record["delivered"] for record in records.values())
    return 0 if reported and not ending.remain else ending.exit_code or 1
