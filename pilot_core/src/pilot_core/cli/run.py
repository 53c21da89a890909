"""``pilot run``: a pilot for one described job, for a box of them, for a server, or for whom the settings name."""

from __future__ import annotations

import os
from argparse import Action, ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import evolve

from pilot_core.cli import OWN
from pilot_core.cli.mistakes import Usage
from pilot_core.cli.output import answer
from pilot_core.cli.parser import Parser, add_json, add_sources, sources_of
from pilot_core.cli.whom import add_whom, whom

if TYPE_CHECKING:
    from pilot_core.agent.ending import Ending
    from pilot_core.agent.setup import Setup, Sources
    from pilot_core.cli.older import Meaning


def describe(parser: Parser) -> None:
    """Add the arguments of ``pilot run``."""
    add_whom(parser)
    parser.add_argument("--plain", action="store_true", help="Write plain log lines on a terminal, too.")
    add_json(parser)
    add_sources(parser)
    parser.add_argument("--help-older", action=_HelpOlder, nargs=0, help="Say which of the older pilot's options hold.")
    parser.more = _add_older


class _HelpOlder(Action):
    def __call__(self, parser: ArgumentParser, *_: Any) -> None:
        from pilot_core.cli.older import help_older

        print("\n".join(help_older()))
        parser.exit()


def _add_older(parser: Parser) -> None:
    from pilot_core.cli.older import add_older

    add_older(parser)


def run(arguments: Namespace) -> int:
    """Run a pilot to its end. With ``--job`` the exit code is 0 only if that job finished."""
    from pilot_core.cli.start import keeper

    _check(arguments)
    older = _read_older(arguments)
    root = ((older and older.workdir) or arguments.workdir).absolute()
    with keeper(root) as starter:
        from pilot_core.cli.remembered import remember
        from pilot_core.cli.start import set_up, work
        from pilot_core.redact import Redactor

        sources, redactor = _sources(arguments, root, older), Redactor()
        setup = set_up(sources, root, redactor)
        job = _read_job(setup) if arguments.job else ""
        remember(root, sources)
        ending = work(setup, root, starter, redactor, plain=arguments.plain)
    return _after_job(ending, job, arguments) if arguments.job else _after_all(ending, root, arguments.json)


def _check(arguments: Namespace) -> None:
    for option, path, fits, kind in (
        ("--job", arguments.job, Path.is_file, "file"),
        ("--filebox", arguments.filebox, Path.is_dir, "directory"),
    ):
        if path and not fits(path):
            wrong = f"this is no plain {kind}" if path.exists() else f"there is no such {kind}"
            raise Usage(f"{option} {path}: {wrong}", "run")


def _read_older(arguments: Namespace) -> Meaning | None:
    """What the older pilot's options on the line ask for; where its output goes, that of this process goes at once."""
    if not getattr(arguments, "older", None):
        return None
    from pilot_core.cli.older import meaning, redirect

    meant = meaning(arguments.older, os.environ, Path.cwd())
    if meant.output:
        redirect(meant.output)
    return meant


def _sources(arguments: Namespace, root: Path, older: Meaning | None) -> Sources:
    sources = sources_of(arguments) if older is None else older.sources(sources_of(arguments))
    debug = {"log.level": "debug"} if arguments.debug else {}
    return evolve(sources, flags={**sources.flags, **whom(arguments, sources, root), **debug})


def _read_job(setup: Setup) -> str:
    """Read the job once before a pilot is started for it: all that is wrong with it is told at once; its id."""
    from pilot_core.agent.setup import make

    communicator = make(setup, "communicator")
    (job,) = (communicator.read(raw).id for raw in communicator.acquire({}).jobs)
    return str(job)


def _after_job(ending: Ending, job: str, arguments: Namespace) -> int:
    from pilot_core.cli.outcome import exit_code_of, read_records, story
    from pilot_core.cli.start import LOG

    records = {path: record for path, record in read_records(ending.records).items() if record.get("id") == job}
    if not records:
        why = f": {ending.error}" if ending.error else ""
        answer(arguments.json, None, f"there is no record of the job{why}; {arguments.workdir / LOG} says more")
        return ending.exit_code or 1
    path, record = records.popitem()
    answer(arguments.json, record, story(record, path))
    return exit_code_of(record) or ending.exit_code


def _after_all(ending: Ending, root: Path, as_json: bool) -> int:
    from pilot_core.cli.outcome import read_record

    own = root / OWN / "record.json"
    told = {**(read_record(own) if own.exists() else {}), "records": [str(path) for path in ending.records]}
    why = f"; the pilot ended because of {ending.error}" if ending.error else ""
    answer(as_json, told, f"{ending.finished} finished, {ending.failed} failed{why}")
    return ending.exit_code
