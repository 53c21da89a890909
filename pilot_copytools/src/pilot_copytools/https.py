"""The copy tool "https": files behind web servers and WebDAV doors.

A file is summed while it moves. A server that tells the digest of what it got is believed, one that does not is asked
for it: a file is stored only when size and digest at the far end are those of the file here. The pilot's token is
shown to the pilot's own server and to nobody else.
"""

from __future__ import annotations

import errno
import json
import os
from base64 import b64decode
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import BinaryIO, Final

from attrs import frozen

from pilot_core.sdk import (
    Checksum,
    Code,
    Connection,
    ErrorCode,
    Fetches,
    FileSpec,
    Moved,
    Moving,
    PilotError,
    Replica,
    Settings,
    Stores,
)
from pilot_core.sdk.io import Cancelled, Digest, sum_file
from pilot_core.sdk.web import Answer, web_of

KIND: Final = "adler32"
LONGEST_S: Final = 10800.0
QUESTION_S: Final = 60.0
CLEANING_S: Final = 5.0

_SCHEMES: Final = {"https": "https", "davs": "https", "http": "http", "dav": "http"}
_NAMES: Final = {"adler32": "adler32", "md5": "md5", "sha-256": "sha256", "crc32c": "crc32c"}
_WANTED: Final = {"Want-Digest": KIND}
_ABSENT: Final = frozenset({404, 410})
_NO_QUESTIONS: Final = frozenset({405, 501})
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
_AWAY: Final = ("refused", "no route", "name unknown", "timed out", "cut off")
"""Causes of a call without an answer that pass when the server comes back."""
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


@frozen
class _Side:
    """The codes of one direction: in general, by HTTP status, and by the cause of a call without an answer."""

    failed: ErrorCode
    statuses: Mapping[int, ErrorCode]
    causes: Mapping[str, ErrorCode]

    def refused(self, answer: Answer, url: str) -> PilotError:
        """The error of an answer that is a refusal, in the server's own words."""
        code = self.statuses.get(answer.status, self.failed)
        return PilotError(code, f"{url}: {answer.status}{_words(answer)}", status=answer.status)


_IN: Final = _Side(
    Code.STAGEINFAILED,
    {
        401: Code.STAGEINAUTHENTICATIONFAILURE,
        403: Code.STAGEINAUTHENTICATIONFAILURE,
        404: Code.MISSINGINPUTFILE,
        410: Code.MISSINGINPUTFILE,
        429: Code.SERVICENOTAVAILABLE,
        503: Code.SERVICENOTAVAILABLE,
    },
    {
        "token": Code.STAGEINAUTHENTICATIONFAILURE,
        "no route": Code.UNREACHABLENETWORK,
        "refused": Code.SERVICENOTAVAILABLE,
        "timed out": Code.SERVICENOTAVAILABLE,
    },
)
_OUT: Final = _Side(
    Code.STAGEOUTFAILED,
    {
        401: Code.STAGEOUTAUTHENTICATIONFAILURE,
        403: Code.STAGEOUTAUTHENTICATIONFAILURE,
        413: Code.NOREMOTESPACE,
        503: Code.SERVICENOTAVAILABLE,
        507: Code.NOREMOTESPACE,
    },
    {"token": Code.STAGEOUTAUTHENTICATIONFAILURE, **dict.fromkeys(_AWAY, Code.COMMUNICATIONFAILURE)},
)


