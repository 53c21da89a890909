"""The copy tool "https": files behind web servers and WebDAV doors.

A file is summed while it moves. An upload has a name of its own until the far end is known to have all of it: a server
that tells the digest of what it got is believed, one that does not is asked for it, and one that knows none has to show
the file again. Where a server can't rename, the file is put under its final name at once, and removed if it is wrong.
Every server is shown the credential that the site named for it, and no other.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final
from urllib.parse import parse_qsl, urlsplit

from attrs import frozen

from pilot_copytools._dav import NO_PARENT, QUESTION_S, Dav
from pilot_copytools._digests import asking_for, base64_of, digests, telling
from pilot_copytools._disk import Dropping, Known, Leaving, arriving, describe, found_as, kind_of, know
from pilot_copytools._side import IN, OUT, STATUSES, Side
from pilot_core.sdk import (
    Code,
    Connection,
    Fetches,
    FileSpec,
    Found,
    Looks,
    Moved,
    Moving,
    PilotError,
    Replica,
    Settings,
    Stores,
    option,
)
from pilot_core.sdk.io import Cancelled
from pilot_core.sdk.web import Answer, find_credentials, web_of

if TYPE_CHECKING:
    from pilot_core.sdk.web import Web

LONGEST_S: Final = 10800.0

SPELLINGS: Final = {"https": "https", "davs": "https", "webdav": "https", "http": "http", "dav": "http"}
"""The schemes of places, and what is spoken there."""
_ABSENT: Final = frozenset({404, 410})
_NO_QUESTIONS: Final = frozenset({405, 501})
_TAKEN: Final = frozenset({409, 412})
_SIGNATURES: Final = frozenset({"x-amz-signature", "x-goog-signature", "signature"})
_SIGNS_HEADERS: Final = "awsaccesskeyid"
"""In the query of an older kind of signature, which no further header may go with."""
_RANGE: Final = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


@frozen(kw_only=True)
class HttpsOptions:
    """How the copy tool "https" works with storage."""

    section = "https"

    credentials: Mapping[str, Path] = option(
        {},
        help="Files with a token or a proxy, by the host that is shown it: HOST, HOST:PORT, *.DOMAIN or *. A host that "
        "is not named is shown the pilot's proxy, if there is one, and no token.",
    )
    read_back: bool = option(True, help="Read an output back from a server that can't tell its digest; or refuse it.")


class Https(Fetches, Stores, Looks):
    """Moves files by GET and PUT."""

    name = "https"
    schemes = tuple(SPELLINGS)
    resumes = True
    options = HttpsOptions

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        connection = settings.of(Connection)
        self._options = settings.of(HttpsOptions)
        self._own = tuple(connection.url)
        self._server = web_of(settings)
        proxy = find_credentials(connection).proxy
        self._storage = web_of(settings, {**({"*": proxy} if proxy else {}), **self._options.credentials})
        self._nobody = web_of(settings, {})
        self._dav = Dav()

    def look(self, replica: Replica, file: FileSpec, moving: Moving) -> Found | None:
        """Ask for size and digest."""
        with IN.told():
            lying = self._look(_url(replica), kind_of(file), IN)
        return found_as(_size_b(lying), digests(lying.headers), file) if lying else None

    # --- inputs -----------------------------------------------------------------------------------------------------

    def fetch(self, replica: Replica, target: Path, file: FileSpec, moving: Moving) -> Moved:
        """Stream a file to the disk and sum it on its way."""
        url = _url(replica)
        with IN.told(), arriving(target, file, moving) as taking:
            kept_b = taking.kept_b
            answer = self._web(url, replica.signed).fetch(
                url,
                taking,
                start_b=kept_b,
                headers=_part(kept_b, file),
                limit_s=_budget_s(moving),
                cancel=moving.cancel,
                progress=lambda there_b: moving.progress(there_b - kept_b),
            )
            _check_part(answer, kept_b, file, _shown(url))
            return taking.moved(self._asked(replica, file), _shown(url))

    def _asked(self, replica: Replica, file: FileSpec) -> Mapping[str, str]:
        """The server's word on a file of which nobody else knows a digest.

        It is asked for that alone: some servers break when they are asked together with the file, or tell one that
        was asked for before, of something else.
        """
        url = _url(replica)
        if file.checksum or replica.signed or _is_signed(url):
            return {}
        lying = self._look(url, kind_of(file), IN)
        return digests(lying.headers) if lying else {}

    # --- outputs ----------------------------------------------------------------------------------------------------

    def store(self, source: Path, replica: Replica, file: FileSpec, moving: Moving) -> Moved:
        """Put a file where nothing is, or what it replaces, and see that it is what lies there then."""
        url = _url(replica)
        with OUT.told(), self._mended(url), open(source, "rb") as reader:
            if replica.signed or _is_signed(url):
                return self._put_signed(reader, know(source, file, moving, "md5"), url, moving)
            known = know(source, file, moving)
            if self._is_ours(url):
                return self._put_in_place(reader, known, url, moving, before=None)
            before = self._look(url, known.checksum.kind, OUT)
            if before and (not file.replace or self._is_in(before, known, url, moving)):
                return self._same(before, known, url, moving)
            if part := self._dav.part_of(self._storage, url):
                return self._put_aside(reader, known, part, url, file, moving)
            return self._put_in_place(reader, known, url, moving, before)

    def _put_aside(self, reader: BinaryIO, known: Known, part: str, url: str, file: FileSpec, moving: Moving) -> Moved:
        """Put a file beside its place, see that it is right, and give it its name."""
        with self._cleaning(part):
            answer = self._put(part, reader, known, moving)
            if answer.status >= 300:
                raise self._refused(answer, url)
            self._verify(answer, known, part, moving)
            moved = self._move(part, url, known, file, moving)
            if moved is None or moved.status < 300:
                return known.moved
            if moved.status in _TAKEN and (lying := self._look(url, known.checksum.kind, OUT)):
                self._dav.remove(self._storage, part)
                return self._same(lying, known, url, moving)
            raise self._refused(moved, url)

    def _move(self, part: str, url: str, known: Known, file: FileSpec, moving: Moving) -> Answer | None:
        """The answer to a renaming; ``None`` if it was lost, but the file is there."""
        try:
            return self._dav.move(self._storage, part, url, replace=file.replace)
        except PilotError as lost:
            if not lost.facts.get("sent", True):
                raise
            lying = self._look(url, known.checksum.kind, OUT)
            if lying is None or not self._is_in(lying, known, url, moving):
                raise
            return None

    def _put_in_place(self, reader: BinaryIO, known: Known, url: str, moving: Moving, before: Answer | None) -> Moved:
        """Put a file under its final name at once."""
        with nullcontext() if before else self._cleaning(url):
            answer = self._put(url, reader, known, moving)
            if answer.status < 300:
                self._verify(answer, known, url, moving)
                return known.moved
        if answer.status in _TAKEN and (lying := self._look(url, known.checksum.kind, OUT)):
            return self._same(lying, known, url, moving)
        raise self._refused(answer, url)

    def _put_signed(self, reader: BinaryIO, known: Known, url: str, moving: Moving) -> Moved:
        """Put a file by an address that is good for that alone: nothing can be asked before or after."""
        plain = _SIGNS_HEADERS in _query_names(url)
        headers = {} if plain else {"Content-MD5": base64_of(known.sums["md5"])}
        answer = self._send(self._nobody, url, reader, known, moving, headers)
        if answer.status >= 300:
            raise self._refused(answer, url)
        known.check(None, digests(answer.headers), _shown(url))
        return known.moved

    def _put(self, url: str, reader: BinaryIO, known: Known, moving: Moving) -> Answer:
        """Send a file; where its directory may be missing, make that and send it again."""
        headers = {**telling(known.sums), **asking_for(known.checksum.kind)}
        answer = self._send(self._web(url), url, reader, known, moving, headers)
        if answer.status in NO_PARENT and not self._is_ours(url):
            self._dav.make_parents(self._storage, url)
            answer = self._send(self._storage, url, reader, known, moving, headers)
        return answer

    def _send(
        self, web: Web, url: str, reader: BinaryIO, known: Known, moving: Moving, headers: Mapping[str, str]
    ) -> Answer:
        limit_s, body = _budget_s(moving), Leaving(reader, known)
        return web.put(
            url, body, known.size_b, headers=headers, limit_s=limit_s, cancel=moving.cancel, progress=moving.progress
        )

    def _verify(self, answer: Answer, known: Known, url: str, moving: Moving) -> None:
        """Compare what the far end has, as it tells at once, or when it is asked, or as it shows."""
        if known.is_in(None, digests(answer.headers)):
            return
        lying = self._look(url, known.checksum.kind, OUT)
        if lying is None:
            raise PilotError(OUT.failed, f"{_shown(url)}: stored by its own word, but nothing is there")
        known.check(*self._told(lying, known, url, moving), _shown(url))

    def _told(self, lying: Answer, known: Known, url: str, moving: Moving) -> tuple[int | None, Mapping[str, str]]:
        """Size and digests of what lies there, read back if the server knows no digest that could be compared."""
        size_b, told = _size_b(lying), digests(lying.headers)
        if known.is_in(size_b, told) is not None or not self._options.read_back:
            return size_b, told
        back = Dropping(known.sums)
        answer = self._web(url).fetch(url, back, limit_s=_budget_s(moving), cancel=moving.cancel)
        if answer.status != 200:
            raise self._refused(answer, url)
        return back.size_b, back.sums

    def _is_in(self, lying: Answer, known: Known, url: str, moving: Moving) -> bool:
        return bool(known.is_in(*self._told(lying, known, url, moving)))

    def _same(self, lying: Answer, known: Known, url: str, moving: Moving) -> Moved:
        """Accept what is stored already if it is this very file."""
        size_b, told = self._told(lying, known, url, moving)
        if known.is_in(size_b, told):
            return known.moved
        raise PilotError(Code.FILEEXISTS, f"{_shown(url)}: {describe(size_b, told)} are there already, {known} here")

    # --- both -------------------------------------------------------------------------------------------------------

    def _web(self, url: str, signed: bool = False) -> Web:
        if signed or _is_signed(url):
            return self._nobody
        return self._server if self._is_ours(url) else self._storage

    def _is_ours(self, url: str) -> bool:
        """Whether it is the pilot's own server, which never writes over a file."""
        return any(url.startswith(f"{own.rstrip('/')}/") for own in self._own)

    def _look(self, url: str, kind: str, side: Side) -> Answer | None:
        """What lies there, or nothing."""
        answer = self._web(url).call("HEAD", url, headers=asking_for(kind), limit_s=QUESTION_S, repeat=True)
        if answer.status in _ABSENT or answer.status in _NO_QUESTIONS:
            return None
        if answer.status >= 300:
            raise _refusal(side, answer, _shown(url))
        return answer

    def _refused(self, answer: Answer, url: str) -> PilotError:
        """Why the far end took no file; the pilot's own server may know its token again, or had the job taken."""
        error = _refusal(OUT, answer, _shown(url))
        if not self._is_ours(url):
            return error
        if answer.status == 409:
            return PilotError(Code.PANDAKILL, error.detail, superseded=True)
        if answer.status in (401, 403):
            error.facts["passes"] = True
        return error

    @contextmanager
    def _mended(self, url: str) -> Iterator[None]:
        """Have a token of the pilot's own server that cannot be read now be waited for, as one that is refused is."""
        try:
            yield
        except PilotError as failed:
            if failed.facts.get("cause") == "token" and self._is_ours(url):
                failed.facts["passes"] = True
            raise

    @contextmanager
    def _cleaning(self, url: str) -> Iterator[None]:
        """Have nothing stay there if what was begun fails; most servers see to that themselves."""
        try:
            yield
        except (PilotError, Cancelled, OSError) as failed:
            if not isinstance(failed, PilotError) or failed.facts.get("sent", True):
                self._dav.remove(self._web(url), url)
            raise


