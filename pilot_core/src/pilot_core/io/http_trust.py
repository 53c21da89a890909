"""Whom to believe, and what to show: made anew when a file that decides it has changed."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pilot_core.errors import Code, PilotError
from pilot_core.io.http_x509 import ProxyFile

if TYPE_CHECKING:
    from pilot_core.io.http_line import Trust


class Trusts:
    """One for the server itself, to which the proxy is shown, and one for all others."""

    def __init__(
        self,
        fingerprint: str = "",
        ca_file: Path | None = None,
        ca_path: Path | None = None,
        proxy: Path | None = None,
        renewed: Path | None = None,
    ) -> None:
        self._fingerprint = fingerprint
        self._ca_file = ca_file
        self._ca_path = ca_path
        self.proxy = ProxyFile(proxy, renewed) if proxy else None
        self._lock = threading.Lock()
        self._made: dict[bool, tuple[object, Trust]] = {}

    def of(self, own: bool) -> Trust:
        """How to speak with the server itself, or with others; ``PilotError`` if a file that it takes is not fit."""
        own = own and bool(self._fingerprint or self.proxy)
        shown = self.proxy.usable(time.time()) if own and self.proxy else None
        made_of = (shown and shown.stamp, _stamp(self._ca_file), _stamp(self._ca_path))
        with self._lock:
            before, trust = self._made.get(own, (None, None))
            if trust is None or before != made_of:
                trust = self._make(own)
                self._made[own] = (made_of, trust)
            return trust

    def _make(self, own: bool) -> Trust:
        from pilot_core.io.http_line import Trust

        trust = Trust(self._fingerprint) if own and self._fingerprint else self._vouched()
        if own and self.proxy is not None:
            try:
                trust.show(self.proxy.place)
            except OSError as error:
                why = f"holds no certificate and its key that belong together ({error.strerror}); put a right one there"
                raise self.proxy.unfit(why) from None
        return trust

    def _vouched(self) -> Trust:
        from pilot_core.io.http_line import Trust

        if self._ca_path is not None and not self._ca_path.is_dir():
            raise _no_authorities(f"connection.ca_path {self._ca_path}: there is no such directory")
        try:
            return Trust(ca_file=self._ca_file, ca_path=self._ca_path)
        except OSError as error:
            told = f"connection.ca_file {self._ca_file}: no certificates can be read from it: {error.strerror}"
            raise _no_authorities(told) from None


def _stamp(path: Path | None) -> tuple[int, ...]:
    try:
        about = os.stat(path) if path else None
    except OSError:
        return ()
    return (about.st_mtime_ns, about.st_size, about.st_ino) if about else ()


def _no_authorities(told: str) -> PilotError:
    return PilotError(Code.COMMUNICATIONFAILURE, told, sent=False, cause="certificate")


def read_fingerprint(text: str) -> str:
    """The digits of a certificate's SHA-256; ``PilotError`` if it is none."""
    digits = text.replace(":", "").strip().lower()
    if digits and (len(digits) != 64 or not set(digits) <= set("0123456789abcdef")):
        told = f"connection.fingerprint: wants the certificate's SHA-256, 64 hexadecimal digits, not {text!r}"
        raise PilotError(Code.COMMUNICATIONFAILURE, told, sent=False, cause="fingerprint")
    return digits
