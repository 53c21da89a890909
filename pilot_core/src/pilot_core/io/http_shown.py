"""What is shown to whom: the token and the proxy that belong to a host, and to no other."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from attrs import frozen

from pilot_core.io.http_token import TokenFile
from pilot_core.io.http_trust import Trusts

if TYPE_CHECKING:
    from pilot_core.io.http_address import Origin

_PEM: Final = b"-----BEGIN "
_LONGEST_B: Final = 1 << 16


@frozen
class Card:
    """A token and a proxy, of which there may be none; ``own`` says that the proxy is for this host.

    ``of`` is the organisation and role in whose name the token is shown.
    """

    token: TokenFile | None
    trusts: Trusts
    own: bool
    of: str = ""

    def headers(self) -> dict[str, str]:
        """The token, as a request shows it."""
        if self.token is None:
            return {}
        return {"Authorization": f"Bearer {self.token.read()}", **({"Origin": self.of} if self.of else {})}


class Cards:
    """What the server itself is shown, at its ``places``, and others, from ``files`` by host, the most exact first."""

    def __init__(
        self,
        places: Collection[Origin],
        ours: Card,
        files: Mapping[str, Path],
        ca_file: Path | None,
        ca_path: Path | None,
        renewed: Path | None = None,
    ) -> None:
        self._places, self._ours = places, ours
        self._nobodys = Card(None, ours.trusts, own=False)
        exact_first = sorted(files, key=lambda pattern: ("*" in pattern, ":" not in pattern, -len(pattern)))
        self._files = {pattern: files[pattern] for pattern in exact_first}
        self._authorities = ca_file, ca_path
        self._renewed = renewed
        self._made: dict[str, Card] = {}

    def of(self, origin: Origin) -> Card:
        """What this host is shown; nothing, where others could see it."""
        if origin in self._places:
            return self._ours
        pattern = next(filter(origin.is_like, self._files), None)
        if pattern is None or origin.is_open:
            return self._nobodys
        if pattern not in self._made:
            self._made[pattern] = self._make(self._files[pattern])
        return self._made[pattern]

    def _make(self, path: Path) -> Card:
        if _is_proxy(path):
            return Card(None, Trusts("", *self._authorities, path, self._renewed), own=True)
        return Card(
            TokenFile(path, "with https.credentials", renewed=self._renewed), Trusts("", *self._authorities), own=False
        )


def _is_proxy(path: Path) -> bool:
    """Whether it holds a certificate; what cannot be read is told as a token is."""
    with suppress(OSError), open(path, "rb") as file:
        return _PEM in file.read(_LONGEST_B)
    return False
