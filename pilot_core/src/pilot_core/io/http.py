"""The pilot's one way to speak HTTP: calls with small answers, and files that stream either way.

One limit holds for a whole call: the search for a name, every address, every repetition, the answer to its last
byte. A request is repeated by itself only while it cannot have arrived; what may have arrived goes to the next address
only if the caller says that repeating does no harm. Whatever the status, an answer is an answer; where there is none,
``PilotError.facts["sent"]`` says whether the request may have arrived, and ``facts["cause"]`` names the cause in a
word.

What is needed to connect is imported by the first call. It is the standard library's client, which is quick to load,
cheap to use, and lets a limit reach down to its sockets.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

from attrs import evolve, frozen

from pilot_core import __version__
from pilot_core.errors import Code, PilotError
from pilot_core.io.http_address import Target, find_proxy, read_url
from pilot_core.io.http_body import OursFailed, add_query, dump_json, gzipped, read_answer, read_blocks, stream_answer
from pilot_core.io.http_shown import Card, Cards
from pilot_core.io.http_token import TokenFile
from pilot_core.io.http_trust import Trusts

if TYPE_CHECKING:
    from http.client import HTTPResponse

    from pilot_core.io.cancel import Flag
    from pilot_core.io.http_address import Origin
    from pilot_core.io.http_body import Progress, Sink, Source
    from pilot_core.io.http_line import Limit, Line, Lines

COMPRESSED_FROM_B: Final = 1 << 10
PAUSES_S: Final = (0.2, 1.0)
"""Before the second and the last attempt, with some chance in it."""

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_MOST_REDIRECTS: Final = 5
_PASSING: Final = frozenset({500, 502, 503, 504})
_PASSING_CAUSES: Final = frozenset({"refused", "no route", "timed out", "cut off"})


@frozen
class Answer:
    """What a server said. Names of headers are lower-case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""
    url: str = ""

    def json(self) -> object:
        """The body as a JSON value, or ``PilotError``."""
        from json import loads

        try:
            return loads(self.body)
        except ValueError:
            told = f"{self.url}: the answer ({self.status}) is no JSON: {ascii(self.body[:80])[1:]}"
            raise PilotError(Code.COMMUNICATIONFAILURE, told, sent=True, cause="no JSON") from None


@frozen
class _Request:
    method: str
    headers: Mapping[str, str]
    body: Callable[[], bytes | Iterator[bytes]] = bytes

    @property
    def follows(self) -> frozenset[int]:
        """The redirections that mean this very request."""
        match self.method:
            case "GET" | "HEAD":
                return _REDIRECTS
            case "PUT":
                return frozenset({302, 307, 308})
        return frozenset()


