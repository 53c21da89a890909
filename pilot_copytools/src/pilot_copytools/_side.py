"""What goes wrong on either way, in one word each, and the error codes that those words mean."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from attrs import frozen

from pilot_core.sdk import Code, ErrorCode, PilotError
from pilot_core.sdk.io import Cancelled

_FULL_DISK: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
STATUSES: Final = {
    401: "auth",
    403: "auth",
    404: "absent",
    409: "conflict",
    410: "absent",
    412: "exists",
    413: "full",
    429: "busy",
    503: "busy",
    507: "full",
}
"""What the statuses of HTTP mean for a transfer."""


@frozen
class Side:
    """One direction: the code of what has no other, of a wrong digest by its kind, and of each word."""

    failed: ErrorCode
    differs: ErrorCode
    md5_differs: ErrorCode
    no_room_here: ErrorCode
    words: Mapping[str, ErrorCode]

    def error(self, word: str, detail: str, **facts: object) -> PilotError:
        """The error that a word means; one that nobody knows is a failure like any other."""
        return PilotError(self.words.get(word, self.failed), detail, **facts)

    def mismatch(self, kind: str, detail: str) -> PilotError:
        """The error of a digest that is not what it should be."""
        return PilotError(self.md5_differs if kind == "md5" else self.differs, detail)

    @contextmanager
    def told(self) -> Iterator[None]:
        """Say in the words of a transfer what went wrong with the network or with the disk."""
        try:
            yield
        except Cancelled as given_up:
            raise PilotError(self.failed, str(given_up)) from None
        except PilotError as failed:
            cause = str(failed.facts.get("cause"))
            if failed.code is not Code.COMMUNICATIONFAILURE and cause != "token":
                raise
            raise self.error(cause, failed.detail, **failed.facts) from failed
        except OSError as error:
            raise PilotError(self._of_disk(error), _named(error)) from error

    def _of_disk(self, error: OSError) -> ErrorCode:
        if error.errno in _FULL_DISK:
            return self.no_room_here
        return Code.NOSUCHFILE if isinstance(error, FileNotFoundError) and self is OUT else self.failed


def _named(error: OSError) -> str:
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}"


IN: Final = Side(
    Code.STAGEINFAILED,
    Code.GETADMISMATCH,
    Code.GETMD5MISMATCH,
    Code.NOLOCALSPACE,
    {
        "absent": Code.MISSINGINPUTFILE,
        "auth": Code.STAGEINAUTHENTICATIONFAILURE,
        "busy": Code.SERVICENOTAVAILABLE,
        "differs": Code.GETADMISMATCH,
        "keys": Code.MISSINGCREDENTIALS,
        "no route": Code.UNREACHABLENETWORK,
        "refused": Code.SERVICENOTAVAILABLE,
        "timed out": Code.SERVICENOTAVAILABLE,
        "token": Code.STAGEINAUTHENTICATIONFAILURE,
    },
)
OUT: Final = Side(
    Code.STAGEOUTFAILED,
    Code.PUTADMISMATCH,
    Code.PUTMD5MISMATCH,
    Code.NOLOCALSPACE,
    {
        "auth": Code.STAGEOUTAUTHENTICATIONFAILURE,
        "busy": Code.SERVICENOTAVAILABLE,
        "cut off": Code.COMMUNICATIONFAILURE,
        "differs": Code.PUTADMISMATCH,
        "exists": Code.FILEEXISTS,
        "full": Code.NOREMOTESPACE,
        "keys": Code.MISSINGCREDENTIALS,
        "name unknown": Code.COMMUNICATIONFAILURE,
        "no route": Code.COMMUNICATIONFAILURE,
        "refused": Code.COMMUNICATIONFAILURE,
        "timed out": Code.COMMUNICATIONFAILURE,
        "token": Code.STAGEOUTAUTHENTICATIONFAILURE,
    },
)
