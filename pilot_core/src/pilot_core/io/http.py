"""The pilot's one way to speak HTTP: calls with small answers, and files that stream either way.

One limit holds for a whole call: the search for a name, every address, every repetition, the answer to its last
byte. A request is repeated by itself only while it cannot have arrived; what may have arrived, or was answered by a
server that fails, goes to the next address only if the caller says that repeating does no harm. Whatever the status,
an answer is an answer; where there is none, ``PilotError.facts["sent"]`` says whether the request may have arrived, and
``facts["cause"]`` names the cause in a word.

What is needed to connect is imported by the first call. It is the standard library's client, which is quick to load,
cheap to use, and lets a limit reach down to its sockets.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

from attrs import evolve, frozen

from pilot_core import __version__
from pilot_core.errors import Code, PilotError
from pilot_core.io.http_address import Target, find_proxy, read_url
from pilot_core.io.http_body import OursFailed, add_query, dump_json, gzipped, read_answer, read_blocks, stream_answer
from pilot_core.io.http_shown import Card, Cards
from pilot_core.io.http_token import TokenFile
from pilot_core.io.http_trust import Trusts, read_fingerprint

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
    allowed: Callable[[str], bool] = lambda _: True

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

    ``shown`` are files with a token or a proxy for others, by host; ``renewed`` holds what stands in for any. ``plain``
    are hosts that may be called by plain http as well, and are shown nothing then; by default only this node may.
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
        renewed: Path | None = None,
        shown: Mapping[str, Path] | None = None,
        plain: Collection[str] | None = None,
        ipv4_only: bool = False,
        connect_s: float = 10.0,
        agent: str = f"pilot/{__version__}",
    ) -> None:
        self._servers = [read_url(url) for url in urls]
        self._own = frozenset(server.origin for server in self._servers)
        self._plain = plain
        self._first = 0
        self._headers = {"User-Agent": agent, "Accept": "*/*"}
        trusts = Trusts(read_fingerprint(fingerprint), ca_file, ca_path, proxy, renewed)
        ours = Card(TokenFile(token, renewed=renewed) if token else None, trusts, own=True, of=origin)
        self._cards = Cards(self._own, ours, shown or {}, ca_file, ca_path, renewed)
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
        reads: bool = False,
        compress: bool = False,
    ) -> Answer:
        """Ask for something small. ``repeat`` says that another address may be asked for what may have arrived.

        What only reads, as a GET or where ``reads`` says so, is then asked for again a few times, too, after a failure
        that passes. ``compress`` says that the server understands a gzipped body.
        """
        body = data or b""
        named = {"Accept": "application/json"}
        if json is not None:
            body, named["Content-Type"] = dump_json(json), "application/json"
        if compress and len(body) > COMPRESSED_FROM_B:
            body, named["Content-Encoding"] = gzipped(body), "gzip"
        request = _Request(method, {**named, **(headers or {})}, lambda: body)
        return self._repeated(add_query(path, query), request, _limit(limit_s), repeat, reads)

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
        allowed: Callable[[str], bool] = lambda _: True,
    ) -> Answer:
        """Write what is there, from byte ``start_b`` on, into ``file``, if the status is 200 or 206.

        ``progress`` is told the bytes that are there then, once a block. ``Cancelled`` if it was. A redirection is
        followed only to an ``allowed`` place.
        """
        named = {**({"Range": f"bytes={start_b}-"} if start_b else {}), **(headers or {})}
        limit = _limit(limit_s, cancel)

        def take(response: HTTPResponse) -> bytes:
            if response.status not in (200, 206):
                return read_answer(response)
            stream_answer(response, file, start_b, limit, progress)
            return b""

        return self._anywhere(path_or_url, _Request("GET", named, allowed=allowed), limit, repeat=False, take=take)

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

    def _repeated(self, path: str, request: _Request, limit: Limit, repeat: bool, reads: bool) -> Answer:
        """Ask again what cannot have arrived, and what only reads. When all else is said again, its owner knows."""
        reads = repeat and (reads or request.method == "GET")
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
        """Ask the server by its addresses in turn, the last that answered well first."""
        failures: list[PilotError] = []
        answer: Answer | None = None
        since = time.monotonic()
        for target in self._targets(path_or_url):
            for attempts in count(1):
                try:
                    answer = self._follow(target, request, limit, take or read_answer)
                    if answer.status not in _PASSING:
                        return answer
                    goes_on = repeat
                except PilotError as failed:
                    failures.append(failed)
                    goes_on = repeat or not failed.facts.get("sent")
                self._pass_over(target.origin)
                if not goes_on or not limit.allows(0.0):
                    return answer or _raise_all(failures)
                if not self._waiting().dialer.has_untried((target.origin.host, target.origin.port), since, attempts):
                    break
        return answer or _raise_all(failures)

    def _pass_over(self, failed: Origin) -> None:
        """Let the next call begin with another server than this."""
        if self._servers and self._servers[self._first].origin == failed:
            self._first = (self._first + 1) % len(self._servers)

    def _targets(self, path_or_url: str) -> list[Target]:
        servers = self._servers[self._first :] + self._servers[: self._first]
        if "://" in path_or_url:
            target = read_url(path_or_url, self._plain)
            if target.origin not in self._own:
                return [target]
            return [evolve(target, origin=server.origin) for server in servers]
        if not servers:
            told = f"{path_or_url}: not called: no server is known; name it with --url (connection.url)"
            raise PilotError(Code.COMMUNICATIONFAILURE, told, sent=False, cause="address")
        return [server.below(path_or_url) for server in servers]

    def _follow(self, target: Target, request: _Request, limit: Limit, take: Callable[[HTTPResponse], bytes]) -> Answer:
        for _ in range(_MOST_REDIRECTS):
            answer = self._ask(target, request, limit, take)
            location = answer.headers.get("location")
            if answer.status not in request.follows or not location:
                return answer
            target = target.redirected(location, self._plain)
            if not request.allowed(str(target)):
                told = f"the request is sent on to {target}, which is not among the places allowed for it"
                raise PilotError(Code.COMMUNICATIONFAILURE, told, sent=True, cause="redirects")
        told = f"{target}: sent on from place to place more than {_MOST_REDIRECTS} times"
        raise PilotError(Code.COMMUNICATIONFAILURE, told, sent=True, cause="redirects")

    def _ask(self, target: Target, request: _Request, limit: Limit, take: Callable[[HTTPResponse], bytes]) -> Answer:
        """One request over one line, which others get if nothing is left on it."""
        from http.client import HTTPException

        from pilot_core.io.http_line import WrongFingerprint

        headers = self._headers | dict(request.headers) | self._cards.of(target.origin).headers()
        sent, line = False, None
        with ExitStack() as always, ExitStack() as unless_done:
            try:
                line = self._line(target.origin, limit)
                always.callback(self._waiting().put_back, line)
                unless_done.callback(line.close)
                line.within(limit)
                if line.sock is None:
                    line.connect()
                sent = True
                with line.ask(request.method, target.path, request.body(), headers) as response:
                    body = take(response)
                    line.judge(well=response.status not in _PASSING)
                    told = {name.lower(): value for name, value in response.getheaders()}
                    if response.isclosed():
                        unless_done.pop_all()
            except OursFailed as ours:
                raise ours.error from None
            except (OSError, HTTPException, WrongFingerprint) as error:
                if line is not None:
                    line.judge(well=False)
                raise self._failure(error, target, sent, limit) from error
        return Answer(response.status, told, body, str(target))

    def _waiting(self) -> Lines:
        from pilot_core.io.http_line import Dialer, Lines

        with self._opening:
            if self._lines is None:
                self._lines = Lines(Dialer(self._connect_s, self._ipv4_only))
                weakref.finalize(self, self._lines.close)
            return self._lines

    def _line(self, origin: Origin, limit: Limit) -> Line:
        card = self._cards.of(origin)
        trust = card.trusts.of(card.own) if origin.scheme == "https" else None
        return self._waiting().take(origin, trust, limit)

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

        card = self._cards.of(target.origin)
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


def _raise_all(failures: Sequence[PilotError]) -> NoReturn:
    """Say that several addresses failed, and how."""
    last = failures[-1]
    told = "; ".join(dict.fromkeys(failed.detail for failed in failures))
    sent = any(failed.facts.get("sent") for failed in failures)
    raise PilotError(last.code, told, **{**last.facts, "sent": sent})
