"""Programs that move files: an argument list, an environment that is built, a session that can be ended.

What a program says is kept only so far that its story can be told. Whoever waits for it looks twice a second whether
to go on and how far the file has grown.
"""

from __future__ import annotations

import os
import selectors
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Final

from attrs import field, frozen

from pilot_core.sdk import Code, Moving, PilotError, option
from pilot_core.sdk.io import CancelFlag
from pilot_core.sdk.transfers import told_error

KEPT_B: Final = 1 << 16
LOOK_S: Final = 0.5
GRACE_S: Final = 0.5
CLEANING_S: Final = 4.0
SILENT_S: Final = 0.02

PROXY: Final = "X509_USER_PROXY"
TOKEN: Final = "BEARER_TOKEN_FILE"  # noqa: S105
_NAMES: Final = frozenset(
    {"PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TMPDIR", "TZ", "LD_LIBRARY_PATH", "PYTHONPATH"}
    | {"BEARER_TOKEN", "XDG_RUNTIME_DIR", "KRB5CCNAME", "SSL_CERT_FILE", "SSL_CERT_DIR", "OPENSSL_CONF"}
)
_BEGINNINGS: Final = ("X509_", "XRD_", "XrdSec", "GFAL_", "GLOBUS_", "DAVIX_", "LSM_", TOKEN)
_WITH_SETUP: Final = ("/bin/bash", "-c", 'source "$0" >/dev/null && exec "$@"')


@frozen(kw_only=True)
class Access:
    """What the tools for grid storage have in common: the section of each is one of these."""

    proxy: Path | None = option(None, help="The file with the proxy for storage, instead of the environment's.")
    token: Path | None = option(None, help="The file with the token for storage, instead of the environment's.")
    setup: Path | None = option(None, help="A shell file of the site that is read before the tool's programs start.")


@frozen
class Ended:
    """A program that came to its end: its exit status, or minus a signal's number, and the end of what it said."""

    name: str
    status: int
    out: str
    err: str

    def checked(self, direction: str) -> str:
        """What it printed, if it says that all went well."""
        if self.status:
            raise self.error(direction)
        return self.out

    def error(self, direction: str) -> PilotError:
        """Why it failed, by its own words, or else by the number it left with."""
        how = f"was ended by signal {-self.status}" if self.status < 0 else f"left with {self.status}"
        said = self.err.strip() or self.out.strip()
        told = told_error(direction, said, self.status)
        return PilotError(told.code, f"{self.name} {how}: {told.detail or 'it said nothing'}", status=self.status)


@frozen
class Program:
    """How a program is started: its first arguments, its environment, and the site's shell file before it."""

    access: Access
    direction: str
    env: Mapping[str, str] = field(factory=dict)

    def run(self, argv: Sequence[str], moving: Moving, grows: Path | None = None, keeps: Sequence[int] = ()) -> Ended:
        """Run it to its end; nothing of its session is left when this returns or raises.

        ``grows`` is the file whose growth is told, ``keeps`` are descriptors that it has as well.
        """
        name = argv[0]
        if moving.cancel.is_set():
            raise self._given_up(name)
        with _started(self._command(argv), self.environment(), keeps) as child:
            listening = _Listening(child)
            until = None if moving.budget_s is None else time.monotonic() + moving.budget_s
            while not listening.ended(LOOK_S):
                if grows is not None:
                    _tell_growth(grows, moving)
                if moving.cancel.is_set() or (until is not None and time.monotonic() >= until):
                    raise self._given_up(name)
            return listening.last_words(name)

    def environment(self) -> dict[str, str]:
        """The pilot's own settings of grid tools, with the credentials that the site names."""
        kept = {name: value for name, value in os.environ.items() if name in _NAMES or name.startswith(_BEGINNINGS)}
        return {**kept, **self.env, **credentials(self.access)}

    def _command(self, argv: Sequence[str]) -> list[str]:
        return [*_WITH_SETUP, str(self.access.setup), *argv] if self.access.setup else [*argv]

    def _given_up(self, name: str) -> PilotError:
        return PilotError(told_error(self.direction, "").code, f"{name} was given up")


