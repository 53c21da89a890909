"""``pilot report``: the record of a job, or of all jobs in a work directory, as one HTML page."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pilot_core.cli.mistakes import Usage
from pilot_core.cli.output import answer, count
from pilot_core.cli.parser import Parser, add_json

if TYPE_CHECKING:
    from pilot_core.report.account import Account

PAGE: Final = "pilot-report.html"


def describe(parser: Parser) -> None:
    """Add the arguments of ``pilot report``."""
    parser.add_argument(
        "place",
        type=Path,
        metavar="WORKDIR|CONTROL|ARCHIVE",
        help="The work directory of a pilot, the control directory of a job, or a job's log archive.",
    )
    parser.add_argument("--job", metavar="ID", help="Tell of this job only.")
    parser.add_argument(
        "--to", type=Path, metavar="FILE", help=f"Write the page there; by default {PAGE} where you are."
    )
    add_json(parser)


def run(arguments: Namespace) -> int:
    """Write the page and say where it is. With ``--json`` the page is written only where ``--to`` says.

    Only its owner can read it, as with what it is made of.
    """
    from pilot_core.clock import SystemClock
    from pilot_core.report.found import NothingToTell
    from pilot_core.report.gather import accounts

    clock = SystemClock()
    try:
        told = _chosen(accounts(arguments.place, clock), arguments.job)
    except NothingToTell as nothing:
        raise Usage(str(nothing), "report") from None
    target = arguments.to or (None if arguments.json else Path(PAGE))
    if target is not None:
        _write(told, str(arguments.place), clock.now(), target)
    answer(arguments.json, _plain(told) if arguments.json else None, f"{count(len(told), 'job')} told in {target}")
    return 0


def _chosen(told: list[Account], job: str | None) -> list[Account]:
    if job is None:
        return told
    from pilot_core.config.spelling import meant

    chosen = [account for account in told if account.id == job]
    if not chosen:
        known = list(dict.fromkeys(account.id for account in told))
        raise Usage(
            f"--job {job}: there is none of this number{meant(job, known)}; known are {', '.join(known)}", "report"
        )
    return chosen


def _write(told: Sequence[Account], place: str, at: float, target: Path) -> None:
    from pilot_core import __version__
    from pilot_core.io.files import write_atomic
    from pilot_core.report.page import page

    text = page(told, place, at, __version__)
    try:
        write_atomic(target, text.encode(errors="backslashreplace"))
    except OSError as error:
        raise Usage(f"the page cannot be written to {target}: {error.strerror}", "report") from error


def _plain(told: Sequence[Account]) -> list[dict[str, object]]:
    import attrs

    return [attrs.asdict(account) for account in told]
