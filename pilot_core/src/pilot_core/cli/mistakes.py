"""What is said when a command fails: the place, the reason and the way out; a traceback only for who asks."""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from pilot_core.errors import CORE, PilotError, Retry

if TYPE_CHECKING:
    from pilot_core.agent.setup import Setup

USAGE = 2
UNAVAILABLE = 69
INTERNAL = 70
EXIT_CODES: Final = {
    "pilot_core.cli.mistakes.Usage": USAGE,
    "pilot_core.config.layers.ConfigError": USAGE,
    "pilot_core.plugins.choose.CannotChoose": USAGE,
    "pilot_core.plugins.drivers.NoSuchDriver": USAGE,
    "pilot_core.errors.NoSuchCode": USAGE,
    "pilot_core.model.wire.BadMessage": USAGE,
    "pilot_core.api.services.BenchmarkFailed": 1,
    "pilot_core.io.files.Taken": 1,
    "pilot_core.agent.control.NoPilot": 1,
    "pilot_core.cli.client.NoDispatcher": UNAVAILABLE,
    "pilot_core.io.join.BadJoin": USAGE,
    "pilot_core.dispatcher.schema.WrongDatabase": 1,
    "pilot_core.dispatcher.serve.NoRoom": 1,
    "pilot_core.cli.client.Refused": 1,
    "pilot_core.plugins.guard.PluginFailed": 1,
}
"""By name, so that to explain one error the modules of all others need not be loaded."""

log = logging.getLogger(__name__)


class Usage(Exception):
    """The command line is wrong, or that of ``command`` is; its help tells how it would be right."""

    def __init__(self, text: str, command: str = "") -> None:
        place, see = (f"{command}: ", f"pilot {command} --help") if command else ("", "pilot --help")
        super().__init__(f"{place}{text}\nsee `{see}`")


def tell(error: Exception, *, debug: bool) -> int:
    """Tell people of an error on standard error; return the exit code."""
    from pilot_core.redact import Redactor

    if isinstance(error, BrokenPipeError) and _reader_left():
        return 141
    error = _own_fault(error)
    text, code = _mistake(error) or (_internal(error), INTERNAL)
    scrub = Redactor().scrub
    for line in scrub(text).splitlines():
        print(f"pilot: {line}", file=sys.stderr)
    if debug:
        _trace(error, scrub("".join(traceback.format_exception(error))))
    return code


def _own_fault(error: Exception) -> Exception:
    """A defect of a plugin that is the core's is the core's own: then the cause of the failure, else the error."""
    cause = error.__cause__
    return cause if getattr(error, "distribution", "") == CORE and isinstance(cause, Exception) else error


def warnings_of(setup: Setup) -> Iterator[str]:
    """What is wrong with a pilot that would start all the same."""
    from pilot_core.plugins.discover import State

    yield from setup.settings.warnings
    yield from setup.chosen.warnings
    broken = [each for each in setup.chosen.entries if each.state in (State.BROKEN, State.RIVAL)]
    for entry in (*broken, *setup.copytools.skipped, *setup.monitors.skipped):
        way_out = f"; to install it: {entry.install}" if entry.install else ""
        yield f"{entry.kind} {entry.name} is left out: {entry.reason}{way_out}"


def _mistake(error: Exception) -> tuple[str, int] | None:
    """The words and the exit code for what is no fault of the pilot's code."""
    if isinstance(error, PilotError):
        retry = Retry.NEVER if error.facts.get("permanent") else error.code.retry
        return f"{error}\n{retry.value}", error.code.exit_code
    for kind in type(error).__mro__:
        if code := EXIT_CODES.get(f"{kind.__module__}.{kind.__qualname__}"):
            return str(error), code
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}", 1
    return None


def _internal(error: Exception) -> str:
    where = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{os.path.basename(where.filename)}:{where.lineno}"
    said = " ".join(f"{type(error).__name__}: {error}".split())
    return f"internal error: {said} ({place}); please report it with what --debug shows"


def _trace(error: Exception, text: str) -> None:
    if log.isEnabledFor(logging.DEBUG):
        log.debug("the command failed", exc_info=error)
    else:
        print(text, end="", file=sys.stderr)


def _reader_left() -> bool:
    """Whether whoever read our output is gone, as in ``pilot hooks | head``; then nothing more is written."""
    import select

    out = select.poll()
    out.register(sys.stdout.fileno(), 0)
    if not out.poll(0):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return True
