"""``pilot serve``: a dispatcher for a laptop or a small cluster, until it is told to end."""

from __future__ import annotations

import argparse
import errno
import os
import re
import shlex
import signal
import sys
from argparse import Namespace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pilot_core.cli.mistakes import Usage
from pilot_core.cli.parser import Parser, add_json
from pilot_core.io.home import default_home

if TYPE_CHECKING:
    from types import FrameType

    from pilot_core.dispatcher.serve import Dispatcher
    from pilot_core.redact import Redactor


FULL: Final = (errno.ENOSPC, errno.EDQUOT)
CONFIG: Final = (
    "Queues, storages, and how long jobs that are over are kept (keep: 30 d); by default server.yaml in its home."
)


def describe(parser: Parser) -> None:
    """Add the arguments of ``pilot serve``."""
    add = parser.add_argument
    add("--home", type=Path, metavar="DIR", help="All it keeps; by default the one of this user.")
    told = "By default loopback, and the port of its last run."
    add("--listen", type=address, default=("127.0.0.1", 0), metavar="HOST:PORT", help=told)
    told = "How others reach it, if not by the address where it listens: join strings name it. It then speaks TLS."
    add("--advertise", type=advertised, metavar="HOST[:PORT]", help=told)
    add("--config", type=Path, metavar="FILE", help=CONFIG)
    add("--cert", type=Path, metavar="FILE", help="A certificate, in PEM form; by default it makes one of its own.")
    add("--key", type=Path, metavar="FILE", help="The key of that certificate.")
    add("--queue", metavar="NAME", help="The queue that it tells pilots to serve; by default the first one.")
    add("--show-join", action="store_true", help="Print the join string, which holds a token.")
    add_json(parser)


def run(arguments: Namespace) -> int:
    """Serve until SIGTERM or SIGINT; then let running requests end."""
    from pilot_core.dispatcher.serve import CannotServe, Dispatcher, NoRoom
    from pilot_core.dispatcher.tls import NoTls
    from pilot_core.redact import Redactor

    if (arguments.cert is None) != (arguments.key is None):
        raise Usage("--cert and --key go together", "serve")
    certificate = (arguments.cert, arguments.key) if arguments.cert else None
    os.umask(0o077)
    home = (arguments.home or default_home(os.environ)).absolute()
    redactor = Redactor()
    make = partial(Dispatcher, home, config=arguments.config, queue=arguments.queue, learn=redactor.learn)
    try:
        dispatcher = make(address=arguments.listen, certificate=certificate, advertise=arguments.advertise)
    except (CannotServe, NoTls) as error:
        raise Usage(str(error), "serve") from None
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise NoRoom(f"{home}: {error.strerror}; make room on its disk, and start again") from None
    try:
        _work(dispatcher, redactor, arguments)
    finally:
        dispatcher.close()
    return 0


def address(text: str) -> tuple[str, int]:
    """``HOST:PORT``; of an IPv6 address ``[::1]:8080``."""
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") if host.startswith("[") else host
    if not (colon and host and port.isascii() and port.isdigit() and int(port) < 65536):
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT, such as 0.0.0.0:8443 or [::1]:8080")
    return host, int(port)


def advertised(text: str) -> tuple[str, int]:
    """``HOST`` or ``HOST:PORT``; without a port 0."""
    alone = text.endswith("]") if text.startswith("[") else ":" not in text
    host, port = address(f"{text}:0" if alone else text)
    if not re.fullmatch(r"[0-9A-Za-z.:_-]+", host):
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST or HOST:PORT, such as jobs.example.org:8443")
    return host, port


def _work(dispatcher: Dispatcher, redactor: Redactor, arguments: Namespace) -> None:
    import gc

    from pilot_core.io import logs

    logs.setup("DEBUG" if arguments.debug else "INFO", redactor)
    _obey_signals(dispatcher)
    _tell(dispatcher, arguments)
    gc.freeze()  # what is loaded stays: no collection looks through it again
    dispatcher.run()


def _obey_signals(dispatcher: Dispatcher) -> None:
    """The first signal asks for an orderly end, a second one has its usual effect."""

    def end(signum: int, frame: FrameType | None) -> None:
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, signal.SIG_DFL)
        dispatcher.stop()

    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, end)


def _tell(dispatcher: Dispatcher, arguments: Namespace) -> None:
    """Where it is and how a pilot comes to it; whoever started it may wait for this."""
    from pilot_core.cli.output import answer

    run = ["pilot", "run", "--queue", dispatcher.queue, "--url", dispatcher.near]
    run += ["--token-file", str(dispatcher.tokens.path("run"))]
    run += ["--fingerprint", dispatcher.fingerprint] if dispatcher.fingerprint else []
    told: dict[str, object] = {
        "url": dispatcher.url,
        "fingerprint": dispatcher.fingerprint,
        "home": str(dispatcher.home),
        "queues": [*dispatcher.config.queues],
        "run": run,
        "join": str(dispatcher.home / "join"),
        "join_submit": str(dispatcher.home / "join-submit"),
    }
    lines = [
        f"page:             {dispatcher.url}/",
        f"its token:        in {dispatcher.tokens.path('admin')}",
        f"a pilot here:     {shlex.join(run)}",
        f"pilots elsewhere: {_elsewhere(dispatcher)}",
    ]
    if arguments.show_join:
        told["join_string"] = dispatcher.join().text()
        lines.append(f"join string:      {told['join_string']}")
    answer(arguments.json, told, "\n".join(lines))
    sys.stdout.flush()


def _elsewhere(dispatcher: Dispatcher) -> str:
    if not dispatcher.fingerprint:
        return "reach it when it listens beyond loopback, as with `--listen 0.0.0.0:8443`"
    return f"get in by the join string in {dispatcher.home / 'join'}, people by join-submit; keep both like passwords"
