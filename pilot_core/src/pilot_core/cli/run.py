"""``pilot run``: a pilot for one described job, for a box of them, for a server, or for whom the settings name."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import evolve

from pilot_core.cli import OWN
from pilot_core.cli.mistakes import Usage
from pilot_core.cli.output import answer
from pilot_core.cli.parser import Parser, add_json, add_sources, sources_of
from pilot_core.cli.whom import whom

if TYPE_CHECKING:
    from pilot_core.agent.ending import Ending
    from pilot_core.agent.setup import Setup, Sources


def describe(parser: Parser) -> None:
    """Add the arguments of ``pilot run``."""
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--job", type=Path, metavar="FILE", help="Run this described job (YAML or JSON) and no other.")
    source.add_argument("--filebox", type=Path, metavar="DIR", help="Run the described jobs in this directory.")
    source.add_argument(
        "--join", metavar="FILE", help="Work for the dispatcher whose join string is in this file, or on - (stdin)."
    )
    source.add_argument("--home", type=Path, metavar="DIR", help="Work for the dispatcher that lives in this home.")
    parser.add_argument(
        "--workdir", type=Path, default=Path(), metavar="W", help="Work here; by default where you are."
    )
    parser.add_argument("--plain", action="store_true", help="Write plain log lines on a terminal, too.")
    add_json(parser)
    add_sources(parser)


def run(arguments: Namespace) -> int:
    """Run a pilot to its end. With ``--job`` the exit code is 0 only if that job finished."""
    from pilot_core.cli.start import keeper

    _check(arguments)
    root = arguments.workdir.absolute()
    with keeper(root) as starter:
        from pilot_core.cli.remembered import remember
        from pilot_core.cli.start import set_up, work
        from pilot_core.redact import Redactor

        sources, redactor = _sources(arguments, root), Redactor()
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


def _sources(arguments: Namespace, root: Path) -> Sources:
    sources = sources_of(arguments)
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
