"""What a server answered: judged in the order that its protocol wants, refused in words that say what to do."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, Protocol

from attrs import field, frozen

from pilot_core.sdk import Code, ErrorCode, PilotError

LONGEST: Final = 300
_REJECTED: Final = re.compile(r"(?:Type error:|Argument error:.*\bunexpected\b.*?) *'(?P<name>\w+)'", re.DOTALL)
_TRANSIENT: Final = ("no jobs in panda", "timed out", "database error", "failed to add meta_data")


class Answer(Protocol):
    """What the server sent back, whatever its status."""

    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def body(self) -> bytes: ...
    def json(self) -> object: ...


@frozen(kw_only=True)
class Envelope:
    """An answer of the first version that could be read."""

    success: bool
    message: str = ""
    data: object = None
    headers: Mapping[str, str] = field(factory=dict)

    @property
    def inner(self) -> Mapping[str, object]:
        """The data, if they are an object."""
        return self.data if isinstance(self.data, Mapping) else {}

    @property
    def status(self) -> int | None:
        """The status inside the data, where there is one."""
        code = self.inner.get("StatusCode")
        return code if isinstance(code, int) and not isinstance(code, bool) else None

    @property
    def rejected(self) -> str:
        """The field that the server does not take, if that is what it complains of."""
        found = None if self.success else _REJECTED.search(self.message)
        return found["name"] if found else ""


@frozen(kw_only=True)
class Refusal:
    """A permanent refusal: what the server writes, and what is to be done about it."""

    said: str
    told: str
    code: ErrorCode = Code.NOPROXY


REFUSALS: Final = (
    Refusal(
        said="token authentication failed",
        told="the server does not accept the token; put a valid one into the file of connection.token, "
        "and check connection.origin",
    ),
    Refusal(said="is banned", told="the server has banned this identity; ask its operators"),
    Refusal(
        said="role required",
        told="the identity lacks the production role; use a token or proxy that has it",
    ),
    Refusal(
        said="no production/pilot role",
        told="the identity lacks the production role; use a token or proxy that has it",
    ),
    Refusal(
        said="ssl secure connection is required",
        told="the server saw no identity, or a limited proxy, which it never takes; name a token with "
        "connection.token (--token-file) or use a full proxy",
    ),
    Refusal(
        said="is forbidden",
        told="the server does not know this call; it is of another generation than this pilot, "
        "or connection.url names another service",
        code=Code.COMMUNICATIONFAILURE,
    ),
    Refusal(
        said="argument error",
        told="the server does not know a field that this pilot cannot leave out; its version is not supported",
        code=Code.COMMUNICATIONFAILURE,
    ),
    Refusal(
        said="type error",
        told="the server wants another type for a field that this pilot cannot leave out; its version is not supported",
        code=Code.COMMUNICATIONFAILURE,
    ),
)
FORBIDDEN: Final = Refusal(
    said="", told="the server refuses this identity; check connection.token and connection.origin, or ask its operators"
)
NOT_THERE: Final = Refusal(
    said="",
    told="the server has no such address; check connection.url, or its version, which must be 0.6 or newer",
    code=Code.COMMUNICATIONFAILURE,
)


def read_envelope(answer: Answer) -> Envelope:
    """What a server of the first version says; ``PilotError`` if it says nothing that can be read."""
    if answer.status != 200:
        raise _of_status(answer)
    told = answer.json()
    if not isinstance(told, Mapping) or "success" not in told:
        raise failure(f"the answer is no envelope: {_excerpt(answer)}")
    message = told.get("message")
    success, text = told["success"] is True, message if isinstance(message, str) else ""
    return Envelope(success=success, message=text, data=told.get("data"), headers=answer.headers)


def failure(detail: str) -> PilotError:
    """Something that usually passes."""
    return PilotError(Code.COMMUNICATIONFAILURE, detail)


def refusal_of(message: str) -> PilotError | None:
    """The error in what a server says when it will not do something, now or later; ``None`` if it may do it later."""
    said = message.lower()
    if any(each in said for each in _TRANSIENT):
        return None
    found = next((each for each in REFUSALS if each.said in said), None)
    return None if found is None else _refused(found, message)


def _of_status(answer: Answer) -> PilotError:
    said = _excerpt(answer)
    if answer.status == 403:
        return refusal_of(said) or _refused(FORBIDDEN, said)
    if answer.status == 404:
        return _refused(NOT_THERE, said)
    return failure(f"the server answered with status {answer.status}: {said}")


def _refused(refusal: Refusal, said: str) -> PilotError:
    return PilotError(refusal.code, f"{refusal.told} (it says: {said[:LONGEST]})", permanent=True)


def _excerpt(answer: Answer) -> str:
    return " ".join(answer.body[: 4 * LONGEST].decode(errors="replace").split())[:LONGEST] or "nothing"
