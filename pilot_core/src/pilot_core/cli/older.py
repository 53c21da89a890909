"""Reading a command line of the older pilot: its options beside ``pilot run``'s own, and what they mean together."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from attrs import evolve, field, frozen

from pilot_core.cli.legacy import BY_NAME, SHIPPED, TABLE, Older, refuse
from pilot_core.cli.mistakes import Usage

if TYPE_CHECKING:
    from pilot_core.agent.setup import Sources
    from pilot_core.cli.parser import Parser

Flags = dict[str, str]
PORT: Final = "25443"
QUEUE: Final = "pilot.queue"
JOBS, LISTED = "pandaJobData.out", "HPCJobs.json"
LABELS: Final = {
    ("RC", "rc_test2"): "rc_test2",
    ("RC", "ptest"): "ptest",
    ("RCM", "ptest"): "rcm_test2",
}
FILES: Final = {"pilot.life_file": "pilot_heartbeat.json"}
LOOKED_AT: Final = 5, 12
AWAITED_S: Final = "1800"


@frozen
class Line:
    """What the older options on a line were given, by their long names; an empty value counts as none."""

    given: Mapping[str, str]
    environ: Mapping[str, str]
    cwd: Path

    def get(self, name: str) -> str:
        """The value of an option, or nothing."""
        return self.given.get(f"--{name}", "")


@frozen
class Meaning:
    """What a line asks for: settings, variables, and what is done before the pilot begins."""

    flags: Flags
    environ: Flags = field(factory=dict)
    workdir: Path | None = None
    output: str = ""

    def sources(self, told: Sources) -> Sources:
        """The sources of a line with these; what is said by the new options counts more."""
        assigned = {written.partition("=")[0].strip() for written in told.assignments}
        server = {} if told.site else {"pilot.communicator": "panda"}
        meant = {path: value for path, value in {**server, **self.flags}.items() if path not in assigned}
        if QUEUE not in {*meant, *assigned} and not (told.site or told.environ.get("PILOT_PILOT_QUEUE")):
            raise Usage("-q QUEUE is missing", "run")
        return evolve(told, flags={**meant, **told.flags}, environ={**told.environ, **self.environ})


def is_older(words: Sequence[str]) -> bool:
    """Whether this is a line for the older pilot: it begins with an option, and has one of those."""
    return words[0].startswith("-") and any(word.partition("=")[0] in BY_NAME for word in words)


class _Given(argparse.Action):
    """Notes the value of an older option under its long name."""

    row: Older

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        try:
            value = self.row.read(values) if self.row.takes and values else self.row.value or "yes"
        except ValueError as wrong:
            raise refuse(self.row, wrong) from None
        if values != "":
            namespace.older = {**(namespace.older or {}), self.row.name: value}


def add_older(parser: Parser) -> None:
    """Let a parser take the older options as well. Those that ``pilot run`` has itself mean on such a line what they
    meant; so they change hands."""
    parser.conflict_handler = "resolve"
    parser.set_defaults(older=None, debug=False, workdir=Path())
    group = parser.add_argument_group()
    for row in TABLE:
        how = {"metavar": row.takes} if row.takes else {"nargs": 0}
        action = group.add_argument(*row.names, action=_Given, dest=row.name, help=argparse.SUPPRESS, **how)
        action.row = row  # type: ignore[attr-defined]


def help_older() -> Iterator[str]:
    """The table, for people."""
    yield "The older pilot's options, which `pilot run` and `pilot` take unchanged:\n"
    for row in TABLE:
        yield "  " + ", ".join(row.names) + (f" {row.takes}" if row.takes else "")
        yield f"      {told(row)}"


def told(row: Older) -> str:
    """What an option is here, in a sentence."""
    setting = f"{row.key}={row.value}" if row.value else row.key
    return "; ".join(part for part in (setting and f"`{setting}`", row.does) if part)


def meaning(given: Mapping[str, str], environ: Mapping[str, str], cwd: Path) -> Meaning:
    """What older options ask for together."""
    line = Line(given, environ, cwd)
    flags = dict(FILES)
    for name, value in given.items():
        if BY_NAME[name].key:
            flags[BY_NAME[name].key] = value
    for more in (_label, _answers, _url, _lifetime, _queue_facts, _shippers, _jobs):
        flags.update(more(line))
    return Meaning(flags, _environ(line), _workdir(line), line.get("redirect-stdout"))


def redirect(path: str) -> None:
    """Let all that this process and those it starts write go to a file."""
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    except OSError as error:
        raise refuse(BY_NAME["--redirect-stdout"], f"{path}: {error.strerror}") from None
    for stream in (1, 2):
        os.dup2(file, stream)
    os.close(file)


def _label(line: Line) -> Flags:
    tag, label = line.get("versiontag"), line.get("joblabel")
    if tag == "ALRB":
        return {"panda.label": "rc_alrb"}
    return {"panda.label": LABELS.get((tag, label), label)} if label else {}


def _answers(line: Line) -> Flags:
    few, many = map(str, LOOKED_AT)
    failures = line.get("getjobfailures") or few
    return {"pilot.failed_answers": many} if _is_push(line) and failures == few else {}


def _is_push(line: Line) -> bool:
    return line.get("harvester-submit-mode").upper() == "PUSH"


def _is_brought(line: Line) -> bool:
    """Whether a Harvester fetches the jobs, and brings them in a file."""
    return _is_push(line) and any(line.environ.get(name) for name in ("HARVESTER_ID", "HARVESTER_WORKER_ID"))


def _url(line: Line) -> Flags:
    from urllib.parse import urlsplit

    url = line.get("url")
    if not url:
        return {}
    url = url if "://" in url else f"https://{url}"
    try:
        parts = urlsplit(url)
        has_port = parts.port is not None
    except ValueError as wrong:
        raise refuse(BY_NAME["--url"], f"{url}: {wrong}") from None
    if has_port:
        return {"connection.url": url}
    netloc = f"{parts.netloc}:{line.get('port') or PORT}"
    return {"connection.url": parts._replace(netloc=netloc).geturl()}


def _lifetime(line: Line) -> Flags:
    told_s = line.environ.get("PANDAPILOT_LIFETIME", "")
    return {"pilot.lifetime_s": told_s} if told_s.isdecimal() else {}


def _queue_facts(line: Line) -> Flags:
    """What tells the addresses of facts is asked before all others."""
    queues = line.get("queuedata-url").replace("{pandaqueue}", line.get("queue"))
    flags = {"queue_environment.queues": queues} if queues else {}
    if queues or line.get("storagedata-url"):
        flags["connection.info_sources"] = "environment,file"
    return flags


def _shippers(line: Line) -> Flags:
    """The older form ``logserver=TYPE;URL``, or the one that its help shows, ``TYPE:HOST:PORT``."""
    written = line.get("realtime-logging-server")
    if not written:
        return {}
    kind, sign, url = written.removeprefix(SHIPPED).partition(";")
    if not sign:
        kind, _, place = written.partition(":")
        url = f"https://{place}" if place.count(":") == 1 else ""
    if not (kind.isalpha() and url.startswith(("http://", "https://"))):
        raise refuse(BY_NAME["--realtime-logging-server"], f"{written!r} is not {SHIPPED}TYPE;URL")
    return {"log.shippers": kind, f"{kind}.url": url}


def _jobs(line: Line) -> Flags:
    """Who has the jobs: a file alone, a file and then the server, or the server."""
    ids = {"ids_file": str(_ids_file(line))}
    found = next((path for path in _places(line) if path.is_file()), None)
    if line.get("noserverupdate"):
        if found is None:
            places = ", ".join(map(str, _places(line)))
            raise Usage(f"-z wants jobs from a file, and there is none at {places}; leave it out, or put one", "run")
        mine = {"path": str(found), "told": str(line.cwd / "heartbeat.json"), **ids}
        return {"pilot.communicator": "pandafile"} | {f"pandafile.{name}": value for name, value in mine.items()}
    if found is None and _is_brought(line):
        first = {"jobs_file": str(next(_places(line))), "jobs_file_s": AWAITED_S}
    else:
        first = {"jobs_file": str(found)} if found is not None else {}
    same = {"same_task": line.get("allow-same-user") or "true"}
    return {f"panda.{name}": value for name, value in (ids | first | same).items()}


def _places(line: Line) -> Iterator[Path]:
    """Where a file with jobs may lie, the best first."""
    if folder := line.get("harvester-datadir"):
        yield line.cwd / folder / JOBS
    else:
        yield line.cwd / JOBS
    for folder in (line.get("harvester-workdir"), line.environ.get("HARVESTER_WORKDIR", "")):
        if folder:
            yield line.cwd / folder / LISTED


def _ids_file(line: Line) -> Path:
    source = line.cwd / line.environ.get("PANDA_PILOT_SOURCE", "pilot3")
    return (source if source.is_dir() else line.cwd) / "pandaIDs.out"


def _environ(line: Line) -> Flags:
    cvmfs = {"NO_CVMFS_OK": "1"} if line.get("nocvmfs") else {}
    return cvmfs | ({"PANDA_BASE_URLS": line.get("baseurls")} if line.get("baseurls") else {})


def _workdir(line: Line) -> Path | None:
    parent = line.get("workdir")
    return line.cwd / parent / f"PanDA_Pilot3_{os.getpid()}_{int(time.time())}" if parent else None
