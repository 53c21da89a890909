"""What pilots are lent beside their own: a newer token against the token key, and the proxy that a file holds."""

from __future__ import annotations

import logging
from hmac import compare_digest
from pathlib import Path
from typing import Final

from attrs import frozen

from pilot_core.clock import Clock
from pilot_core.dispatcher.config import Config
from pilot_core.dispatcher.tokens import Tokens

BAD_KEY: Final = 50
NOT_THERE: Final = 90
LONGEST_B: Final = 2**18
log = logging.getLogger(__name__)


class NotLent(Exception):
    """It is not lent, in PanDA's own form; ``code`` is what an older server says."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


@frozen
class Lending:
    """Lends to whoever may ask; what it does not lend it refuses by ``NotLent``."""

    tokens: Tokens
    config: Config
    clock: Clock

    def token(self, client: str, key: str) -> str:
        """A token for pilots that ends in a while."""
        known = self.tokens.key
        if not known or not compare_digest(known.encode(), key.encode()):
            raise NotLent(f"failed since token key is invalid for {client:.80}", BAD_KEY)
        token = self.tokens.issue(client[:80], self.config.token_life_s)
        if not token:
            raise NotLent(f"'token' not found for {client:.80}", NOT_THERE)
        return token

    def key(self, client: str) -> str:
        """The token key, whoever it is for."""
        if not self.tokens.key:
            raise NotLent(f"'token key' not found for {client:.80}", NOT_THERE)
        return self.tokens.key

    def proxy(self) -> str:
        """The proxy of this dispatcher's pilots, as its file is now."""
        path = self.config.proxy
        if path is None:
            raise NotLent("'proxy' not found: the dispatcher's configuration names none", NOT_THERE)
        try:
            return _read(path, self.clock.now())
        except (OSError, ValueError) as error:
            log.warning("no pilot gets the proxy %s: %s", path, getattr(error, "strerror", None) or error)
            raise NotLent("'proxy' not found: its file is of no use now", NOT_THERE) from None


def _read(path: Path, now: float) -> str:
    from pilot_core.io.credentials import unfit_proxy

    with open(path, "rb") as file:
        pem = file.read(LONGEST_B).decode("ascii")
    if why := unfit_proxy(pem, now):
        raise ValueError(why)
    return pem
