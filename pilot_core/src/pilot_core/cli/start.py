"""Setting a pilot up and running it in this process, for ``pilot run`` and ``pilot recover``."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pilot_core.cli import OWN
from pilot_core.cli.mistakes import Usage, warnings_of
from pilot_core.errors import Code, PilotError
from pilot_core.io.files import Lock
from pilot_core.io.process_keeper import KeeperStarter
from pilot_core.redact import Redactor

if TYPE_CHECKING:
    from pilot_core.agent.run import Ending
    from pilot_core.agent.setup import Setup, Sources

LOG: Final = "pilotlog.txt"
log = logging.getLogger("pilot_core")


@contextmanager
def keeper(root: Path) -> Iterator[KeeperStarter]:
    """A keeper that starts while all else is still being imported; first of all the work directory is this pilot's."""
    own = root / OWN
    try:
        own.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise PilotError(Code.MKDIR, f"{own}: {error.strerror}") from error
    Lock(own / "lock").take().release()
    starter = KeeperStarter(own / "keeper.log")
    starter.start()
    try:
        yield starter
    finally:
        starter.close()


def set_up(sources: Sources, redactor: Redactor) -> Setup:
    """A pilot as these sources want it."""
    from pilot_core.agent.setup import prepare

    return prepare(sources, trace=_trace(sources.environ, redactor))


def work(setup: Setup, root: Path, starter: KeeperStarter, redactor: Redactor, *, recover: bool = False) -> Ending:
    """Run the pilot, with its log on standard error and in the work directory."""
    from pilot_core.agent.run import run
    from pilot_core.config.schema import LogOptions
    from pilot_core.io import logs

    options = setup.settings.of(LogOptions)
    logs.setup(options.level.upper(), redactor, as_json=options.json, file=root / LOG)
    for warning in warnings_of(setup):
        log.warning("%s", warning)
    return run(setup, root, starter, redactor=redactor, recover=recover)


def _trace(environ: Mapping[str, str], redactor: Redactor) -> Callable[[str], None] | None:
    wanted = environ.get("PILOT_TRACE", "")
    if wanted not in ("", "hooks"):
        raise Usage(f"$PILOT_TRACE is 'hooks' or not set, and not {wanted!r}", "hooks")
    if not wanted:
        return None
    return lambda line: print(redactor.scrub(line), file=sys.stderr)
