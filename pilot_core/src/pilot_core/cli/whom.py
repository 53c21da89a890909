"""For whom a pilot works, as its command line says it: one job, a box, a server, or the dispatcher that runs here."""

from __future__ import annotations

import os
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pilot_core.cli import OWN
from pilot_core.cli.mistakes import Usage

if TYPE_CHECKING:
    from pilot_core.agent.setup import Sources
    from pilot_core.cli.parser import Parser

Flags = dict[str, str]
ONE_JOB: Final = {"pilot.max_jobs": "1", "pilot.prefetch_jobs": "0"}
SERVER: Final = {"pilot.communicator": "panda", "connection.info_sources": "server,file"}
JOIN: Final = "PILOT_JOIN"
QUEUE: Final = "PILOT_PILOT_QUEUE"
SAYS_WHOM: Final = ("PILOT_PILOT_COMMUNICATOR", "PILOT_FILEBOX_PATH", "PILOT_JOBFILE_PATH", "PILOT_CONNECTION_URL")


class Nobody(Usage):
    """Nothing says who has the work."""


def add_whom(parser: Parser) -> None:
    """Add the options that say for whom a pilot works, and where."""
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


def whom(arguments: Namespace, sources: Sources, root: Path) -> Flags:
    """The settings that the command line stands for; what it sets itself counts more."""
    if getattr(arguments, "home", None):
        return _of_home(arguments.home.absolute(), sources)
    if arguments.job:
        meant = {"pilot.communicator": "jobfile", "jobfile.path": str(arguments.job.absolute()), **ONE_JOB}
        return _agreed("--job", meant, sources)
    if arguments.filebox:
        meant = {"pilot.communicator": "filebox", "filebox.path": str(arguments.filebox.absolute())}
        return _agreed("--filebox", meant, sources)
    return {path: value for path, value in _of_server(arguments, sources, root).items() if path not in _set(sources)}


def place_now(arguments: Namespace, sources: Sources, root: Path) -> Flags:
    """Where the dispatcher of a pilot is by now, if the command line says so by a join string or a home."""
    given = [name for name in ("join", "home") if getattr(arguments, name)]
    given += ["url"] if given and "connection.url" in _set(sources) else []
    if len(given) > 1:
        raise Usage(f"--{given[0]} and --{given[1]} both say which server: give one of them", arguments.command)
    if not given:
        return {}
    found = _joined(arguments.join, sources, root) if arguments.join else _living(arguments.home.absolute(), sources)
    place = {"connection.fingerprint": ""} | {name: value for name, value in found.items() if name != "pilot.queue"}
    return {path: value for path, value in place.items() if path not in _set(sources)}


def _agreed(option: str, meant: Flags, sources: Sources) -> Flags:
    """Who brings the jobs is said by the option; then nothing else may."""
    for written in sources.assignments:
        path, _, value = written.partition("=")
        if path.strip() == "pilot.communicator" and value.strip() != meant["pilot.communicator"]:
            communicator = meant["pilot.communicator"]
            told = f"{option} takes the communicator {communicator!r}, --set {written} another: give one of them"
            raise Usage(told, "run")
    return meant


def _set(sources: Sources) -> set[str]:
    return {written.partition("=")[0].strip() for written in sources.assignments} | sources.flags.keys()


def _of_server(arguments: Namespace, sources: Sources, root: Path) -> Flags:
    if arguments.join and "connection.url" in _set(sources):
        raise Usage("--join and --url both say which server, and the join's token is for its own: give one", "run")
    if arguments.join or (JOIN in sources.environ and "connection.url" not in _set(sources)):
        return SERVER | _joined(arguments.join or "", sources, root)
    if "connection.url" in _set(sources):
        return SERVER
    if sources.site or "pilot.communicator" in _set(sources) or any(name in sources.environ for name in SAYS_WHOM):
        return {}
    return SERVER | _here(sources)


def _joined(source: str, sources: Sources, root: Path) -> Flags:
    """What a join string says; its token goes into a file of the pilot's own."""
    from pilot_core.io.files import write_atomic
    from pilot_core.io.join import find_join

    join = find_join(source, sources.environ)
    assert join is not None, "a source or the variable was there"
    token = root / OWN / "token"
    write_atomic(token, join.token)
    file = {"connection.join": os.path.abspath(source)} if source not in ("", "-") else {}
    return _place(join.url, token, join.fingerprint) | file | {"pilot.queue": join.queue}


def _of_home(home: Path, sources: Sources) -> Flags:
    """The dispatcher that lives there; its token goes to no other address."""
    if "connection.url" in _set(sources):
        raise Usage("--home and --url both say which server: give one of them", "run")
    meant = SERVER | _living(home, sources)
    return {path: value for path, value in meant.items() if path not in _set(sources)}


def _here(sources: Sources) -> Flags:
    """The dispatcher of this user on this node, for a pilot that was told of nobody."""
    from pilot_core.cli.client import NoDispatcher
    from pilot_core.io.home import default_home

    try:
        return _living(default_home(sources.environ), sources)
    except NoDispatcher as none:
        told = "name a job (--job), a box of jobs (--filebox) or a server (--url, --join)"
        raise Nobody(f"{told}; {none}", "run") from None


def _living(home: Path, sources: Sources) -> Flags:
    """How a pilot reaches the dispatcher in a home, and the queue that it tells pilots to serve."""
    from pilot_core.cli.client import dispatcher_at

    place = dispatcher_at(home, "run")
    assert place.token is not None
    queue = {"pilot.queue": place.queue} if place.queue and not sources.environ.get(QUEUE) else {}
    return _place(place.url, place.token, place.fingerprint) | queue


def _place(url: str, token: Path, fingerprint: str) -> dict[str, str]:
    place = {"connection.url": url, "connection.token": str(token)}
    return place | {"connection.fingerprint": fingerprint} if fingerprint else place
