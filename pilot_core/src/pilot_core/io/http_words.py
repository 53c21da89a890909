"""What went wrong with a call, in words that name the address, the cause and the way out."""

from __future__ import annotations

import errno
import re
import socket
import ssl
import time
from datetime import timedelta
from email.utils import parsedate_to_datetime
from http.client import HTTPException, IncompleteRead, RemoteDisconnected
from pathlib import Path
from typing import Final

from pilot_core.errors import Code, PilotError
from pilot_core.io.cancel import Cancelled
from pilot_core.io.http_line import Line, Unreached, WrongFingerprint

CLOCKS_DIFFER_S: Final = 300.0
_ALERT: Final = re.compile(r"\w*ALERT_(?:\w*CERTIFICATE\w*|UNKNOWN_CA|ACCESS_DENIED)")
"""OpenSSL's names for what servers say of the certificates of others."""

_REASONS: Final = {
    errno.ECONNREFUSED: ("refused", "nobody listens there"),
    errno.ENETUNREACH: ("no route", "this node has no way to that network"),
    errno.EHOSTUNREACH: ("no route", "this node has no way to that host"),
    errno.ENETDOWN: ("no route", "this node's network is down"),
    errno.EADDRNOTAVAIL: ("no route", "this node has no address of that kind"),
    errno.ECONNRESET: ("cut off", "the connection was cut off"),
    errno.ECONNABORTED: ("cut off", "the connection was cut off"),
    errno.EPIPE: ("cut off", "the connection was cut off"),
    errno.ETIMEDOUT: ("timed out", "there was no answer in time"),
}
_WAYS_OUT: Final = {
    "refused": "see that the server runs and that host and port are right",
    "no route": "see that the network of this node is up; $https_proxy names a proxy where one is needed",
    "name unknown": "see that the name is spelt right and that this node's resolver works",
    "timed out": "see that the server is well and that no firewall is in between",
    "cut off": "the server's log may say why; try again",
    "no HTTP": "see that host and port are those of the server",
}
_UNTRUSTED: Final = "name its authority (connection.ca_file) or its fingerprint (connection.fingerprint)"
_DATES: Final = frozenset({9, 10})
"""OpenSSL's numbers for a certificate that is not valid yet, or no longer."""


def failure(error: Exception, address: str, *, sent: bool) -> PilotError:
    """The error to raise for a call without an answer; ``facts`` tell whether the request may have arrived."""
    cause, told = _told(error)
    way_out = _WAYS_OUT.get(cause, "")
    text = f"{address}: {told}" + (f"; {way_out}" if way_out else "")
    return PilotError(Code.COMMUNICATIONFAILURE, text, sent=sent, cause=cause, address=address)


def is_about_dates(error: Exception) -> bool:
    """Whether this may be because this node's clock is wrong."""
    return isinstance(error, ssl.SSLCertVerificationError) and error.verify_code in _DATES


def is_about_us(error: Exception) -> bool:
    """Whether the other side did not take the certificate that it was shown, or was shown none."""
    return isinstance(error, ssl.SSLError) and bool(_ALERT.fullmatch(error.reason or ""))


def refused(error: Exception, proxy: Path | None, *, limited: bool) -> str:
    """What to say then."""
    why = str(getattr(error, "reason", "")).partition("ALERT_")[2].replace("_", " ").lower()
    if proxy is None:
        return f"the server wants to see a certificate ({why}); name a proxy with connection.proxy"
    if limited:
        return f"the server does not take the proxy {proxy} ({why}): it is a limited one; use a full proxy"
    return f"the server does not take the proxy {proxy} ({why}); see who issued it, or ask the server's operators"


def compare_clocks(line: Line) -> str:
    """Say so if the server's clock and this node's differ; it is asked for nothing else."""
    try:
        response = line.ask("HEAD", "/", None, {})
        theirs = parsedate_to_datetime(response.headers.get("Date") or "").timestamp()
    except (OSError, HTTPException, ValueError, Cancelled):
        return ""
    finally:
        line.close()
    off_s = time.time() - theirs
    if abs(off_s) < CLOCKS_DIFFER_S:
        return ""
    way = "ahead of" if off_s > 0 else "behind"
    return f"this node's clock is {timedelta(minutes=round(abs(off_s) / 60))} {way} the server's: set it right first"


def _told(error: Exception) -> tuple[str, str]:
    match error:
        case Unreached():
            told = [(address, *_told(reason)) for address, reason in error.reasons]
            return told[-1][1], ", ".join(f"{text} ({address})" for address, _, text in told)
        case WrongFingerprint():
            return "fingerprint", _fingerprint(error)
        case ssl.SSLCertVerificationError():
            return "certificate", _certificate(error)
        case ssl.SSLEOFError() | ssl.SSLZeroReturnError() | RemoteDisconnected() | IncompleteRead():
            return "cut off", "the connection was cut off before the answer was complete"
        case ssl.SSLError():
            return "tls", f"no encrypted connection ({error.reason or error}); see that this is an https port"
        case socket.gaierror():
            return "name unknown", f"its name has no address ({error.strerror})"
        case TimeoutError():
            return "timed out", "there was no answer in time" if error.errno else str(error)
        case OSError():
            return _REASONS.get(error.errno or 0, ("other", error.strerror or str(error)))
        case HTTPException():
            return "no HTTP", f"the answer is no HTTP ({type(error).__name__}: {_short(error)})"
    return "other", _short(error)


def _fingerprint(error: WrongFingerprint) -> str:
    return (
        f"its certificate has the fingerprint {error}, which is not the one given; "
        "if the server got a new certificate, give the new fingerprint, else somebody else answers in its name"
    )


def _certificate(error: ssl.SSLCertVerificationError) -> str:
    why = error.verify_message.rstrip(".")
    match error.verify_code:
        case 10:
            return f"its certificate has expired ({why}); the server needs a new one"
        case 9:
            return f"its certificate is not valid yet ({why})"
        case 62 | 64:
            return f"its certificate is not for this name ({why}); use a name that the certificate has"
    return f"its certificate is not trusted ({why}); {_UNTRUSTED}"


def _short(error: Exception) -> str:
    text = ascii(str(error)).strip("'\"")
    return text if len(text) <= 80 else f"{text[:80]}..."