def _part(kept_b: int, file: FileSpec) -> Mapping[str, str]:
    """The rest of a file, named to its last byte: some servers give nothing where the end is left open."""
    return {"Range": f"bytes={kept_b}-{file.size_b - 1}"} if kept_b and file.size_b else {}


def _check_part(answer: Answer, kept_b: int, file: FileSpec, url: str) -> None:
    """Raise unless the whole file was given, or the part that was asked for."""
    if answer.status not in (200, 206):
        raise _refusal(IN, answer, url)
    if answer.status == 206:
        part = _RANGE.fullmatch(answer.headers.get("content-range", ""))
        if part is None or int(part[1]) != kept_b or part[2] not in ("*", str(file.size_b)):
            told = f"{url}: it gave {answer.headers.get('content-range')}, not what follows {kept_b} of {file.size_b} B"
            raise PilotError(IN.failed, told)


def _refusal(side: Side, answer: Answer, url: str) -> PilotError:
    """The error of an answer that is a refusal, in the server's own words."""
    return side.error(STATUSES.get(answer.status, ""), f"{url}: {answer.status}{_words(answer)}", status=answer.status)


def _words(answer: Answer) -> str:
    """What the server says about its refusal, if it is short and plain."""
    with suppress(ValueError, TypeError, KeyError):
        return f" {json.loads(answer.body)['error']}"
    text = answer.body[:200].decode(errors="replace").strip()
    return f" {text}" if text and text.isprintable() else ""


def _size_b(answer: Answer) -> int | None:
    told = answer.headers.get("content-length", "")
    return int(told) if told.isdecimal() else None


def _url(replica: Replica) -> str:
    scheme, _, rest = replica.url.partition("://")
    return f"{SPELLINGS.get(scheme.lower(), scheme)}://{rest}"


def _query_names(url: str) -> set[str]:
    return {name.lower() for name, _ in parse_qsl(urlsplit(url).query, keep_blank_values=True)}


def _is_signed(url: str) -> bool:
    """Whether an address carries its own permission."""
    return not _SIGNATURES.isdisjoint(_query_names(url))


def _shown(url: str) -> str:
    """An address without what may be a signature."""
    return url.partition("?")[0]


def _budget_s(moving: Moving) -> float:
    return LONGEST_S if moving.budget_s is None else moving.budget_s
