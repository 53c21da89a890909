"""Tokens that say themselves until when they are good: JSON, signed with a secret that only the dispatcher has."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from hmac import compare_digest, digest
from typing import Final

_HEAD: Final = {"alg": "HS256", "typ": "JWT"}


def signed(claims: Mapping[str, object], secret: bytes) -> str:
    """A token with these claims."""
    told = b".".join(_packed(json.dumps(part, separators=(",", ":")).encode()) for part in (_HEAD, claims))
    return b".".join((told, _packed(digest(secret, told, "sha256")))).decode()


def is_good(token: bytes, secret: bytes, now: float) -> bool:
    """Whether the token was signed with this secret and has not ended."""
    told, dot, signature = token.rpartition(b".")
    if not dot or not compare_digest(_packed(digest(secret, told, "sha256")), signature):
        return False
    claims = json.loads(urlsafe_b64decode(told.rpartition(b".")[2] + b"==="))
    return bool(claims["exp"] > now)


def _packed(data: bytes) -> bytes:
    return urlsafe_b64encode(data).rstrip(b"=")
