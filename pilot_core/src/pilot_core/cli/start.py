"""Setting a pilot up and running it in this process, for ``pilot run`` and ``pilot recover``."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO, cast

from attrs import evolve

from pilot_core.cli import OWN
from pilot_core.cli.mistakes import Usage, warnings_of
from pilot_core.errors import Code, PilotError
from pilot_core.io.files import Lock
from pilot_core.io.process_keeper import KeeperStarter
from pilot_core.redact import Redactor

if TYPE_CHECKING:
    from pilot_core.agent.ending import Ending
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


def set_up(sources: Sources, root: Path, redactor: Redactor) -> Setup:
    """A pilot as these sources want it."""
    from pilot_core.agent.setup import prepare

    return prepare(evolve(sources, own=root / OWN), trace=_trace(sources.environ, redactor))


def work(
    setup: Setup,
    root: Path,
    starter: KeeperStarter,
    redactor: Redactor,
    *,
    recover: bool = False,
    plain: bool = False,
) -> Ending:
    """Run the pilot, with its log on standard error and in the work directory.

    On a terminal a live view stays below the log, unless ``plain`` lines or JSON are wanted.
    """
    from pilot_core.agent.run import run
    from pilot_core.config.schema import LogOptions
    from pilot_core.io import logs

    options = setup.settings.of(LogOptions)
    with ExitStack() as leaving:
        stream = sys.stderr if plain or options.json else leaving.enter_context(_screen(root))
        logs.setup(options.level.upper(), redactor, as_json=options.json, file=root / LOG, stream=stream)
        for warning in warnings_of(setup):
            log.warning("%s", warning)
        return run(setup, root, starter, redactor=redactor, recover=recover, last=True)


@contextmanager
def _screen(root: Path) -> Iterator[TextIO]:
    """Standard error, or where that is a terminal what writes above a live view of the pilot in ``root``."""
    if not sys.stderr.isatty() or os.environ.get("PILOT_TRACE"):
        yield sys.stderr
        return
    from pilot_core.cli.terminal import Block, Live, redraws

    if not redraws(sys.stderr, os.environ):
        yield sys.stderr
        return
    block = Block(sys.stderr, os.environ)
    with Live(block, lambda: _status(root)):
        yield cast("TextIO", block)


def _status(root: Path) -> dict[str, Any] | None:
    """What the pilot says by its socket; nothing before it listens and when it no longer does."""
    import json
    import socket

    from pilot_core.agent.control import SOCKET

    try:
        folder = os.open(root / OWN, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(5.0)
            client.connect(f"/proc/self/fd/{folder}/{SOCKET}")
            client.sendall(b'{"order": "status"}\n')
            told = json.loads(b"".join(iter(lambda: client.recv(65536), b"")))
    except (OSError, ValueError):
        return None
    finally:
        os.close(folder)
    return {**told, "workdir": str(root)}


def _trace(environ: Mapping[str, str], redactor: Redactor) -> Callable[[str], None] | None:
    wanted = environ.get("PILOT_TRACE", "")
    if wanted not in ("", "hooks"):
        raise Usage(f"$PILOT_TRACE is 'hooks' or not set, and not {wanted!r}", "hooks")
    if not wanted:
        return None
    return lambda line: print(redactor.scrub(line), file=sys.stderr)