class Web:
    """Calls one server, by any of its addresses, and others without its token or proxy. Safe in any thread.

    ``shown`` are files with a token or a proxy for others, by host.
    """

    def __init__(
        self,
        urls: Sequence[str],
        *,
        token: Path | None = None,
        origin: str = "",
        fingerprint: str = "",
        ca_file: Path | None = None,
        ca_path: Path | None = None,
        proxy: Path | None = None,
        shown: Mapping[str, Path] | None = None,
        ipv4_only: bool = False,
        connect_s: float = 10.0,
        agent: str = f"pilot/{__version__}",
    ) -> None:
        self._servers = [read_url(url) for url in urls]
        self._own = frozenset(server.origin for server in self._servers)
        self._first = 0
        self._headers = {"User-Agent": agent, "Accept": "*/*"}
        self._origin = origin
        trusts = Trusts(_read_fingerprint(fingerprint), ca_file, ca_path, proxy)
        self._ours = Card(TokenFile(token) if token else None, trusts, own=True)
        self._nobodys = Card(None, trusts, own=False)
        self._cards = Cards(shown or {}, ca_file, ca_path)
        self._ipv4_only = ipv4_only
        self._connect_s = connect_s
        self._closed = threading.Event()
        self._opening = threading.Lock()
        self._lines: Lines | None = None
        self._holders = 1

    def call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, object] | None = None,
        json: object = None,
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        limit_s: float = 60.0,
        repeat: bool = False,
        compress: bool = False,
    ) -> Answer:
        """Ask for something small. ``repeat`` says that another address may be asked for what may have arrived.

        What only reads is then asked for again a few times, too, after a failure that passes.
        ``compress`` says that the server understands a gzipped body.
        """
        body = data or b""
        named = {"Accept": "application/json"}
        if json is not None:
            body, named["Content-Type"] = dump_json(json), "application/json"
        if compress and len(body) > COMPRESSED_FROM_B:
            body, named["Content-Encoding"] = gzipped(body), "gzip"
        request = _Request(method, {**named, **(headers or {})}, lambda: body)
        return self._repeated(add_query(path, query), request, _limit(limit_s), repeat)

    def fetch(
        self,
        path_or_url: str,
        file: Sink,
        *,
        limit_s: float,
        cancel: Flag,
        progress: Progress | None = None,
        start_b: int = 0,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Write what is there, from byte ``start_b`` on, into ``file``, if the status is 200 or 206.

        ``progress`` is told the bytes that are there then, once a block. ``Cancelled`` if it was.
        """
        named = {**({"Range": f"bytes={start_b}-"} if start_b else {}), **(headers or {})}
        limit = _limit(limit_s, cancel)

        def take(response: HTTPResponse) -> bytes:
            if response.status not in (200, 206):
                return read_answer(response)
            stream_answer(response, file, start_b, limit, progress)
            return b""

        return self._anywhere(path_or_url, _Request("GET", named), limit, repeat=False, take=take)

    def put(
        self,
        path_or_url: str,
        file: Source,
        length: int,
        *,
        headers: Mapping[str, str],
        limit_s: float,
        cancel: Flag,
        progress: Progress | None = None,
    ) -> Answer:
        """Send ``length`` bytes of ``file``, from where it stands. ``Cancelled`` if it was."""
        start_b = file.tell()

        def blocks() -> Iterator[bytes]:
            file.seek(start_b)
            return read_blocks(file, length, limit, progress)

        limit = _limit(limit_s, cancel)
        request = _Request("PUT", {"Content-Length": str(length), **headers}, blocks)
        return self._anywhere(path_or_url, request, limit, repeat=False)

    def hold(self) -> bool:
        """Let one more have it, who closes it too; false if it is closed already."""
        with self._opening:
            self._holders += 1
            return not self._closed.is_set()

    def close(self) -> None:
        """Close every connection that waits, if nobody else has it; what is under way closes its own when it ends."""
        with self._opening:
            self._holders -= 1
            if self._holders > 0:
                return
            self._closed.set()
        if self._lines is not None:
            self._lines.close()

    def _repeated(self, path: str, request: _Request, limit: Limit, repeat: bool) -> Answer:
        """Ask again what cannot have arrived, and what only reads. When all else is said again, its owner knows."""
        reads = repeat and request.method == "GET"
        for pause_s in PAUSES_S:
            try:
                answer = self._anywhere(path, request, limit, repeat)
            except PilotError as failed:
                arrived, cause = failed.facts.get("sent"), failed.facts.get("cause")
                if (arrived and not reads) or cause not in _PASSING_CAUSES or not self._rested(pause_s, limit):
                    raise
            else:
                if not reads or answer.status not in _PASSING or not self._rested(pause_s, limit):
                    return answer
        return self._anywhere(path, request, limit, repeat)

    def _rested(self, pause_s: float, limit: Limit) -> bool:
        """Wait before another attempt; false if there is no time for one, or no more use."""
        from random import random

        pause_s *= 0.5 + random()
        return limit.allows(pause_s) and not self._closed.wait(pause_s)

    def _anywhere(
        self,
        path_or_url: str,
        request: _Request,
        limit: Limit,
        repeat: bool,
        take: Callable[[HTTPResponse], bytes] | None = None,
    ) -> Answer:
        """Ask the server by its addresses in turn, the last that answered first."""
        failures: list[PilotError] = []
        for number, target in self._targets(path_or_url):
            try:
                answer = self._follow(target, request, limit, take or read_answer)
            except PilotError as failed:
                failures.append(failed)
                if not limit.allows(0.0) or (failed.facts.get("sent") and not repeat):
                    break
            else:
                self._first = number
                return answer
        raise _all_of(failures)

    def _targets(self, path_or_url: str) -> list[tuple[int, Target]]:
        if "://" in path_or_url:
            target = read_url(path_or_url)
            if target.origin not in self._own:
                return [(self._first, target)]
            return [(number, evolve(target, origin=self._servers[number].origin)) for number in self._order()]
        if not self._servers:
            told = f"{path_or_url}: not called: no server is known; name it with --url (connection.url)"
            raise PilotError(Code.COMMUNICATIONFAILURE, told, sent=False, cause="address")
        return [(number, self._servers[number].below(path_or_url)) for number in self._order()]

    def _order(self) -> Iterator[int]:
        """The server's addresses, the one that worked last first."""
        count = len(self._servers)
        return ((self._first + step) % count for step in range(count))

    def _follow(self, target: Target, request: _Request, limit: Limit, take: Callable[[HTTPResponse], bytes]) -> Answer:
        for _ in range(_MOST_REDIRECTS):
            answer = self._ask(target, request, limit, take)
            location = answer.headers.get("location")
            if answer.status not in request.follows or not location:
                return answer
            target = target.redirected(location)
        told = f"{target}: sent on from place to place more than {_MOST_REDIRECTS} times"
        raise PilotError(Code.COMMUNICATIONFAILURE, told, sent=True, cause="redirects")

    def _ask(self, target: Target, request: _Request, limit: Limit, take: Callable[[HTTPResponse], bytes]) -> Answer:
        """One request over one line, which is kept if nothing is left on it."""
        from http.client import HTTPException

        from pilot_core.io.http_line import WrongFingerprint

        headers = self._headers | dict(request.headers) | self._credentials(target.origin)
        sent = False
        with ExitStack() as unless_done:
            try:
                line = self._line(target.origin)
                unless_done.callback(line.close)
                line.within(limit)
                if line.sock is None:
                    line.connect()
                sent = True
                with line.ask(request.method, target.path, request.body(), headers) as response:
                    body = take(response)
                    told = {name.lower(): value for name, value in response.getheaders()}
                    if response.isclosed():
                        unless_done.pop_all()
            except OursFailed as ours:
                raise ours.error from None
            except (OSError, HTTPException, WrongFingerprint) as error:
                raise self._failure(error, target, sent, limit) from error
        if line.sock is not None:
            self._waiting().keep(line)
        return Answer(response.status, told, body, str(target))

    def _credentials(self, origin: Origin) -> dict[str, str]:
        card = self._card(origin)
        if card.token is None:
            return {}
        named = {"Origin": self._origin} if self._origin and card is self._ours else {}
        return {"Authorization": f"Bearer {card.token.read()}", **named}

    def _card(self, origin: Origin) -> Card:
        return self._ours if origin in self._own else self._cards.of(origin) or self._nobodys

    def _waiting(self) -> Lines:
        from pilot_core.io.http_line import Dialer, Lines

        with self._opening:
            if self._lines is None:
                self._lines = Lines(Dialer(self._connect_s, self._ipv4_only))
                weakref.finalize(self, self._lines.close)
            return self._lines

    def _line(self, origin: Origin) -> Line:
        from pilot_core.io.http_line import Line

        lines = self._waiting()
        card = self._card(origin)
        trust = card.trusts.of(card.own) if origin.scheme == "https" else None
        return lines.take(origin, trust) or Line(origin, lines.dialer, trust, find_proxy(origin))

    def _failure(self, error: Exception, target: Target, sent: bool, limit: Limit) -> PilotError:
        from pilot_core.io.http_words import failure, is_about_dates, is_about_us

        if is_about_us(error):
            return self._refused(error, target, sent)
        told = failure(error, str(target.origin), sent=sent)
        if is_about_dates(error) and (off := self._clock(target.origin, limit)):
            return PilotError(told.code, f"{target.origin}: its certificate seems out of date, but {off}", **told.facts)
        return told

    def _refused(self, error: Exception, target: Target, sent: bool) -> PilotError:
        """The server wants to see a certificate, or another one than it saw."""
        from pilot_core.io.http_words import refused

        card = self._card(target.origin)
        shown = card.trusts.proxy if card.own else None
        limited = shown is not None and shown.read().limited
        told = refused(error, shown.path if shown else None, limited=limited)
        facts = {"sent": sent, "cause": "proxy", "address": str(target.origin)}
        return PilotError(Code.NOPROXY, f"{target.origin}: {told}", **facts)

    def _clock(self, origin: Origin, limit: Limit) -> str:
        """Ask a server that is not believed, and so is told nothing, what time it has."""
        from pilot_core.io.http_line import Line, Trust
        from pilot_core.io.http_words import compare_clocks

        line = Line(origin, self._waiting().dialer, Trust(anybody=True), find_proxy(origin))
        line.within(limit)
        return compare_clocks(line)


def _limit(limit_s: float, cancel: Flag | None = None) -> Limit:
    from pilot_core.io.http_line import Limit

    return Limit(limit_s, cancel)


def _read_fingerprint(text: str) -> str:
    digits = text.replace(":", "").strip().lower()
    if digits and (len(digits) != 64 or not set(digits) <= set("0123456789abcdef")):
        told = f"connection.fingerprint: wants the certificate's SHA-256, 64 hexadecimal digits, not {text!r}"
        raise PilotError(Code.COMMUNICATIONFAILURE, told, sent=False, cause="fingerprint")
    return digits


def _all_of(failures: Sequence[PilotError]) -> PilotError:
    """What to say after several addresses failed."""
    last = failures[-1]
    told = "; ".join(dict.fromkeys(failed.detail for failed in failures))
    sent = any(failed.facts.get("sent") for failed in failures)
    return PilotError(last.code, told, **{**last.facts, "sent": sent})
