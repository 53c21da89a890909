"""The token that opens the server, read from its file whenever that changes, and until when it is good."""

from __future__ import annotations

import os
import re
from datetime import timedelta
from math import isfinite
from pathlib import Path
from typing import Final

from pilot_core.errors import Code, PilotError
from pilot_core.io.standin import in_use

_LONGEST_B: Final = 1 << 16
_TOKEN: Final = re.compile(rb"[!-~]+")
_SIGNED: Final = re.compile(r"[\w-]+\.([\w-]+)\.[\w-]+", re.ASCII)


class TokenFile:
    """A token in a file that others may not read, or in what stands in for that in ``renewed``."""

    def __init__(self, path: Path, named: str = "with --token-file", *, renewed: Path | None = None) -> None:
        self.path = path
        self._renewed = renewed
        self._named = named
        self._read: tuple[tuple[int, ...], str] = ((), "")

    def read(self) -> str:
        """The token that is in the file now."""
        try:
            place = in_use(self.path, self._renewed)
            about = os.stat(place)
            stamp = (about.st_mtime_ns, about.st_size, about.st_ino, about.st_mode)
            if stamp != self._read[0]:
                self._read = (stamp, self._open(place, about.st_mode))
        except OSError as error:
            raise self.unfit(f"cannot be read ({error.strerror}); name the right file {self._named}") from None
        return self._read[1]

    def _open(self, place: Path, mode: int) -> str:
        if mode & 0o007:
            raise self.unfit("others may read it; let only its owner: chmod 600")
        with open(place, "rb") as file:
            token = file.read(_LONGEST_B).strip()
        if not token:
            raise self.unfit("is empty; put the token there")
        if not _TOKEN.fullmatch(token):
            raise self.unfit("holds something else than one token; put the token there and nothing else")
        return token.decode()

    def unfit(self, why: str) -> PilotError:
        """The error that names this file."""
        return PilotError(Code.NOPROXY, f"token file {self.path}: {why}", sent=False, cause="token")


def expiry(token: str) -> float | None:
    """When a signed token ends, by its own word, which nobody verified; ``None`` if it is none or does not say."""
    signed = _SIGNED.fullmatch(token)
    if not signed:
        return None
    from base64 import urlsafe_b64decode
    from json import loads

    try:
        claims = loads(urlsafe_b64decode(signed[1] + "==="))
    except (ValueError, RecursionError):
        return None
    ends = claims.get("exp") if isinstance(claims, dict) else None
    return float(ends) if isinstance(ends, int | float) and not isinstance(ends, bool) and isfinite(ends) else None


def span(time_s: float) -> str:
    """A time as people say it: ``3 days, 4:05 h``, ``12 min``."""
    told = timedelta(minutes=round(max(time_s, 0.0) / 60))
    return f"{str(told)[:-3]} h" if told >= timedelta(hours=1) else f"{told.seconds // 60} min"
