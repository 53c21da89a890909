"""Secrets, learnt once, leave no text that passes here; shapes that are always secret need no teaching."""

from __future__ import annotations

import json
import logging
import re
import threading
from base64 import b64encode, urlsafe_b64encode
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

MASK = "***"
SHORTEST = 4
REMEMBERED_LENGTH, MOST_REMEMBERED = 64, 4096
"""So many words and names that hold no secret are not looked at twice."""

_NAMES = (
    r"(?:token|secrets?|password|passwd|passphrase|signature|sig|credentials?|authz"
    r"|(?:api|access|secret|private)[-_]?key)"
)
_SCHEMES = r"(?:basic|bearer|token|negotiate|digest|aws4-hmac-sha256)"
CREDENTIAL = re.compile(
    r"TOKEN|PASSW|SECRET|CREDENTIAL|PRIVATE|X509_USER|KEYS?$|KEYTAB|API_?KEY|AUTH|BEARER|KRB5|_PAT$", re.IGNORECASE
)
"""Names of variables whose values are credentials, or say where one lies."""


class Redactor:
    """Masks what it has learnt, and what looks like a credential, in any text. Safe in any thread."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._forms: set[str] = set()
        self._own: set[str] = set()
        self._learnt: re.Pattern[str] | None = None
        self._clean: set[str] = set()
        self._lock = threading.Lock()
        for secret in secrets:
            self.learn(secret)

    def learn(self, secret: str, *, own: bool = True) -> None:
        """Mask ``secret`` from now on: as it is, quoted, percent-encoded or in base64.

        White space around it does not count. One that is not the pilot's ``own`` is a job's, and that job may have it.
        ``ValueError`` if it is so short that masking it would tear holes into every text.
        """
        secret = secret.strip()
        if len(secret) < SHORTEST:
            raise ValueError(f"too short to be masked: a secret needs {SHORTEST} characters, this has {len(secret)}")
        with self._lock:
            forms = set(_forms_of(secret))
            self._forms |= forms
            self._own |= forms if own else set()
            self._learnt = re.compile("|".join(sorted(self._forms, key=len, reverse=True)))
            self._clean = set()

    def learn_from(self, variables: Mapping[str, str]) -> None:
        """Learn the values of those variables that are named like credentials; a path to one is no secret."""
        for name, value in variables.items():
            if CREDENTIAL.search(name) and len(value.strip()) >= 2 * SHORTEST and not value.startswith("/"):
                self.learn(value)

    def knows(self, text: str) -> bool:
        """Whether a secret of the pilot's own is in ``text``."""
        return any(re.search(form, text) for form in self._own)

    def scrub(self, text: str) -> str:
        """``text`` with ``***`` in place of each secret."""
        clean = self._clean
        if len(text) < SHORTEST or text in clean:
            return text
        scrubbed = self._scrubbed(text)
        if scrubbed == text and len(text) <= REMEMBERED_LENGTH and len(clean) < MOST_REMEMBERED:
            clean.add(text)
        return scrubbed

    def _scrubbed(self, text: str) -> str:
        if self._learnt is not None:
            text = self._learnt.sub(MASK, text)
        for word, shape, kept in _SHAPES:
            if word in text:
                text = shape.sub(kept, text)
        if _may_name_one(text):
            for named in _named_shapes():
                text = named.sub(rf"\1{MASK}", text)
        return text


class Scrub(logging.Filter):
    """Put on a handler: no record passes with a secret in message, arguments, traceback or stack."""

    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self._redactor = redactor

    def filter(self, record: logging.LogRecord) -> bool:
        if getattr(record, "scrubbed_by", None) is not self._redactor:
            self._scrub(record)
            record.scrubbed_by = self._redactor
        return True

    def _scrub(self, record: logging.LogRecord) -> None:
        scrub = self._redactor.scrub
        record.msg, record.args = scrub(_message(record)), None
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        record.exc_info = None
        record.exc_text = record.exc_text and scrub(record.exc_text)
        record.stack_info = record.stack_info and scrub(record.stack_info)


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError, KeyError):  # logging itself would print the arguments as they are
        return f"{record.msg} {record.args}"


def _forms_of(secret: str) -> Iterator[str]:
    yield "".join(map(_any_coding, secret))
    yield re.escape(json.dumps(secret)[1:-1])
    yield re.escape(repr(secret)[1:-1])
    raw = secret.encode("utf-8", "surrogatepass")
    for encode in (b64encode, urlsafe_b64encode):
        yield re.escape(encode(raw).decode())
        for before in range(3):
            yield re.escape(_inner(encode(bytes(before) + raw).decode(), before, len(raw)))


def _any_coding(char: str) -> str:
    """A pattern for ``char`` raw or percent-encoded, also more than once (``%252F``)."""
    if char.isascii() and char.isalnum():
        return char
    coded = "".join(f"%(?:25)*{byte:02X}" for byte in char.encode("utf-8", "surrogatepass"))
    plus = r"|\+" if char == " " else ""
    return f"(?:{re.escape(char)}{plus}|(?i:{coded}))"


def _inner(coded: str, before: int, length: int) -> str:
    """The characters that the secret alone decides, when ``before`` bytes of something else precede it."""
    return coded[-(-before * 8 // 6) : (before + length) * 8 // 6]


# No pattern may take quadratic time: a payload chooses some of these texts. So each begins with fixed
# characters or at a boundary. The word before it must be in a text for the pattern to be tried at all.
_SHAPES: tuple[tuple[str, re.Pattern[str], str], ...] = (
    ("://", re.compile(r"://([^\s:/?#@]*):[^\s/?#]*@"), rf"://\1:{MASK}@"),
    ("http", re.compile(r"(https?://)[^\s:/?#@]+@"), rf"\1{MASK}@"),
    ("eyJ", re.compile(r"(?<![\w-])eyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?"), MASK),
    (
        "PRIVATE KEY-----",
        re.compile(r"(-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----).*?(-----END [^-]*PRIVATE KEY-----|\Z)", re.DOTALL),
        rf"\1{MASK}\2",
    ),
)
_NAMED = re.compile(rf"{_NAMES}|authorization|bearer", re.IGNORECASE)
_WORDS = ("token", "secret", "passw", "passphrase", "sig", "credential", "authz", "key", "authorization", "bearer")


def _may_name_one(text: str) -> bool:
    """Whether a text may hold the name of a credential, found at a tenth of the cost where letters have two cases."""
    if not text.isascii():
        return _NAMED.search(text) is not None
    small = text.lower()
    return any(word in small for word in _WORDS)


@cache
def _named_shapes() -> tuple[re.Pattern[str], ...]:
    return tuple(
        re.compile(pattern, re.IGNORECASE | re.DOTALL)
        for pattern in (
            rf"(authorization\\?[\"']?\s*[:=]\s*\\?[\"']?(?:{_SCHEMES} +)?)[^\s\"',\\]+",
            r"\b(bearer +)[\w.~+/=-]{16,}",
            rf"({_NAMES}(?:=|[\"']\s*:\s*)([\"']))(?:\\.|(?!\2)[^\\])*",
            rf"({_NAMES}(?:=|%3D)\\?[\"']?)[^&\s\"'<>;,\\]+",
            rf"({_NAMES}\\[\"']\s*:\s*\\[\"'])[^\"'\\]*",
            rf"(?<!\S)(--?(?:[a-z0-9]+[-_])*{_NAMES} +)\S+",
        )
    )
