"""Who may do what: a token for each role, made at the first start, each in a file that only its owner reads.

Beside them lies the token key, for which pilots get further tokens. Those are signed with what only the dispatcher and
its administrator know, so that a pilot cannot make any, and are kept nowhere.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Mapping
from hmac import compare_digest
from pathlib import Path
from typing import Final

from pilot_core.clock import Clock, SystemClock
from pilot_core.dispatcher.signed import is_good, signed
from pilot_core.io.files import write_atomic

RUN: Final = "run"
ADMIN: Final = "admin"
ROLES: Final = (RUN, "submit", ADMIN)
KEY: Final = "key"
SHORTEST: Final = 16

log = logging.getLogger(__name__)


class Tokens:
    """The tokens in a directory. A file that is replaced or removed revokes at once what was in it.

    That of pilots, and that of administrators, revokes the tokens that were issued as well.
    """

    def __init__(self, folder: Path, clock: Clock | None = None) -> None:
        self.folder = folder
        self._clock = clock or SystemClock()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        self._lock = threading.Lock()
        self._paths = [os.fspath(self.path(name)) for name in ROLES]
        self._seen: tuple[object, ...] = ()
        self._known: dict[str, bytes] = {}
        for name in (*ROLES, KEY):
            if not self.path(name).exists():
                renew(self.path(name))
            _shut(self.path(name))

    def path(self, role: str) -> Path:
        return self.folder / role

    def token(self, role: str) -> str:
        """The token of a role as it is now; nothing if nobody has it."""
        return self._current().get(role, b"").decode("ascii", "replace")

    @property
    def key(self) -> str:
        """The token key as it is now; nothing if there is none."""
        return self._read(KEY, "the token key").decode("ascii", "replace")

    def issue(self, client: str, life_s: float) -> str:
        """Another token for pilots, good for so long; nothing if nobody could sign it."""
        claims = {"sub": client, "role": RUN, "exp": int(self._clock.now() + life_s)}
        secret = _secret(self._current())
        return signed(claims, secret) if secret else ""

    def role(self, token: str) -> str | None:
        """Whose token this is. How long that takes says nothing of how wrong it is."""
        given = token.encode()
        found = _whose(given, self._known)
        if found and sign(self._paths[ROLES.index(found)]) == self._seen[ROLES.index(found)]:
            return found
        known = self._current()
        return _whose(given, known) or (RUN if self._is_issued(given, _secret(known)) else None)

    def _is_issued(self, given: bytes, secret: bytes) -> bool:
        return bool(secret) and is_good(given, secret, self._clock.now())

    def _current(self) -> dict[str, bytes]:
        seen = tuple(map(sign, self._paths))
        if seen != self._seen:
            with self._lock:
                self._known = {role: token for role in ROLES if (token := self._read(role, f"the role {role}"))}
                self._seen = seen
        return self._known

    def _read(self, name: str, what: str) -> bytes:
        try:
            token = self.path(name).read_bytes().strip()
        except OSError as error:
            log.warning("nobody has %s now: %s: %s", what, self.path(name), error.strerror)
            return b""
        if len(token) < SHORTEST:
            log.warning("nobody has %s now: %s wants %d characters", what, self.path(name), SHORTEST)
            return b""
        return token


def renew(path: Path) -> str:
    """Have a file hold a token that nobody knew before; that one."""
    import secrets

    token = secrets.token_urlsafe(32)
    write_atomic(path, f"{token}\n", durable=True)
    return token


def _shut(path: Path) -> None:
    """Let only its owner read a token."""
    if (mode := path.stat().st_mode & 0o777) & 0o077:
        path.chmod(0o600)
        way_out = f"if somebody did, replace it: pilot token rotate {path.name}"
        log.warning("others could have read %s (mode %o); now only its owner can; %s", path, mode, way_out)


def _whose(given: bytes, tokens: Mapping[str, bytes]) -> str | None:
    """The first role with this token; all are compared."""
    same = [role for role, known in tokens.items() if compare_digest(known, given)]
    return same[0] if same else None


def _secret(known: Mapping[str, bytes]) -> bytes:
    """What tokens are signed with: nothing, if one of those is missing who can revoke them."""
    return b"\0".join((known[ADMIN], known[RUN])) if {ADMIN, RUN} <= known.keys() else b""


def sign(path: str | os.PathLike[str]) -> tuple[int, ...]:
    """What changes when a file does."""
    try:
        found = os.stat(path)
    except OSError:
        return ()
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