def cleaning() -> Moving:
    """What may be used to clean up, also after a cancellation."""
    return Moving(cancel=CancelFlag(), budget_s=CLEANING_S)


def credentials(access: Access) -> dict[str, str]:
    """The variables by which grid tools find the credentials that the site names."""
    named = {PROXY: access.proxy, TOKEN: access.token}
    return {name: str(path) for name, path in named.items() if path is not None}


def installed(program: str, access: Access | None = None) -> bool:
    """Whether the program is to be found; what a site's shell file brings is seen when it runs."""
    return bool(access and access.setup) or shutil.which(program) is not None


class _Listening:
    """The end of what a program says, and whether it is still there; it stays unreaped, so its number is its own."""

    def __init__(self, child: subprocess.Popen[bytes]) -> None:
        assert child.stdout
        assert child.stderr
        self._child = child
        self._tails: dict[IO[bytes], bytes] = {child.stdout: b"", child.stderr: b""}
        self._ready = selectors.DefaultSelector()
        for pipe in self._tails:
            os.set_blocking(pipe.fileno(), False)
            self._ready.register(pipe, selectors.EVENT_READ)

    def ended(self, limit_s: float) -> bool:
        """Listen for so long; whether the program is over."""
        silent = not self._ready.get_map()
        for key, _ in self._ready.select(SILENT_S if silent else limit_s):
            self._hear(key.fileobj)
        options = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self._child.pid, options) is not None

    def last_words(self, name: str) -> Ended:
        """What is left to be heard of it."""
        for key in list(self._ready.get_map().values()):
            while self._hear(key.fileobj):
                pass
        self._ready.close()
        out, err = (tail.decode(errors="replace") for tail in self._tails.values())
        return Ended(name, _end(self._child), out, err)

    def _hear(self, pipe: Any) -> bool:
        """Read what is there and keep its end; false when there is no more now, or will never be."""
        try:
            data = os.read(pipe.fileno(), KEPT_B)
        except BlockingIOError:
            return False
        self._tails[pipe] = (self._tails[pipe] + data)[-KEPT_B:]
        if not data:
            self._ready.unregister(pipe)
        return bool(data)


@contextmanager
def _started(command: Sequence[str], env: Mapping[str, str], keeps: Sequence[int]) -> Iterator[subprocess.Popen[bytes]]:
    quiet, pipe = subprocess.DEVNULL, subprocess.PIPE
    try:
        child = subprocess.Popen(
            command, stdin=quiet, stdout=pipe, stderr=pipe, env=env, pass_fds=keeps, start_new_session=True
        )
    except OSError as error:
        raise PilotError(Code.UNKNOWNCOPYTOOL, f"{command[0]}: {error.strerror}") from None
    with child:
        try:
            yield child
        finally:
            _end(child)


def _end(child: subprocess.Popen[bytes]) -> int:
    """End the program and whatever it has started, in an orderly way if it still runs; its exit status."""
    if child.returncode is None:
        _signal(child, signal.SIGTERM)
        _await_end(child, GRACE_S)
        _signal(child, signal.SIGKILL)
        child.wait()
    return child.returncode


def _await_end(child: subprocess.Popen[bytes], limit_s: float) -> None:
    """Wait for its end without reaping it."""
    until = time.monotonic() + limit_s
    gone = threading.Event()
    options = os.WEXITED | os.WNOHANG | os.WNOWAIT
    while os.waitid(os.P_PID, child.pid, options) is None and time.monotonic() < until:
        gone.wait(SILENT_S)


def _signal(child: subprocess.Popen[bytes], number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, number)


def _tell_growth(path: Path, moving: Moving) -> None:
    with suppress(FileNotFoundError):
        moving.progress(path.stat().st_size)