class Https(Fetches, Stores):
    """Moves files by GET and PUT."""

    name = "https"
    schemes = tuple(_SCHEMES)

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._web = web_of(settings)
        self._own = tuple(settings.of(Connection).url)

    def fetch(self, replica: Replica, target: Path, file: FileSpec, moving: Moving) -> Moved:
        """Stream a file to the disk and sum it on its way."""
        url, kind = _url(replica), file.checksum.kind if file.checksum else KIND
        with _told(_IN), _new(target) as writer:
            summing = _Summing(writer, kind)
            limit_s = _budget_s(moving)
            answer = self._web.fetch(
                url, summing, limit_s=limit_s, cancel=moving.cancel, progress=moving.progress, headers=_WANTED
            )
            if answer.status != 200:
                raise _IN.refused(answer, _shown(url))
            return summing.moved(_digests(answer), _shown(url))

    def store(self, source: Path, replica: Replica, file: FileSpec, moving: Moving) -> Moved:
        """Put a file where nothing is, or what it replaces, and see that it is what lies there then."""
        url = _url(replica)
        with _told(_OUT), open(source, "rb") as reader:
            known = _known(source, file, moving)
            before = None if self._is_ours(url) else self._look(url)
            if before and (known.is_in(before, sized=True) or not file.replace):
                return _same(known, before, url)
            with nullcontext() if before else self._cleaning(url):
                answer = self._put(url, reader, known, moving)
                if answer.status < 300:
                    return self._verified(known, answer, url)
            if answer.status == 409 and (lying := self._look(url)):
                return _same(known, lying, url)
            raise self._refused(answer, url)

    def _refused(self, answer: Answer, url: str) -> PilotError:
        """Why the far end took no file; the pilot's own server may know its token again, or had the job taken."""
        error = _OUT.refused(answer, _shown(url))
        if not self._is_ours(url):
            return error
        if answer.status == 409:
            return PilotError(Code.PANDAKILL, error.detail)
        if answer.status in (401, 403):
            error.facts["passes"] = True
        return error

    def _is_ours(self, url: str) -> bool:
        """Whether it is the pilot's own server, which never writes over a file."""
        return any(url.startswith(f"{own.rstrip('/')}/") for own in self._own)

    def _put(self, url: str, reader: BinaryIO, known: _Known, moving: Moving) -> Answer:
        return self._web.put(
            url,
            _Checked(reader, known),
            known.size_b,
            headers={"Digest": f"{KIND}={known.sums[KIND]}", **_WANTED},
            limit_s=_budget_s(moving),
            cancel=moving.cancel,
            progress=moving.progress,
        )

    def _look(self, url: str) -> Answer | None:
        """What lies there, or nothing."""
        answer = self._web.call("HEAD", url, headers=_WANTED, limit_s=QUESTION_S, repeat=True)
        if answer.status in _ABSENT or answer.status in _NO_QUESTIONS:
            return None
        if answer.status >= 300:
            raise _OUT.refused(answer, _shown(url))
        return answer

    def _verified(self, known: _Known, answer: Answer, url: str) -> Moved:
        """Compare what the far end says it has."""
        lying = answer if KIND in _digests(answer) else self._look(url)
        if lying is None:
            raise PilotError(Code.STAGEOUTFAILED, f"{_shown(url)}: stored by its own word, but nothing is there")
        if (same := known.is_in(lying, sized=lying is not answer)) is None:
            raise PilotError(Code.CHKSUMNOTSUP, f"{_shown(url)}: it tells no {KIND} of what it stored")
        if not same:
            raise PilotError(known.differs, f"{_shown(url)}: {_about(lying)} are there, {known} here")
        return known.moved

    @contextmanager
    def _cleaning(self, url: str) -> Iterator[None]:
        """Have nothing stay there if what was begun fails; most servers see to that themselves."""
        try:
            yield
        except (PilotError, Cancelled, OSError) as failed:
            if not isinstance(failed, PilotError) or failed.facts.get("sent", True):
                with suppress(PilotError):
                    self._web.call("DELETE", url, limit_s=CLEANING_S)
            raise


@frozen
class _Known:
    """What is known of the file here."""

    size_b: int
    checksum: Checksum
    sums: Mapping[str, str]

    def __str__(self) -> str:
        return f"{self.size_b} B and {KIND}:{self.sums[KIND]}"

    @property
    def moved(self) -> Moved:
        return Moved(size_b=self.size_b, checksum=self.checksum, summed=True)

    @property
    def differs(self) -> ErrorCode:
        return Code.PUTMD5MISMATCH if self.checksum.kind == "md5" else Code.PUTADMISMATCH

    def is_in(self, answer: Answer, *, sized: bool) -> bool | None:
        """Whether what lies there is this file; ``None`` if nobody knows."""
        if sized and answer.headers.get("content-length", str(self.size_b)) != str(self.size_b):
            return False
        told = _digests(answer)
        compared = [told[kind] == value for kind, value in self.sums.items() if kind in told]
        return all(compared) if compared else None


class _Summing:
    """Writes to a file and sums."""

    def __init__(self, file: BinaryIO, kind: str) -> None:
        self._file = file
        self._kind = kind
        self._digest = Digest([kind])
        self._size_b = 0

    def write(self, data: memoryview, /) -> None:
        self._file.write(data)
        self._digest.update(data)
        self._size_b += len(data)

    def moved(self, told: Mapping[str, str], url: str) -> Moved:
        """What was written, if it is what the server had."""
        found = self._digest.hexdigests()[self._kind]
        if told.get(self._kind, found) != found:
            code = Code.GETMD5MISMATCH if self._kind == "md5" else Code.GETADMISMATCH
            raise PilotError(code, f"{url}: {self._kind}:{found} arrived, {told[self._kind]} by the server's word")
        return Moved(size_b=self._size_b, checksum=Checksum(self._kind, found), summed=True)


