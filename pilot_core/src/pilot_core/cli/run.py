"""``pilot run``: a pilot for one described job, for a box of them, or for whom the site's settings name."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import evolve

from pilot_core.cli import OWN
from pilot_core.cli.mistakes import Usage
from pilot_core.cli.output import answer
from pilot_core.cli.parser import Parser, add_json, add_sources, sources_of

if TYPE_CHECKING:
    from pilot_core.agent.run import Ending
    from pilot_core.agent.setup import Setup, Sources


def describe(parser: Parser) -> None:
    """Add the arguments of ``pilot run``."""
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--job", type=Path, metavar="FILE", help="Run this described job (YAML or JSON) and no other.")
    source.add_argument("--filebox", type=Path, metavar="DIR", help="Run the described jobs in this directory.")
    parser.add_argument(
        "--workdir", type=Path, default=Path(), metavar="W", help="Work here; by default where you are."
    )
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

        sources, redactor = _sources(arguments), Redactor()
        setup = set_up(sources, redactor)
        if arguments.job:
            _read_job(setup)
        remember(root, sources)
        ending = work(setup, root, starter, redactor)
    return _after_job(ending, arguments) if arguments.job else _after_all(ending, root, arguments.json)


def _check(arguments: Namespace) -> None:
    if arguments.job and not arguments.job.is_file():
        raise Usage(f"--job {arguments.job}: there is no such file", "run")
    if arguments.filebox and not arguments.filebox.is_dir():
        raise Usage(f"--filebox {arguments.filebox}: there is no such directory", "run")


def _sources(arguments: Namespace) -> Sources:
    sources = sources_of(arguments)
    flags: dict[str, str] = {}
    if arguments.job:
        one = {"pilot.max_jobs": "1", "pilot.prefetch_jobs": "0"}
        flags = {"pilot.communicator": "jobfile", "jobfile.path": str(arguments.job.absolute()), **one}
    elif arguments.filebox:
        flags = {"pilot.communicator": "filebox", "filebox.path": str(arguments.filebox.absolute())}
    _refuse_contradiction("--job" if arguments.job else "--filebox", flags, sources.assignments)
    if arguments.debug:
        flags["log.level"] = "debug"
    return evolve(sources, flags={**sources.flags, **flags})


def _refuse_contradiction(option: str, flags: Mapping[str, str], assignments: Iterable[str]) -> None:
    """``--job`` and ``--filebox`` say who brings the jobs; then nothing else may."""
    for written in assignments:
        path, _, value = written.partition("=")
        meant = flags.get(path.strip())
        if path.strip() == "pilot.communicator" and meant not in (None, value.strip()):
            raise Usage(f"{option} takes the communicator {meant!r}, --set {written} another: give one of them", "run")


def _read_job(setup: Setup) -> None:
    """Read the job once before a pilot is started for it: all that is wrong with it is told at once."""
    from pilot_core.agent.setup import make

    communicator = make(setup, "communicator")
    for raw in communicator.acquire({}).jobs:
        communicator.read(raw)


def _after_job(ending: Ending, arguments: Namespace) -> int:
    from pilot_core.cli.outcome import exit_code_of, read_records, story
    from pilot_core.cli.start import LOG

    records = read_records(ending.records)
    if not records:
        why = f": {ending.error}" if ending.error else ""
        answer(arguments.json, None, f"there is no record of the job{why}; {arguments.workdir / LOG} says more")
        return ending.exit_code or 1
    ((path, record),) = records.items()
    answer(arguments.json, record, story(record, path))
    return exit_code_of(record) or ending.exit_code


def _after_all(ending: Ending, root: Path, as_json: bool) -> int:
    from pilot_core.cli.outcome import read_record

    own = root / OWN / "record.json"
    told = {**(read_record(own) if own.exists() else {}), "records": [str(path) for path in ending.records]}
    why = f"; the pilot ended because of {ending.error}" if ending.error else ""
    answer(as_json, told, f"{ending.finished} finished, {ending.failed} failed{why}")
    return ending.exit_code
