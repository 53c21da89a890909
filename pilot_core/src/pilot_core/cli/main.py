"""What the command ``pilot`` can do, and the guard around all of it.

A command's module has ``describe(parser)`` and ``run(arguments) -> int``. Of others than the one that was asked for,
no more is known than the line in this table.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from types import ModuleType

COMMANDS: Final = {
    "Run jobs": {
        "run": "run a pilot: for one described job, a directory of them, a dispatcher or a server",
        "recover": "bring to its end what a dead pilot left in its work directory",
    },
    "Have jobs run": {
        "serve": "serve jobs to pilots: a small dispatcher for a laptop, a cluster or a test",
        "submit": "hand described jobs to a dispatcher",
        "jobs": "list jobs, or tell the whole story of one",
        "cancel": "end jobs, or take them out of the queue",
        "retry": "have jobs run again that failed or were cancelled",
        "debug": "follow a job closely, or look at it by a command where it runs",
        "fetch": "bring the outputs and the log of a job here",
        "token": "replace what opens a dispatcher",
    },
    "Reach a running pilot": {
        "status": "say what the pilot and its jobs are doing",
        "drain": "let it finish its jobs and take no more",
        "pause": "let it take no more jobs for now",
        "resume": "let it take jobs again",
        "stop": "end it and its jobs now, in an orderly way",
    },
    "Look at a node": {
        "env": "what this node, batch slot and allocation are, and who says so",
        "watch": "run a command and measure its memory and time",
    },
    "Move files": {
        "data": "bring files here, store them, or look where they lie, as a pilot of a queue would",
    },
    "Look up": {
        "report": "make one page of all that is known of jobs: timeline, plots, files, errors",
        "plugins": "what is installed, what would be used here, and why not",
        "hooks": "what plugins are asked: the contract",
        "config": "which settings hold here and where they come from; check a file",
        "profile": "check the profile of an experiment, and what it makes of a job",
        "errors": "what an error code means and what to do about it",
    },
    "Extend": {
        "completion": "print what lets a shell complete commands and options",
        "bundle": "make a tree of chosen distributions that runs on nodes without pip",
        "wrapper": "print the script that starts a pilot on a node and sees it through",
        "new-plugin": "write a distribution of one's own, with tests that pass",
    },
}
SHARED: Final = dict.fromkeys(("drain", "pause", "resume", "stop"), "orders")
"""Commands whose module has another name."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return the exit code. The boundary of the process: nothing escapes as a traceback."""
    words = sys.argv[1:] if argv is None else list(argv)
    try:
        code = _dispatch(words)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        from pilot_core.cli.mistakes import tell

        return tell(error, debug="--debug" in words)
    return code


def _dispatch(words: Sequence[str]) -> int:
    match words:
        case [] | ["-h" | "--help" | "help"]:
            print(_overview())
            return 0
        case ["--version"]:
            from importlib.metadata import version

            print(f"pilot {version('pilot-core')}")
            return 0
        case [option, *_] if option.startswith("-") and _is_older(words):
            return _run("run", words)
        case ["help", name, *_]:
            return _run(name, ["--help"])
        case [name, *others]:
            return _run(name, others)
    return 2


def _is_older(words: Sequence[str]) -> bool:
    """Whether this is a command line of the older pilot, which had no commands."""
    from pilot_core.cli.older import is_older

    return is_older(words)


def _run(name: str, words: Sequence[str]) -> int:
    module = _module(name)
    from pilot_core.cli.parser import Parser

    parser = Parser(prog=f"pilot {name}", description=_helps()[name])
    module.describe(parser)
    code: int = module.run(parser.read(words, command=name))
    return code


def _module(name: str) -> ModuleType:
    helps = _helps()
    if name not in helps:
        from pilot_core.cli.mistakes import Usage
        from pilot_core.config.spelling import meant

        what = "option" if name.startswith("-") else "command"
        raise Usage(f"no {what} {name!r}{meant(name, (*helps, '--help', '--version'))}")
    return import_module(f"pilot_core.cli.{SHARED.get(name, name.replace('-', '_'))}")


def _helps() -> dict[str, str]:
    return {name: text for group in COMMANDS.values() for name, text in group.items()}


def _overview() -> str:
    lines = ["usage: pilot COMMAND ...   (pilot COMMAND --help says more)"]
    for title, group in COMMANDS.items():
        lines += ["", f"{title}:", *(f"  {name:<11} {text}" for name, text in group.items())]
    return "\n".join(lines)
