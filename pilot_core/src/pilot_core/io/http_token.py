"""The token that opens the server, read from its file whenever that changes."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from pilot_core.errors import Code, PilotError

_LONGEST_B: Final = 1 << 16
_TOKEN: Final = re.compile(rb"[!-~]+")


class TokenFile:
    """A token in a file that others may not read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read: tuple[tuple[int, ...], str] = ((), "")

    def read(self) -> str:
        """The token that is in the file now."""
        try:
            about = os.stat(self.path)
            stamp = (about.st_mtime_ns, about.st_size, about.st_ino, about.st_mode)
            if stamp != self._read[0]:
                self._read = (stamp, self._open(about.st_mode))
        except OSError as error:
            raise self._unfit(f"cannot be read ({error.strerror}); name the right file with --token-file") from None
        return self._read[1]

    def _open(self, mode: int) -> str:
        if mode & 0o007:
            raise self._unfit("others may read it; let only its owner: chmod 600")
        with open(self.path, "rb") as file:
            token = file.read(_LONGEST_B).strip()
        if not token:
            raise self._unfit("is empty; put the token there")
        if not _TOKEN.fullmatch(token):
            raise self._unfit("holds something else than one token; put the token there and nothing else")
        return token.decode()

    def _unfit(self, why: str) -> PilotError:
        told = f"token file {self.path}: {why}"
        return PilotError(Code.COMMUNICATIONFAILURE, told, sent=False, cause="token")
