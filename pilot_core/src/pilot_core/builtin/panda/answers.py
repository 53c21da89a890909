"""What a server answered: judged in the order that its protocol wants, refused in words that say what to do."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Final, Protocol

from attrs import field, frozen

from pilot_core.builtin.panda.reading import whole
from pilot_core.sdk import Code, ErrorCode, PilotError

SHORTEST_PAUSE_S: Final = 1.0
"""Whatever a server says, it is not asked for work more often, nor is a word of its taken for longer than the next."""
LONGEST_PAUSE_S: Final = 600.0
LONGEST: Final = 300
_REJECTED: Final = re.compile(r"(?:Type error:|Argument error:.*\bunexpected\b.*?) *'(?P<name>\w+)'", re.DOTALL)
_SCHEMA: Final = ("type error", "argument error")
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
    """An answer that could be read, whichever generation of servers it came from."""

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

    @property
    def misunderstood(self) -> bool:
        """Whether the server complains of fields that came, named or not."""
        said = "" if self.success else self.message.lower()
        return any(each in said for each in _SCHEMA) and "missing" not in said


@frozen(kw_only=True)
class Refusal:
    """A permanent refusal: what the server writes, and what is to be done about it."""

    said: str
    told: str
    code: ErrorCode = Code.NOPROXY


ROLE: Final = "the identity lacks the production role; use a token or proxy that has it"
REFUSALS: Final = (
    Refusal(
        said="token authentication failed",
        told="the server does not accept the token; put a valid one into the file of connection.token, "
        "and check connection.origin",
    ),
    Refusal(said="is banned", told="the server has banned this identity; ask its operators"),
    Refusal(said="role required", told=ROLE),
    Refusal(said="no production/pilot role", told=ROLE),
    Refusal(said="wrong role", told=ROLE),
    Refusal(
        said="ssl secure connection is required",
        told="the server saw no identity, or a limited proxy, which it never takes; name a token with "
        "connection.token (--token-file) or use a full proxy",
    ),
    Refusal(
        said="is forbidden",
        told="the server does not know this call; set panda.dialect to auto, or check that connection.url names "
        "a server for pilots",
        code=Code.BADQUEUECONFIGURATION,
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
OLD: Final[Mapping[int, str]] = {20: "no jobs in PanDA", 60: "wrong role"}
"""What an older server means by a status, however it puts it."""
NOT_THERE: Final = Refusal(
    said="",
    told="the server has no such address; check connection.url, or set panda.dialect to auto if it is an old one",
    code=Code.BADQUEUECONFIGURATION,
)


def read_envelope(answer: Answer) -> Envelope:
    """What a server of the first version says; ``PilotError`` if it says nothing that can be read."""
    if answer.status != 200:
        raise _of_status(answer)
    envelope = _envelope(answer.json(), answer.headers)
    if envelope is None:
        raise failure(f"the answer is no envelope: {_excerpt(answer)}")
    return envelope


def read_envelopes(answer: Answer) -> list[Envelope] | None:
    """The answers to several updates at once; ``None`` if they were refused as a whole."""
    whole_one = read_envelope(answer)
    if not whole_one.success or not isinstance(whole_one.data, list):
        return None
    return _each([_envelope(told, {}) for told in whole_one.data])


def _envelope(told: object, headers: Mapping[str, str]) -> Envelope | None:
    if not isinstance(told, Mapping) or "success" not in told:
        return None
    message = told.get("message")
    text = message if isinstance(message, str) else ""
    return Envelope(success=told["success"] is True, message=text, data=told.get("data"), headers=headers)


def _each(envelopes: list[Envelope | None]) -> list[Envelope] | None:
    """All of them, or nothing if one makes no sense."""
    sound = [each for each in envelopes if each is not None]
    return sound if len(sound) == len(envelopes) else None


def read_old_envelope(answer: Answer) -> Envelope:
    """What an older server says: a status and everything else beside it, as JSON or as a form."""
    if answer.status != 200:
        raise _of_status(answer)
    envelope = _old_envelope(_old_value(answer.body.decode(errors="replace")), answer.headers)
    if envelope is None:
        said = _excerpt(answer)
        raise refusal_of(said) or failure(f"the answer has no status: {said}")
    return envelope


def read_old_envelopes(answer: Answer) -> list[Envelope] | None:
    """The answers of an older server to several updates at once; each may be a text of its own."""
    if answer.status != 200:
        raise _of_status(answer)
    told = _old_value(answer.body.decode(errors="replace"))
    if not isinstance(told, list) or len(told) != 2 or told[0] is not True or not isinstance(told[1], list):
        return None
    texts = (each.get("content") if isinstance(each, Mapping) else each for each in told[1])
    return _each([_old_envelope(_old_value(text) if isinstance(text, str) else text, {}) for text in texts])


def _old_envelope(told: object, headers: Mapping[str, str]) -> Envelope | None:
    status = whole(told.get("StatusCode")) if isinstance(told, Mapping) else None
    if not isinstance(told, Mapping) or status is None:
        return None
    message = next((told[name] for name in ("errorDialog", "ErrorDialog") if isinstance(told.get(name), str)), "")
    data = {**told, "StatusCode": status, "jobs": _old_jobs(told)}
    return Envelope(success=status == 0, message=OLD.get(status, message), data=data, headers=headers)


def _old_value(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        from urllib.parse import parse_qsl

        return dict(parse_qsl(text.strip(), keep_blank_values=True))


def _old_jobs(told: Mapping[str, object]) -> object:
    """The jobs in an answer: a list, the text of one, or a single job whose fields stand beside the status."""
    jobs = told.get("jobs")
    if jobs is None:
        return [told] if "PandaID" in told else []
    if isinstance(jobs, str):
        try:
            return json.loads(jobs)
        except ValueError:
            return None
    return jobs


def failure(detail: str) -> PilotError:
    """Something that usually passes."""
    return PilotError(Code.COMMUNICATIONFAILURE, detail)


def told_to_wait_s(headers: Mapping[str, str], now: float) -> float | None:
    """How long a server wants not to be asked for work, which it says in seconds or as a date, within reason.

    ``None`` if it says nothing, or nothing that makes sense; ``now`` is by the wall clock.
    """
    told = headers.get("retry-after", "").strip()
    wait_s = float(told) if told.isascii() and told.isdecimal() else _until(told, now)
    return None if wait_s is None else min(max(wait_s, SHORTEST_PAUSE_S), LONGEST_PAUSE_S)


def _until(date: str, now: float) -> float | None:
    from email.utils import mktime_tz, parsedate_tz

    try:
        read = parsedate_tz(date)
        return None if read is None else mktime_tz(read) - now
    except (ValueError, OverflowError):
        return None


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
    told = f"the server answered with status {answer.status}: {said}"
    return PilotError(Code.COMMUNICATIONFAILURE, told, status=answer.status)


def _refused(refusal: Refusal, said: str) -> PilotError:
    return PilotError(refusal.code, f"{refusal.told} (it says: {said[:LONGEST]})", permanent=True)


def _excerpt(answer: Answer) -> str:
    return " ".join(answer.body[: 4 * LONGEST].decode(errors="replace").split())[:LONGEST] or "nothing"
