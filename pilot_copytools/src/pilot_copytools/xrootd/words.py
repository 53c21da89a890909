"""What the client says went wrong, as data: its own codes, the servers' codes, and their words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from pilot_copytools._cli import Ended
from pilot_copytools._told import IN
from pilot_core.sdk import Checksum, Code, ErrorCode, PilotError
from pilot_core.sdk.transfers import told_error

NOT_FOUND: Final = 3011
UNSUPPORTED: Final = 3013
NO_CHECKSUM: Final = frozenset({3000, 3012, UNSUPPORTED, 3019})
"""What servers answer who know no checksum of this kind."""

_ANSWER: Final = 400
_Codes = Mapping[int, tuple[ErrorCode, ErrorCode]]
_SERVER: Final[_Codes] = {
    3003: (Code.SERVICENOTAVAILABLE, Code.FILEEXISTS),
    3009: (Code.STAGEINFAILED, Code.NOREMOTESPACE),
    3010: (Code.STAGEINAUTHENTICATIONFAILURE, Code.STAGEOUTAUTHENTICATIONFAILURE),
    NOT_FOUND: (Code.MISSINGINPUTFILE, Code.NOSUCHFILE),
    3018: (Code.FILEEXISTS, Code.FILEEXISTS),
    3019: (Code.GETADMISMATCH, Code.PUTADMISMATCH),
    3021: (Code.STAGEINFAILED, Code.NOREMOTESPACE),
    3024: (Code.SERVICENOTAVAILABLE, Code.SERVICENOTAVAILABLE),
    3029: (Code.MISSINGINPUTFILE, Code.SERVICENOTAVAILABLE),
    3030: (Code.STAGEINAUTHENTICATIONFAILURE, Code.STAGEOUTAUTHENTICATIONFAILURE),
}
"""Codes in a server's answer: on the way in, on the way out."""

_AWAY: Final = (Code.SERVICENOTAVAILABLE, Code.SERVICENOTAVAILABLE)
_DENIED: Final = (Code.STAGEINAUTHENTICATIONFAILURE, Code.STAGEOUTAUTHENTICATIONFAILURE)
_LATE: Final = (Code.STAGEINTIMEOUT, Code.STAGEOUTTIMEOUT)
_CLIENT: Final[_Codes] = {
    101: (Code.UNREACHABLENETWORK, Code.UNREACHABLENETWORK),
    102: _AWAY,
    103: _LATE,
    104: _AWAY,
    107: _AWAY,
    108: _AWAY,
    109: _AWAY,
    202: _AWAY,
    203: _DENIED,
    204: _DENIED,
    206: _LATE,
    305: (Code.GETADMISMATCH, Code.PUTADMISMATCH),
}
"""Codes of the client itself."""
_STATUS: Final[_Codes] = {51: _AWAY, 52: _DENIED, 53: (Code.GETADMISMATCH, Code.PUTADMISMATCH)}
"""The layers that failed, by what the programs leave with: the line, the way in, the data."""

_NUMBER: Final = re.compile(r"\[(3\d\d\d)\]")


def error_of(direction: str, status: Any, about: str) -> PilotError:
    """The error of a status of the bindings; its words decide where its numbers say nothing."""
    words = " ".join(str(status.message).split())
    told = told_error(direction, f"{about}: {words}")
    codes = _SERVER.get(status.errno) if status.code == _ANSWER else _CLIENT.get(status.code)
    if codes is None:
        return told
    return PilotError(codes[0] if direction == IN else codes[1], told.detail)


def program_error(direction: str, ended: Ended) -> PilotError:
    """The error of a program: by the server's number in its words, then by the words, then by what it left with."""
    told = ended.error(direction)
    number = _NUMBER.search(ended.err)
    codes = _SERVER.get(int(number[1])) if number else None
    if codes is None and told.code.vague:
        codes = _STATUS.get(ended.status)
    if codes is None:
        return told
    return PilotError(codes[0] if direction == IN else codes[1], told.detail, status=ended.status)


def read_checksum(words: str, kind: str) -> Checksum | None:
    """The checksum in "adler32 1a2b", of this kind; leading zeros that were dropped are there again."""
    told = words.replace("\0", " ").split()
    if len(told) >= 2 and told[0].lower() == kind:
        with suppress(ValueError):
            return Checksum.parse(f"{kind}:{told[1]}")
    return None


def path_of(url: str) -> str:
    """The path of a file on its server, with what follows it."""
    return "/" + url.partition("://")[2].partition("/")[2].lstrip("/")


def server_of(url: str) -> str:
    """The URL of a file's server."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.partition('/')[0]}"


def with_query(path: str, more: str) -> str:
    """The path with one thing more said about it."""
    return f"{path}{'&' if '?' in path else '?'}{more}"
