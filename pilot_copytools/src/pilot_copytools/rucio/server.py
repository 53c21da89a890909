"""Speaking with Rucio's server: who we are, what we ask, and what it has against that."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from itertools import islice
from threading import Lock
from typing import Any, Final, TypeVar
from urllib.parse import quote

from attrs import define, evolve, field, frozen

from pilot_copytools._library import broken, read_secret
from pilot_copytools.rucio.settings import RucioOptions
from pilot_copytools.rucio.words import refusal
from pilot_core.sdk import Connection, PilotError
from pilot_core.sdk.web import Answer, Credentials, Web, find_credentials

T = TypeVar("T")

LIMIT_S: Final = 60.0
"""No call takes longer, with all its repetitions."""
MOST: Final = 500
"""So many files are asked for in one call."""
EARLY_S: Final = 300.0
"""A session is begun anew so long before it ends."""
STREAM: Final = "application/x-json-stream"


@cache
def server_of(options: RucioOptions) -> Server:
    """The server of these options, with the session that all in this process share."""
    return Server(options)


def in_parts(items: Iterable[T], size: int = MOST) -> Iterator[list[T]]:
    """The items in lists that one call can hold."""
    rest = iter(items)
    while part := list(islice(rest, size)):
        yield part


@frozen
class _Session:
    token: str
    until: float


@define
class Server:
    """Calls Rucio's server. Safe in any thread."""

    options: RucioOptions
    limit_s: float = LIMIT_S
    _web: Web = field(init=False)
    _found: Credentials = field(init=False)
    _session: _Session | None = field(default=None, init=False)
    _storages: dict[str, Mapping[str, Any]] = field(factory=dict, init=False)
    _beginning: Lock = field(factory=Lock, init=False)

    def __attrs_post_init__(self) -> None:
        told = Connection(proxy=self.options.proxy, ca_file=self.options.ca_file)
        self._found = find_credentials(told)
        self._web = Web([self.options.host], ca_file=told.ca_file, ca_path=self._found.ca_path)

    def call(self, method: str, path: str, **words: Any) -> Answer:
        """Ask; a session that the server does not take any more is begun anew, once."""
        session = self._began()
        answer = self._ask(session, method, path, **words)
        if answer.status == 401:
            self._session = None
            answer = self._ask(self._began(), method, path, **words)
        if answer.status >= 400:
            raise refusal(answer)
        return answer

    def lines(self, path: str, asked: object) -> list[dict[str, Any]]:
        """What the server has to say of each of many things."""
        answer = self.call("POST", path, json=asked, headers={"Accept": STREAM}, repeat=True, reads=True)
        try:
            return [json.loads(line) for line in answer.body.splitlines() if line.strip()]
        except ValueError:
            raise broken(f"{answer.url}: the answer is not what was asked for: {answer.body[:80]!r}", "busy") from None

    def storage(self, name: str) -> Mapping[str, Any]:
        """What the server knows of a storage; asked once."""
        if name not in self._storages:
            known = self.call("GET", f"/rses/{quote(name, safe='')}", repeat=True).json()
            if not isinstance(known, dict):
                raise broken(f"{self.options.host} tells nothing of the storage {name}", "settings")
            self._storages[name] = known
        return self._storages[name]

    def has_storage(self, name: str) -> bool:
        """Whether a storage is one of Rucio's; where the server does not say it may be."""
        try:
            return bool(self.storage(name))
        except PilotError as failed:
            return reason(failed) != "settings"

    # --- who we are ---

    def _ask(self, session: str, method: str, path: str, **words: Any) -> Answer:
        headers = {"X-Rucio-Auth-Token": session, **words.pop("headers", {})}
        return self._web.call(method, path, headers=headers, limit_s=self.limit_s, **words)

    def _began(self) -> str:
        """What the server knows us by from now on: a token of its own, unless ours is one that it takes."""
        if self.options.token is not None:
            return read_secret(self.options.token, "rucio.token").strip()
        with self._beginning:
            if self._session is None or self._session.until - EARLY_S < time.time():
                self._session = self._log_in()
            return self._session.token

    def _log_in(self) -> _Session:
        told, headers = self.options, {"Accept": "*/*", "X-Rucio-Account": self.options.account}
        way, proxy = "x509_proxy", self._found.proxy
        if told.password is not None:
            way, proxy = "userpass", None
            secret = read_secret(told.password, "rucio.password").strip()
            headers |= {"X-Rucio-Username": told.username or told.account, "X-Rucio-Password": secret}
        elif proxy is None:
            raise broken("nothing is here to show to Rucio: set rucio.proxy, rucio.token or rucio.password", "keys")
        web = Web([told.auth_host or told.host], ca_file=told.ca_file, ca_path=self._found.ca_path, proxy=proxy)
        try:
            answer = web.call("GET", f"/auth/{way}", headers=headers, limit_s=self.limit_s, repeat=True)
        finally:
            web.close()
        if answer.status != 200 or "x-rucio-auth-token" not in answer.headers:
            raise refusal(evolve(answer, status=answer.status if answer.status >= 400 else 401))
        return _Session(answer.headers["x-rucio-auth-token"], _ends(answer.headers))


def _ends(headers: Mapping[str, str]) -> float:
    """When a session ends, by the difference of the server's own clocks."""
    from email.utils import parsedate_to_datetime

    try:
        ends, now = (parsedate_to_datetime(headers[name]) for name in ("x-rucio-auth-token-expires", "date"))
    except (KeyError, ValueError):
        return time.time() + 2 * EARLY_S
    return time.time() + ends.timestamp() - now.timestamp()


def reason(failed: PilotError) -> str:
    """The word for why a call came to nothing."""
    return str(failed.facts.get("cause", ""))
