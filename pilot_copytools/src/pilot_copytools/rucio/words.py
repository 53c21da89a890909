"""What Rucio's server and its client library say of failures, in the words of a transfer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from pilot_copytools._library import broken
from pilot_copytools._side import IN, OUT, STATUSES
from pilot_core.sdk import Code, ErrorCode, PilotError
from pilot_core.sdk.transfers import told_error
from pilot_core.sdk.web import Answer

EXCEPTIONS: Final = {
    "AccessDenied": "auth",
    "CannotAuthenticate": "auth",
    "CannotAuthorize": "auth",
    "DataIdentifierNotFound": "absent",
    "DatabaseException": "busy",
    "DestinationAccessDenied": "auth",
    "FileAlreadyExists": "exists",
    "FileConsistencyMismatch": "differs",
    "FileReplicaAlreadyExists": "exists",
    "IdentityError": "auth",
    "IdentityNotFound": "auth",
    "InvalidRSEExpression": "settings",
    "RSEFileNameNotSupported": "settings",
    "RSENotFound": "settings",
    "RSEOverQuota": "full",
    "RSEProtocolNotSupported": "settings",
    "RSEReadBlocked": "busy",
    "RSEWriteBlocked": "busy",
    "ReplicaNotFound": "absent",
    "ResourceTemporaryUnavailable": "busy",
    "ScopeNotFound": "settings",
    "SourceAccessDenied": "auth",
    "SourceNotFound": "absent",
    "SubscriptionDuplicate": "exists",
}
"""Its exceptions, at whatever depth: each says something sure."""
MAYBE: Final = {"DestinationNotAccessible": "busy", "RSEAccessDenied": "auth", "ServiceUnavailable": "busy"}
"""Exceptions that it wraps around anything: they count where nothing else says more."""

_NO_ENTRY: Final = dict.fromkeys(("auth", "keys"), Code.STAGEOUTAUTHENTICATIONFAILURE)
LISTING: Final = dict.fromkeys(("auth", "keys"), Code.STAGEINAUTHENTICATIONFAILURE)
NAMING: Final = {**_NO_ENTRY, "settings": Code.NOSTORAGE}
REGISTERING: Final = {**_NO_ENTRY, "exists": Code.FILEEXISTS, "settings": Code.STAGEOUTFAILED}
"""What the words mean for each kind of question; any other is that the server does not answer."""


def seen_as(failed: PilotError, words: Mapping[str, ErrorCode], otherwise: ErrorCode, about: str = "") -> PilotError:
    """The error of a question that came to nothing, by the word for why."""
    word = str(failed.facts.get("cause", ""))
    code = words.get(word, otherwise) if failed.code is Code.COMMUNICATIONFAILURE else failed.code
    return PilotError(code, f"{about}{failed.detail}")


def refusal(answer: Answer) -> PilotError:
    """Why the server did not do what it was asked for."""
    name, said = answer.headers.get("exceptionclass", ""), answer.headers.get("exceptionmessage", "")
    usual = STATUSES.get(answer.status, "busy" if answer.status >= 500 else "settings")
    word = EXCEPTIONS.get(name) or MAYBE.get(name) or usual
    told = f"{name}: {said}" if name else f"it answered {answer.status}"
    return broken(f"{answer.url.partition('?')[0]}: {told}", word)


def failure(direction: str, url: str, error: BaseException) -> PilotError:
    """The error that an exception of the client library means: by its kinds, else by its words."""
    chain = list(_depths(error))
    names = [kind.__name__ for each in reversed(chain) for kind in type(each).__mro__]
    said = "; ".join(dict.fromkeys(filter(None, (" ".join(str(each).split()) for each in chain))))
    side, told = (IN if direction == "in" else OUT), f"{url}: {said or names[0]}"
    if sure := next((EXCEPTIONS[name] for name in names if name in EXCEPTIONS), ""):
        return side.error(sure, told)
    spoken = told_error(direction, told)
    maybe = next((MAYBE[name] for name in names if name in MAYBE), "")
    return side.error(maybe, told) if spoken.code is side.failed and maybe else spoken


def _depths(error: BaseException) -> Iterator[BaseException]:
    """The exception, and what it was made of."""
    yield error
    for inner in error.args:
        if isinstance(inner, BaseException):
            yield from _depths(inner)
