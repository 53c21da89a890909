"""``pilot watch``: run a command as it is, and say what it used."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
from argparse import Namespace
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO

from pilot_core.cli.output import count, duration, size
from pilot_core.cli.parser import Parser

if TYPE_CHECKING:
    from pilot_core.api.watching import Point, Watch, Watched

LEFT_ALONE: Final = frozenset({
    *(signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD),
    *(signal.SIGCONT, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGWINCH),
    *(signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGSEGV, signal.SIGSYS, signal.SIGTRAP),
    *(signal.SIGPIPE, signal.SIGXFSZ),
})  # fmt: skip
"""Signals that a terminal stops and continues by, and those that tell of our own doings; all others are passed on."""
PASSED_ON: Final = frozenset(signal.valid_signals()) - LEFT_ALONE
BY_KERNEL: Final = 0x80
"""The origin of what a terminal sends, to the command as well."""
WAKE: Final = signal.SIGURG
COLUMNS: Final = ("at_s", "rss_b", "pss_b", "cpu_s", "processes", "threads", "read_b", "write_b")
NOT_FOUND, NOT_RUN = 127, 126
LEAST_S: Final = 0.01


def measure(unit: str, least: float = 0.0) -> Any:
    """The type of an argument with a unit: ``2 GB``, ``500 ms``."""
    from pilot_core.config.values import Unreadable, read_measure

    def read(text: str) -> float:
        try:
            value = read_measure(text, unit)
        except Unreadable as wrong:
            raise argparse.ArgumentTypeError(str(wrong)) from None
        if value < least:
            raise argparse.ArgumentTypeError(f"wants at least {least:g}, not {text!r}")
        return value

    return read


def describe(parser: Parser) -> None:
    """Add the arguments of ``pilot watch``."""
    size_b, time_s = measure("b"), measure("s")
    parser.add_argument("words", nargs="+", metavar="COMMAND", help="What to run, with its arguments, after --.")
    parser.add_argument("--memory-limit", type=size_b, metavar="SIZE", help="End it when it uses more, such as '2 GB'.")
    parser.add_argument(
        "--grace", type=time_s, default=10.0, metavar="TIME", help="Between asking it to end and killing it."
    )
    parser.add_argument(
        "--interval", type=measure("s", LEAST_S), default=1.0, metavar="TIME", help="It is measured this often."
    )
    parser.add_argument("--pss", action="store_true", help="Measure also with shared memory counted once; dearer.")
    parser.add_argument("--series", type=Path, metavar="FILE", help="Write all measurements there, as CSV.")
    parser.add_argument("--to", type=Path, metavar="FILE", help="Write the summary there, and not on standard error.")
    parser.add_argument("--json", action="store_true", help="The summary is JSON.")


def run(arguments: Namespace) -> int:
    """Run it, pass signals on, tell, and end as it did."""
    with ExitStack() as leaving:
        series = leaving.enter_context(arguments.series.open("w")) if arguments.series else None
        target = leaving.enter_context(arguments.to.open("w")) if arguments.to else sys.stderr
        try:
            watched = _watched(arguments, series)
        except OSError as error:
            if error.filename != arguments.words[0]:
                raise
            print(f"pilot: {arguments.words[0]}: {error.strerror}", file=sys.stderr)
            return NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_RUN
        told = _plain(watched)
        target.write(json.dumps(told, indent=2) + "\n" if arguments.json else _tidy(watched, arguments.memory_limit))
    return _end_alike(watched)


def _watched(arguments: Namespace, series: TextIO | None) -> Watched:
    from pilot_core.api.watching import Watch

    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    limit_b = arguments.memory_limit
    watching = Watch(
        arguments.words,
        interval_s=arguments.interval,
        memory_limit_b=None if limit_b is None else int(limit_b),
        grace_s=arguments.grace,
        pss=arguments.pss,
        mask=before,
        seen=_writer(series) if series else lambda _: None,
    )
    with _passing_on(watching):
        return watching.wait()


def _writer(series: TextIO) -> Any:
    """Writes each point as it is measured, so that what a crash leaves is whole."""
    print(*COLUMNS, sep=",", file=series, flush=True)

    def write(point: Point) -> None:
        cells = ("" if (value := getattr(point, name)) is None else f"{value:.12g}" for name in COLUMNS)
        print(*cells, sep=",", file=series, flush=True)

    return write


@contextmanager
def _passing_on(watching: Watch) -> Iterator[None]:
    """Start it, and let it have the signals that we are sent, but for those that its terminal sends it too.

    They are blocked before any thread is there, so that this one alone takes them.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, PASSED_ON)
    over = threading.Event()

    def pass_on() -> None:
        while not over.is_set():
            info = signal.sigwaitinfo(PASSED_ON)
            if info.si_code != BY_KERNEL and not over.is_set():
                watching.signal(info.si_signo)

    try:
        watching.start()
        passing = threading.Thread(target=pass_on, name="pass signals on", daemon=True)
        passing.start()
        try:
            yield
        finally:
            over.set()
            signal.pthread_kill(passing.ident or 0, WAKE)
            passing.join()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _plain(watched: Watched) -> dict[str, Any]:
    from attrs import asdict

    told = asdict(watched, filter=lambda each, _: each.name != "points")
    line = watched.growth
    told["growth"] = {"b_per_s": line.slope, "error_b_per_s": line.slope_error, "points": line.points} if line else None
    return {**told, "points": len(watched.points)}


def _tidy(watched: Watched, limit_b: float | None) -> str:
    """A line for each thing that people want to know."""
    cpu_s = watched.user_s + watched.system_s
    busy = f", {cpu_s / watched.wall_s:.2f} cores" if watched.wall_s else ""
    peak = f"{size(watched.peak_b)} at most" if watched.peak_b else "not known, it was too short"
    rows = {
        "ended": _end_of(watched, limit_b),
        "wall time": duration(watched.wall_s),
        "CPU time": f"{duration(cpu_s)} ({duration(watched.system_s)} of it the system's){busy}",
        "memory": f"{peak}, {count(len(watched.points), 'measurement')}",
    }
    if line := watched.growth:
        sure = "" if line.rises else "; no growth that is certain"
        rows["growth"] = f"{line.slope * 60 / 1e6:+.3g} MB/min, plus or minus {line.slope_error * 60 / 1e6:.2g}{sure}"
    return "".join(f"pilot watch: {name + ':':<10} {text}\n" for name, text in rows.items())


def _end_of(watched: Watched, limit_b: float | None) -> str:
    how = f"exit code {watched.exit_code}" if watched.signal is None else f"signal {watched.signal}"
    if watched.over_limit_b is None or limit_b is None:
        return how
    return f"{how}, told to end at {size(watched.over_limit_b)}: the limit is {size(limit_b)}"


def _end_alike(watched: Watched) -> int:
    """The command's exit code, or an end by the same signal; what was ended for its memory did not succeed."""
    if watched.signal is not None:
        sys.stdout.flush()
        sys.stderr.flush()
        _die_by(watched.signal)
    return watched.exit_code or int(watched.over_limit_b is not None)


def _die_by(signum: int) -> None:
    """End by a signal, and leave no core file: it would be ours."""
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    if signum not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(signum, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signum])
    os.kill(os.getpid(), signum)
