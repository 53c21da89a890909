"""What WebDAV adds to HTTP, as far as a copy tool needs it: directories, and names that files are given later."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from posixpath import dirname
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit, urlunsplit

from attrs import frozen

from pilot_core.sdk import PilotError

if TYPE_CHECKING:
    from pilot_core.sdk.web import Answer, Web

QUESTION_S: Final = 60.0
CLEANING_S: Final = 3.0
NO_PARENT: Final = frozenset({404, 409})
"""Answers to MKCOL and PUT that mean that a directory is missing, among other things."""
LATER_S: Final = (0.3, 1.0)
"""How long after an upload was broken off XRootD may still begin to write it."""


@frozen
class _Server:
    """What a server can, and whether it is XRootD, which takes a destination as it is written, escapes and all."""

    moves: bool
    is_xrootd: bool


class Dav:
    """Asks WebDAV servers for what GET and PUT can't do. What a server can is asked once."""

    def __init__(self) -> None:
        self._servers: dict[str, _Server] = {}

    def part_of(self, web: Web, url: str) -> str | None:
        """Where a file is put that gets its name later; ``None`` where the server can't rename to that name."""
        parts, server = urlsplit(url), self._ask(web, url)
        if not server.moves or (server.is_xrootd and "%" in parts.path):
            return None
        return urlunsplit(parts._replace(path=f"{dirname(parts.path).rstrip('/')}/.{os.urandom(6).hex()}.part"))

    def _ask(self, web: Web, url: str) -> _Server:
        if (origin := _origin(url)) not in self._servers:
            answer = web.call("OPTIONS", url, limit_s=QUESTION_S, repeat=True)
            told = answer.headers
            moves = answer.status < 300 and ("MOVE" in told.get("allow", "").upper() or "dav" in told)
            self._servers[origin] = _Server(moves, told.get("server", "").lower().startswith("xrootd"))
        return self._servers[origin]

    def move(self, web: Web, part: str, url: str, *, replace: bool) -> Answer:
        """Give a file its name."""
        wanted = urlunsplit(urlsplit(url)._replace(query="", fragment=""))
        headers = {"Destination": wanted, "Overwrite": "T" if replace else "F"}
        return web.call("MOVE", part, headers=headers, limit_s=QUESTION_S)

    def make_parents(self, web: Web, url: str) -> None:
        """Make the directory of a file, and those above it that are missing; what can't be made is found out later."""
        self._make(web, urlsplit(url)._replace(path=dirname(urlsplit(url).path)).geturl())

    def _make(self, web: Web, folder: str) -> None:
        parts = urlsplit(folder)
        if parts.path in ("", "/"):
            return
        below = urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/"))
        if web.call("MKCOL", below, limit_s=QUESTION_S).status in NO_PARENT:
            self._make(web, urlunsplit(parts._replace(path=dirname(parts.path.rstrip("/")))))
            web.call("MKCOL", below, limit_s=QUESTION_S)

    def remove(self, web: Web, url: str) -> None:
        """Remove what should not stay there, if that can be done quickly."""
        server = self._servers.get(_origin(url))
        pauses_s = LATER_S if server and server.is_xrootd else ()
        with suppress(PilotError):
            for pause_s in (*pauses_s, None):
                if web.call("DELETE", url, limit_s=CLEANING_S).status != 404 or pause_s is None:
                    return
                time.sleep(pause_s)


def _origin(url: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path="", query="", fragment=""))
