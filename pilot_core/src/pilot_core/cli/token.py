"""``pilot token rotate``: what opens a dispatcher is replaced, and the old one opens nothing any more."""

from __future__ import annotations

import os
from argparse import Namespace
from pathlib import Path
from typing import Final

from attrs import evolve

from pilot_core.cli.client import NoDispatcher
from pilot_core.cli.output import answer
from pilot_core.cli.parser import OneOf, Parser, add_json
from pilot_core.io.home import default_home

ROLES: Final = ("run", "submit", "admin", "key")
ISSUED: Final = ("run", "admin")
"""With these go the tokens that pilots were given for the token key."""


def describe(parser: Parser) -> None:
    """Add the arguments of ``pilot token``."""
    parser.add_argument("what", metavar="rotate", type=OneOf("rotate"), help="Make a new one in place of the old.")
    told = "Whose: run (pilots), submit (people), admin, or key (what pilots get further tokens for)."
    parser.add_argument("role", metavar="ROLE", type=OneOf(*ROLES), help=told)
    parser.add_argument("--home", type=Path, metavar="DIR", help="The dispatcher's home; by default that of this user.")
    add_json(parser)


def run(arguments: Namespace) -> int:
    """Replace a token, and have the join string that holds it hold the new one; the dispatcher may run or not."""
    from pilot_core.dispatcher.tokens import renew

    home = (arguments.home or default_home(os.environ)).absolute()
    path = home / "tokens" / arguments.role
    if not path.parent.is_dir():
        raise NoDispatcher(f"no dispatcher has lived in {home}: there is no {path.parent}; name its home by --home")
    token = renew(path)
    join = _join_anew(home, arguments.role, token)
    told = {"role": arguments.role, "token": str(path), "join": str(join) if join else None}
    answer(arguments.json, told, "\n".join(_lines(arguments.role, path, join)))
    return 0


def _join_anew(home: Path, role: str, token: str) -> Path | None:
    """The file with the join string of this role, if there is one."""
    from pilot_core.io.join import JOINS, BadJoin, find_join, keep_join

    path = home / JOINS.get(role, "")
    try:
        join = find_join(str(path), {}) if path.is_file() else None
    except BadJoin:
        join = None
    if join is None:
        return None
    keep_join(path, evolve(join, token=token))
    return path


def _lines(role: str, path: Path, join: Path | None) -> list[str]:
    lines = [f"a new token is in {path}; the old one is refused from now on"]
    if role in ISSUED:
        lines.append("so are those that pilots were given for the token key: they get others by themselves")
    if join is not None:
        lines.append(f"{join} holds it too; copy that file to where the old one is used")
    return lines
