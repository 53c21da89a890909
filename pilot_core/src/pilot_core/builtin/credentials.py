"""What opens the server is kept open: tokens and proxies renewed by the server itself, and watched while a job runs.

A renewal never makes things worse: a file changes only for something that is well formed and ends later. When nothing
better is to be had, jobs go on until the server refuses, and then it is said which file is over, and since when.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from attrs import frozen

from pilot_core.sdk import Code, Connection, Monitor, PilotError, Queue, Reading, Settings, View, option
from pilot_core.sdk.web import Credentials, find_credentials, replace_proxy, replace_token, span, unfit_proxy

if TYPE_CHECKING:
    from pilot_core.sdk.web import Answer

NAMES: Final = ("user_proxy", "userProxy", "access_token", "token")
"""What servers call a new credential; the first is what they call a token."""
NO_RENEWAL: Final = "no_token_renewal"
SOONEST_S: Final = 60.0
SECRETS: Final = ("secrets", "pilotSecrets", "pandaProxySecretKey")
HARMLESS: Final = frozenset({"username", "user", "registry_path", "url", "host", "port", "type", "name", "path"})
"""What stands beside a secret in a structure of several: masked, it would tear holes into every log."""
NO_SECRETS: Final = frozenset({"", "{}", "[]", "null", "none", "true", "false"})
LONGEST: Final = 300
log = logging.getLogger(__name__)


def secrets_of(raw: Mapping[str, object]) -> Iterator[str]:
    """The secrets that a raw job, or the reply to an update, carries: as they are, and the texts in their JSON."""
    for name in SECRETS:
        yield from (text for text in _texts(raw.get(name)) if text.strip().lower() not in NO_SECRETS)


def _texts(value: object, inner: bool = False) -> Iterator[str]:
    """Every text in a value, also in one that is JSON in a text; in inner structures without what is harmless."""
    if isinstance(value, Mapping):
        for name, each in value.items():
            yield from () if inner and str(name).lower() in HARMLESS else _texts(each, inner=True)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _texts(each, inner=True)
    elif isinstance(value, str):
        yield value
        yield from _texts(_parsed(value), inner)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield str(value)


def _parsed(text: str) -> object:
    try:
        return json.loads(text) if text.lstrip()[:1] in ("{", "[") else None
    except (ValueError, RecursionError):
        return None


# --- renewal --------------------------------------------------------------------------------------------------------


Ask: TypeAlias = "Callable[[str, Mapping[str, object]], Answer]"
"""Asks a server for a ``token``, a ``proxy`` or ``secrets``."""


@frozen(kw_only=True)
class Renewing:
    """How credentials are renewed. A proxy is renewed only with a ``role``, as one without would be a worse one."""

    tokens: bool = True
    every_s: float = 3600.0
    client: str = "pilot_server"
    role: str = ""


class Renewal:
    """Renews what is shown to the server. For any thread; only one at a time asks."""

    def __init__(self, ask: Ask, shown: Credentials, how: Renewing) -> None:
        self._ask = ask
        self._shown = shown
        self._how = how
        self._lock = threading.Lock()
        self._asked_for = ""

    def renew(self, queue: Queue) -> float | None:
        """Renew it now; how long until the next time, or ``None`` where there is nothing to renew.

        A failure is logged and is no reason to end: what is there may last, and the next time may go well.
        """
        if not self._may_renew(queue):
            return None
        with self._lock:
            self._try()
        return self._next_s()

    def present(self) -> str:
        """The token that would be shown now."""
        return _content(self._shown.place) if self._shown.token is not None and self._shown.place else ""

    def retry(self, refused: str) -> bool:
        """Whether a request that was refused with this token may be sent again, because there is another one now.

        For each token that is refused the server is asked for another once, so that one which refuses all is let alone.
        """
        with self._lock:
            if self.present() != refused or self._shown.rejoin(refused):
                return True
            if refused == self._asked_for or self._shown.token_key is None or not self._how.tokens:
                return False
            self._asked_for = refused
            return self._try()

    def explained(self, refused: PilotError) -> PilotError:
        """The same refusal, with what this node knows of it: the file, and how long it has been over; or a move."""
        problem = self._shown.problem(time.time()) if refused.code is Code.NOPROXY else None
        if problem is None:
            return self._shown.elsewhere(refused)
        return PilotError(Code.NOPROXY, f"{problem.detail} (the server: {refused.detail})", **refused.facts)

    def fetch_proxy(self, *, role: str = "", dn: str = "") -> str:
        """A proxy that the server keeps, such as one for the user of a job on a unified queue."""
        named = {name: value for name, value in (("role", role), ("dn", dn)) if value}
        given = _given(self._ask("proxy", named))
        if why := unfit_proxy(given, time.time()):
            raise PilotError(Code.NOPROXY, f"the proxy that the server gave is not used: {why}")
        return given

    def _may_renew(self, queue: Queue) -> bool:
        if self._shown.token is None:
            return self._shown.proxy is not None and bool(self._how.role)
        refuses = NO_RENEWAL in str(queue.params.get("catchall", ""))
        return self._how.tokens and self._shown.token_key is not None and not refuses

    def _try(self) -> bool:
        """Whether there is a better one now."""
        try:
            why = self._renew_token() if self._shown.token is not None else self._renew_proxy()
        except PilotError as error:
            log.warning("%s is not renewed: %s", self._shown, error)
        except OSError as error:
            log.warning("%s is not renewed: its file cannot be written: %s", self._shown, error.strerror)
        else:
            log.info("%s %s", self._shown, f"stays: the server has no better one: {why}" if why else self._renewed())
            return not why
        return False

    def _renewed(self) -> str:
        place = self._shown.place
        own = place in (self._shown.token, self._shown.proxy)
        return "is renewed" if own else f"is renewed; its file is left alone, and {place} counts instead"

    def _renew_token(self) -> str:
        assert self._shown.token is not None
        assert self._shown.token_key is not None
        try:
            key = self._shown.token_key.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            told = f"token key {self._shown.token_key}: cannot be read ({error}); see connection.token_key"
            raise PilotError(Code.NOPROXY, told) from None
        given = _given(self._ask("token", {"client_name": self._how.client, "token_key": key}))
        return replace_token(self._shown.token, given.strip(), time.time(), self._shown.renewed)

    def _renew_proxy(self) -> str:
        assert self._shown.proxy is not None
        given = _given(self._ask("proxy", {"role": self._how.role}))
        return replace_proxy(self._shown.proxy, given, time.time(), self._shown.renewed)

    def _next_s(self) -> float:
        """At the usual pace, and sooner towards the end; with what is over no server lets itself be asked."""
        try:
            ends = self._shown.ends()
        except PilotError:
            ends = None
        left_s = 0.0 if ends is None else ends - time.time()
        return self._how.every_s if left_s <= 0 else min(self._how.every_s, max(left_s / 2, SOONEST_S))


LOGIN: Final = ("MB_USERNAME", "MB_PASSWORD")
"""By which names the server keeps what opens the message broker."""


def login_from(ask: Ask) -> tuple[str, str]:
    """User and password for the message broker, which the server keeps; nothing where it keeps none."""
    answer = ask("secrets", {"keys": LOGIN})
    kept = _kept_secrets(answer.json() if answer.status == 200 else None)
    user, password = (str(kept.get(name) or "") for name in LOGIN)
    return user, password


def _kept_secrets(told: object) -> Mapping[str, object]:
    """The secrets in an answer of any generation, whose texts may be JSON; nothing if there are none in it."""
    inner = told.get("data") if isinstance(told, Mapping) else told[-1] if isinstance(told, list) and told else None
    kept = _parsed(inner) if isinstance(inner, str) else inner
    return kept if isinstance(kept, Mapping) else {}


def _given(answer: Answer) -> str:
    """The credential in an answer of any generation, or ``PilotError`` with what the server says instead."""
    told = answer.json() if answer.status == 200 else None
    outer: Mapping[str, object] = told if isinstance(told, Mapping) else {}
    inner = outer.get("data")
    fields: Mapping[str, object] = inner if isinstance(inner, Mapping) else outer
    given = [value for name in NAMES if isinstance(value := fields.get(name), str) and value]
    if given and outer.get("success", True) is True and fields.get("StatusCode", 0) == 0:
        return given[0]
    said = outer.get("message") or fields.get("errorDialog") or ("" if given else answer.body.decode(errors="replace"))
    text = " ".join(str(said).split())[:LONGEST] or "nothing"
    raise PilotError(Code.COMMUNICATIONFAILURE, f"the server gives none, with status {answer.status}, and says: {text}")


def _content(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


# --- watching -------------------------------------------------------------------------------------------------------


@frozen(kw_only=True)
class CredentialOptions:
    """The monitor "credentials"."""

    section = "credentials"

    warn_s: float = option(4 * 3600.0, help="What opens the server is warned of this long before it ends.", unit="s")
    stop_s: float | None = option(
        None, help="A job is stopped when it has been over for so long; none: jobs go on.", unit="s"
    )


class Watch(Monitor):
    """Warns before what opens the server ends, and when it has, once each; stops a job only where that is wanted."""

    name = "credentials"
    options = CredentialOptions
    interval_s = 60.0

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._told = ""

    def look(self, view: View) -> Reading:
        """Look at the file that would be read now; whoever replaces it is noticed."""
        shown = find_credentials(self.settings.of(Connection))
        try:
            ends = shown.ends()
        except PilotError as error:
            self._warn("unfit", str(error))
            return Reading()
        if ends is None:
            return Reading()
        left_s = ends - time.time()
        measures = {"credential_left_s": left_s}
        return Reading(measures=measures, breach=self._compare(shown, left_s))

    def _compare(self, shown: Credentials, left_s: float) -> PilotError | None:
        options = self.settings.of(CredentialOptions)
        if left_s > options.warn_s:
            self._rest(shown)
        elif left_s > 0:
            self._warn("short", f"{shown} ends in {span(left_s)}; see that a new one gets there")
        else:
            over = shown.expired(-left_s)
            self._warn("over", f"{over}; the job goes on, and its result waits for a new one")
            return over if options.stop_s is not None and -left_s >= options.stop_s else None
        return None

    def _warn(self, what: str, text: str) -> None:
        if self._told != what:
            log.warning("%s", text)
        self._told = what

    def _rest(self, shown: Credentials) -> None:
        if self._told:
            log.info("%s is good again", shown)
        self._told = ""