class _Checked:
    """Reads a file to be sent, and keeps back the end of one that is not what it should be."""

    def __init__(self, file: BinaryIO, known: _Known) -> None:
        self._file = file
        self._known = known
        self.seek(0)

    def tell(self) -> int:
        return self._file.tell()

    def seek(self, place: int, /) -> None:
        self._file.seek(place)
        self._digest = Digest([self._known.checksum.kind])

    def read(self, size_b: int, /) -> bytes:
        block = self._file.read(size_b)
        self._digest.update(block)
        wanted = self._known.checksum
        if self.tell() >= self._known.size_b and (found := self._digest.hexdigests()[wanted.kind]) != wanted.value:
            raise PilotError(self._known.differs, f"the file here has {wanted.kind}:{found}, {wanted} expected")
        return block


def _known(source: Path, file: FileSpec, moving: Moving) -> _Known:
    size_b, checksum = source.stat().st_size, file.checksum
    if file.size_b not in (None, size_b):
        raise PilotError(Code.PUTADMISMATCH, f"the file here has {size_b} B, {file.size_b} B expected")
    if checksum is not None and checksum.kind == KIND:
        return _Known(size_b, checksum, {KIND: checksum.value})
    kinds = {KIND, checksum.kind} if checksum else {KIND}
    sums = sum_file(source, kinds, cancelled=moving.cancel).sums
    return _Known(size_b, checksum or Checksum(KIND, sums[KIND]), sums)


def _same(known: _Known, lying: Answer, url: str) -> Moved:
    """Accept what is stored already if it is this very file."""
    if known.is_in(lying, sized=True):
        return known.moved
    raise PilotError(Code.FILEEXISTS, f"{_shown(url)}: {_about(lying)} are there already, {known} here")


def _digests(answer: Answer) -> dict[str, str]:
    """The sums in a ``Digest`` header, in hexadecimal, by our names of their kinds."""
    found = {}
    for told in answer.headers.get("digest", "").split(","):
        name, _, value = told.strip().partition("=")
        if kind := _NAMES.get(name.lower()):
            with suppress(ValueError):
                plain = value.lower() if kind in (KIND, "crc32c") else b64decode(value, validate=True).hex()
                found[kind] = Checksum.parse(f"{kind}:{plain}").value
    return found


def _about(answer: Answer) -> str:
    size, told = answer.headers.get("content-length"), _digests(answer)
    return f"{size or 'unknown'} B and {', '.join(f'{kind}:{value}' for kind, value in told.items()) or 'no digest'}"


def _words(answer: Answer) -> str:
    """What the server says about its refusal, if it is short and plain."""
    with suppress(ValueError, TypeError, KeyError):
        return f" {json.loads(answer.body)['error']}"
    text = answer.body[:200].decode(errors="replace").strip()
    return f" {text}" if text and text.isprintable() else ""


def _url(replica: Replica) -> str:
    scheme, _, rest = replica.url.partition("://")
    return f"{_SCHEMES.get(scheme.lower(), scheme)}://{rest}"


def _shown(url: str) -> str:
    """An address without what may be a signature."""
    return url.partition("?")[0]


def _budget_s(moving: Moving) -> float:
    return LONGEST_S if moving.budget_s is None else moving.budget_s


@contextmanager
def _new(path: Path) -> Iterator[BinaryIO]:
    """A new file, gone again if what is done with it fails."""
    fd = os.open(path, _NEW, 0o644)
    with ExitStack() as unless_done:
        unless_done.callback(path.unlink, missing_ok=True)
        with open(fd, "wb") as file:
            yield file
        unless_done.pop_all()


@contextmanager
def _told(side: _Side) -> Iterator[None]:
    """Say in the words of a transfer what went wrong with the network or with the disk."""
    try:
        yield
    except Cancelled as given_up:
        raise PilotError(side.failed, str(given_up)) from None
    except PilotError as failed:
        if failed.code is not Code.COMMUNICATIONFAILURE:
            raise
        code = side.causes.get(str(failed.facts.get("cause")), side.failed)
        raise PilotError(code, failed.detail, **failed.facts) from failed
    except OSError as error:
        absent = isinstance(error, FileNotFoundError) and side is _OUT
        code = Code.NOSUCHFILE if absent else Code.NOLOCALSPACE if error.errno in _FULL else side.failed
        where = f"{error.filename}: " if error.filename else ""
        raise PilotError(code, f"{where}{error.strerror or error}") from error
