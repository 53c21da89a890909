"""Addresses of servers: what may be called, to whom a token may be shown, and through which proxy."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from fnmatch import fnmatchcase
from typing import Final
from urllib.parse import unquote, urljoin, urlsplit

from attrs import frozen

from pilot_core.errors import Code, PilotError

_PORTS: Final = {"https": 443, "http": 80}
_WRITTEN: Final = re.compile(r"[!-~]+")


@frozen
class Origin:
    """What a credential belongs to, and a connection leads to."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    @property
    def is_here(self) -> bool:
        """Whether it is on this very node, where nobody listens in between."""
        if self.host in ("localhost", "127.0.0.1"):
            return True
        from ipaddress import ip_address

        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def is_open(self) -> bool:
        """Whether others may read what is said there."""
        return self.scheme == "http" and not self.is_here

    def is_like(self, pattern: str) -> bool:
        """Whether ``HOST:PORT``, ``HOST``, ``*.DOMAIN`` or ``*`` means it."""
        return any(fnmatchcase(name, pattern.lower()) for name in (self.host, f"{self.host}:{self.port}"))


@frozen
class Target:
    """Where a request goes."""

    origin: Origin
    path: str

    def __str__(self) -> str:
        return f"{self.origin}{self.path.partition('?')[0]}"

    def below(self, path: str) -> Target:
        """A path of this server."""
        if not _WRITTEN.fullmatch(path) or not path.startswith("/"):
            raise _invalid(path, "a path begins with / and has no spaces")
        return Target(self.origin, self.path.partition("?")[0].rstrip("/") + path)

    def redirected(self, location: str, plain: Collection[str] | None = None) -> Target:
        """Where an answer sends the request instead; never from an encrypted place to one that is not."""
        target = read_url(urljoin(f"{self.origin}{self.path}", location), plain)
        if self.origin.scheme == "https" != target.origin.scheme:
            raise _invalid(str(target), f"{self} sends the request there, where it would not be encrypted")
        return target


def read_url(url: str, plain: Collection[str] | None = None) -> Target:
    """Read an address that may be called, or say why it may not. ``plain`` are hosts that need not encrypt."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise _invalid(url, str(error)) from None
    scheme, host = parts.scheme.lower(), (parts.hostname or "").lower()
    if scheme not in _PORTS or not host or not _WRITTEN.fullmatch(url):
        raise _invalid(url, "write https://HOST:PORT/PATH")
    if parts.username is not None:
        raise _invalid(f"{scheme}://{host}", "it holds a user name; credentials belong into the token file")
    origin = Origin(scheme, host, port or _PORTS[scheme])
    if origin.is_open and not any(map(origin.is_like, plain or ())):
        way_out = "use https" if plain is None else f"use https, or let connection.plain_http name {host}"
        raise _invalid(url, f"plain http is for this node alone (localhost); {way_out}")
    return Target(origin, (parts.path or "/") + (f"?{parts.query}" if parts.query else ""))


def find_proxy(origin: Origin) -> tuple[Origin, Mapping[str, str]] | None:
    """The proxy that the environment names for this place, and the headers that it wants; none for this node."""
    if origin.is_here or not any(name.lower() in ("https_proxy", "all_proxy") for name in os.environ):
        return None
    from urllib.request import getproxies_environment, proxy_bypass

    named = getproxies_environment()
    url = named.get("https") or named.get("all")
    if not url or proxy_bypass(f"{origin.host}:{origin.port}"):
        return None
    return _read_proxy(url)


def _read_proxy(url: str) -> tuple[Origin, Mapping[str, str]]:
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        host, port = parts.hostname, parts.port or 3128
    except ValueError:
        host, port = None, 0
    if not host or parts.scheme != "http":
        raise _invalid("$https_proxy", "write http://HOST:PORT; no other kind of proxy can be used")
    if parts.username is None:
        return Origin("http", host, port), {}
    from base64 import b64encode

    secret = b64encode(f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()).decode()
    return Origin("http", host, port), {"Proxy-Authorization": f"Basic {secret}"}


def _invalid(address: str, why: str) -> PilotError:
    return PilotError(Code.COMMUNICATIONFAILURE, f"{address}: not called: {why}", sent=False, cause="address")
