"""``pilot debug``: a job of a dispatcher is followed closely, or one command looks at it where it runs."""

from __future__ import annotations

from argparse import Namespace
from typing import Any, Final

from pilot_core.cli.cancel import job_id
from pilot_core.cli.client import OVER, Client, add_dispatcher, reach, tell_done
from pilot_core.cli.mistakes import Usage
from pilot_core.cli.output import answer
from pilot_core.cli.parser import Parser, add_json
from pilot_core.cli.terminal import harmless

ROLE: Final = "admin"
WAIT_S: Final = 25
ON: Final = "sends what its payload says with each update; `pilot jobs ID` shows it, `pilot debug ID --off` ends it"
OFF: Final = "sends no more than usual from now on"


def describe(parser: Parser) -> None:
    """Add the arguments of ``pilot debug``."""
    told = "tail, ls, ps, du or gdb with its arguments, in quotes: 'ls -l'. It is run in the job's directory."
    parser.add_argument("id", type=job_id, metavar="ID", help="The job's number.")
    parser.add_argument("look", nargs="?", metavar="COMMAND", default="", help=told)
    parser.add_argument("--off", action="store_true", help="Follow the job no more.")
    add_json(parser)
    add_dispatcher(parser)


def run(arguments: Namespace) -> int:
    """Follow a job, or no more; or show what a command printed, 1 if the job ended before."""
    if arguments.look and arguments.off:
        raise Usage("a command is asked for, or --off given; not both", "debug")
    with reach(arguments, ROLE) as client:
        if arguments.look:
            return _look(client, arguments)
        done = _turn(client, arguments.id, on=not arguments.off)
    if arguments.json:
        answer(True, done, "")
        return 1 if done["refused"] else 0
    return tell_done(done, OFF if arguments.off else ON)


def _turn(client: Client, job: int, *, on: bool, command: str = "") -> Any:
    return client.post("debug", {"ids": [job], "on": on, "command": command})


def _look(client: Client, arguments: Namespace) -> int:
    """Ask for a command until it is answered; then all is as it was before."""
    job, wanted = arguments.id, arguments.look.strip()
    version = client.get("jobs", limit=1)["version"]
    before = client.get(f"jobs/{job}")
    done = _turn(client, job, on=True, command=wanted)
    if done["refused"]:
        return tell_done(done, "")
    try:
        told = _await_answer(client, before, wanted, version)
    finally:
        _turn(client, job, on=before["debug"], command=before["command"])
    text = harmless(told["text"]) if told else f"job {job} was over before it answered; `pilot jobs {job}` says how"
    answer(arguments.json, told, text.rstrip("\n"))
    return 0 if told else 1


def _await_answer(client: Client, before: Any, wanted: str, version: int) -> Any:
    """What the command printed; nothing if the job ended before."""
    while True:
        job = client.get(f"jobs/{before['id']}")
        told = job["answer"]
        if told != before["answer"] and told["command"] == wanted:
            return told
        if job["state"] in OVER:
            return None
        version = client.get("jobs", limit=1, since=version, wait_s=WAIT_S)["version"]
