"""Who may do what: a token for each role, made at the first start, each in a file that only its owner reads."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Mapping
from hmac import compare_digest
from pathlib import Path
from typing import Final

from pilot_core.io.files import write_atomic

ROLES: Final = ("run", "submit", "admin")
SHORTEST: Final = 16

log = logging.getLogger(__name__)


class Tokens:
    """The tokens in a directory. A file that is replaced or removed revokes at once what was in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        self._lock = threading.Lock()
        self._paths = [os.fspath(self.path(role)) for role in ROLES]
        self._seen: tuple[object, ...] = ()
        self._known: dict[str, bytes] = {}
        for role in ROLES:
            self._make(role)

    def path(self, role: str) -> Path:
        return self.folder / role

    def token(self, role: str) -> str:
        """The token of a role as it is now; nothing if nobody has it."""
        return self._current().get(role, b"").decode("ascii", "replace")

    def role(self, token: str) -> str | None:
        """Whose token this is. How long that takes says nothing of how wrong it is."""
        given = token.encode()
        found = _whose(given, self._known)
        if found and sign(self._paths[ROLES.index(found)]) == self._seen[ROLES.index(found)]:
            return found
        return _whose(given, self._current())

    def _make(self, role: str) -> None:
        if not self.path(role).exists():
            import secrets

            write_atomic(self.path(role), f"{secrets.token_urlsafe(32)}\n", durable=True)

    def _current(self) -> dict[str, bytes]:
        seen = tuple(map(sign, self._paths))
        if seen != self._seen:
            with self._lock:
                self._known = {role: token for role in ROLES if (token := self._read(role))}
                self._seen = seen
        return self._known

    def _read(self, role: str) -> bytes:
        try:
            token = self.path(role).read_bytes().strip()
        except OSError as error:
            log.warning("nobody has the role %s now: %s: %s", role, self.path(role), error.strerror)
            return b""
        if len(token) < SHORTEST:
            log.warning("nobody has the role %s now: %s wants %d characters", role, self.path(role), SHORTEST)
            return b""
        return token


def _whose(given: bytes, tokens: Mapping[str, bytes]) -> str | None:
    """The first role with this token; all are compared."""
    same = [role for role, known in tokens.items() if compare_digest(known, given)]
    return same[0] if same else None


def sign(path: str | os.PathLike[str]) -> tuple[int, ...]:
    """What changes when a file does."""
    try:
        found = os.stat(path)
    except OSError:
        return ()
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
