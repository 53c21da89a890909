"""Credentials: which token or proxy is shown to the server, until when it is good, and how a better one replaces it.

Options come first. What they leave open is looked for where the older pilot looked: in the environment, and in the
place where proxies of this user lie. A token is shown rather than a proxy, and never both. Without an origin, a token
counts only where an option names it, and none a proxy: no server that the older pilot knew takes it so.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from attrs import field, frozen

from pilot_core.config.schema import Connection
from pilot_core.errors import Code, PilotError
from pilot_core.io.files import write_atomic
from pilot_core.io.http_token import TokenFile, expiry, span
from pilot_core.io.http_x509 import ProxyFile, read_proxy
from pilot_core.io.standin import in_use, replace

if TYPE_CHECKING:
    from pilot_core.io.join import Join
    from pilot_core.spec.work import Settings

TOKENS: Final = ("OIDC_AUTH_TOKEN", "PANDA_AUTH_TOKEN")
ORIGINS: Final = ("OIDC_AUTH_ORIGIN", "PANDA_AUTH_ORIGIN")
FOLDERS: Final = ("OIDC_AUTH_DIR", "PANDA_AUTH_DIR")
OTHER_FOLDERS: Final = ("PILOT_SOURCE_DIR", "PILOT_WORK_DIR", "HOME")
KEYS: Final = "PANDA_AUTH_TOKEN_KEY"
REFRESHED: Final = "OIDC_REFRESHED_AUTH_TOKEN"
PROXY: Final = "X509_USER_PROXY"
AUTHORITIES: Final = "X509_CERT_DIR"
USUAL_AUTHORITIES: Final = Path("/etc/grid-security/certificates")
log = logging.getLogger(__name__)


@frozen(kw_only=True)
class Credentials:
    """What there is to show: a token or a proxy or neither, and what goes with it."""

    token: Path | None = None
    token_key: Path | None = None
    origin: str = ""
    proxy: Path | None = None
    ca_path: Path | None = None
    renewed: Path | None = None
    """Where what stands in for the token or the proxy is kept."""
    told: Connection = field(factory=Connection)
    unused: str = ""
    """Why the token that the environment names is not used, if it is not."""

    def __str__(self) -> str:
        if self.token is None:
            return f"proxy {self.proxy}" if self.proxy else "no credential"
        return f"token {self.token}"

    @property
    def place(self) -> Path | None:
        """The file that counts now, of the token or else of the proxy."""
        path = self.token or self.proxy
        return in_use(path, self.renewed) if path else None

    def ends(self) -> float | None:
        """When it ends; ``None`` if it does not say. ``PilotError`` if it cannot be read."""
        if self.token is not None:
            return expiry(TokenFile(self.token, renewed=self.renewed).read())
        return ProxyFile(self.proxy, self.renewed).read().ends if self.proxy is not None else None

    def problem(self, now: float) -> PilotError | None:
        """What keeps it from being used now; who it is for may object to more."""
        if self.token is None and self.proxy is None:
            return PilotError(Code.NOPROXY, self.unused) if self.unused else None
        try:
            ends = self.ends()
            if self.proxy is not None and ProxyFile(self.proxy, self.renewed).usable(now).limited:
                return PilotError(Code.NOPROXY, f"{self} is a limited one, which no server takes; use a full proxy")
        except PilotError as error:
            return PilotError(Code.NOPROXY, error.detail)
        return self.expired(now - ends) if ends is not None and ends <= now else None

    def joined(self) -> Join | None:
        """What the file with the join string says now, if the pilot was told of one and it can be read."""
        if self.told.join is None:
            return None
        from pilot_core.io.join import BadJoin, find_join

        try:
            return find_join(str(self.told.join), {})
        except BadJoin as bad:
            log.warning("%s", bad)
            return None

    def rejoin(self, refused: str) -> bool:
        """Whether that file has another token than the refused one, for the same server: then it is the token now."""
        now = self.joined()
        if now is None or self.token is None or now.token == refused or self._moved(now):
            return False
        write_atomic(self.token, now.token)
        log.info("the server refused the token; the one that is in %s by now is used instead", self.told.join)
        return True

    def elsewhere(self, failed: PilotError) -> PilotError:
        """The same failure; if by now the join string names another server, that is said, with the way out."""
        now = self.joined()
        if now is None or not self._moved(now):
            return failed
        told = (
            f"{failed.detail}; but {self.told.join} now names the server {now.url}, of which this pilot was not told; "
            f"what it cannot tell is kept, and when it has ended `pilot recover --join {self.told.join}` tells it there"
        )
        return PilotError(failed.code, told, **failed.facts)

    def _moved(self, now: Join) -> bool:
        return now.url not in self.told.url or now.fingerprint != self.told.fingerprint

    def expired(self, since_s: float) -> PilotError:
        """The error to end with when nothing has replaced it in time."""
        option = "connection.token (--token-file)" if self.token is not None else "connection.proxy"
        told = f"{self} has expired, {span(since_s)} ago; put a new one there, or name another with {option}"
        return PilotError(Code.NOPROXY, told)


def find_credentials(
    told: Connection, environ: Mapping[str, str] | None = None, usual_proxy: Path | None = None
) -> Credentials:
    """What to show to the server of these options."""
    environ = os.environ if environ is None else environ
    origin = told.origin or _first(environ, ORIGINS)
    token, unused = _token(told, environ, origin)
    return Credentials(
        token=token,
        token_key=told.token_key or _search(environ.get(KEYS, ""), environ),
        origin=origin,
        proxy=None if token else _proxy(told, environ, usual_proxy or _usual_proxy()),
        ca_path=_authorities(told, environ),
        renewed=told.renewed_dir,
        told=told,
        unused=unused,
    )


def credential_problems(settings: Settings) -> tuple[PilotError, ...]:
    """What is wrong with what would be shown to the server, if these settings name one."""
    told = settings.of(Connection)
    if not any(url.lower().startswith("https:") for url in told.url):
        return ()
    problem = find_credentials(told).problem(time.time())
    return (problem,) if problem else ()


def replace_token(path: Path, token: str, now: float, renewed: Path | None = None) -> str:
    """Put a better token into the file, or into ``renewed`` where that must stay; else say what is wrong with it."""
    ends = expiry(token)
    if ends is None:
        return "it is malformed"
    if why := _no_better(ends, now, _end_of_token(path, renewed)):
        return why
    replace(path, token, renewed)
    return ""


def replace_proxy(path: Path, pem: str, now: float, renewed: Path | None = None) -> str:
    """Put a better proxy into the file, or into ``renewed`` where that must stay; else say what is wrong with it."""
    try:
        ends = read_proxy(pem.encode()).ends
    except ValueError as error:
        return f"it {error}"
    if why := _no_better(ends, now, _end_of_proxy(path, renewed)):
        return why
    replace(path, pem, renewed)
    return ""


def unfit_proxy(pem: str, now: float) -> str:
    """What is wrong with a proxy, if anything is."""
    try:
        ends = read_proxy(pem.encode()).ends
    except ValueError as error:
        return f"it {error}"
    return f"it has expired, {span(now - ends)} ago" if ends <= now else ""


def _no_better(ends: float, now: float, present: float | None) -> str:
    if ends <= now:
        return f"it has expired, {span(now - ends)} ago"
    if present is not None and ends <= present:
        return "it ends no later than the present one"
    return ""


def _end_of_token(path: Path, renewed: Path | None) -> float | None:
    try:
        return expiry(TokenFile(path, renewed=renewed).read())
    except PilotError:
        return None


def _end_of_proxy(path: Path, renewed: Path | None) -> float | None:
    try:
        return ProxyFile(path, renewed).read().ends
    except PilotError:
        return None


# --- where they lie -------------------------------------------------------------------------------------------------


def _token(told: Connection, environ: Mapping[str, str], origin: str) -> tuple[Path | None, str]:
    """The file of the token, or why there is none although one is named."""
    if told.token is not None and (origin or told.proxy is None):
        return told.token, ""
    refreshed = Path(environ.get(REFRESHED, ""))
    name = next((name for name in TOKENS if environ.get(name)), "")
    found = refreshed if refreshed.is_file() else _search(environ.get(name, ""), environ)
    if found is None:
        return None, f"${name}: {_not_found(environ[name], environ)}" if name else ""
    if not origin:
        missing = f"set connection.origin or ${ORIGINS[0]}"
        return None, f"the token {found}, which the environment names, is not used without an origin: {missing}"
    return found, ""


def _proxy(told: Connection, environ: Mapping[str, str], usual: Path) -> Path | None:
    named = told.proxy
    if named is None and environ.get(PROXY):
        named = Path(environ[PROXY])
    return named or (usual if usual.is_file() and usual.stat().st_uid == os.getuid() else None)


def _usual_proxy() -> Path:
    """Where every tool that makes a proxy puts it."""
    return Path("/tmp", f"x509up_u{os.getuid()}")  # noqa: S108


def _authorities(told: Connection, environ: Mapping[str, str]) -> Path | None:
    """A directory of authorities; what nobody named with an option counts only if it is there."""
    if told.ca_path is not None or told.ca_file is not None:
        return told.ca_path
    found = Path(environ[AUTHORITIES]) if environ.get(AUTHORITIES) else USUAL_AUTHORITIES
    return found if found.is_dir() else None


def _search(name: str, environ: Mapping[str, str]) -> Path | None:
    """The file that the older pilot's environment means by a name, which may be a path."""
    if not name:
        return None
    if os.path.isabs(name):
        return Path(name) if Path(name).is_file() else None
    return next((path for path in (folder / name for folder in _folders(environ)) if path.is_file()), None)


def _folders(environ: Mapping[str, str]) -> Iterator[Path]:
    if folder := _first(environ, FOLDERS):
        yield Path(folder)
    elif environ.get(PROXY):
        yield Path(environ[PROXY]).parent
    yield from (Path(environ[name]) for name in OTHER_FOLDERS if environ.get(name))


def _not_found(name: str, environ: Mapping[str, str]) -> str:
    folders = "" if os.path.isabs(name) else ", ".join(dict.fromkeys(map(str, _folders(environ))))
    return f"there is no file {name}{folders and f' in {folders}'}; name the right one with connection.token"


def _first(environ: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((environ[name] for name in names if environ.get(name)), "")
