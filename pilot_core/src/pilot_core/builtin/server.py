"""The information source "server": the facts of queues and storages that the server itself keeps for pilots."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from pilot_core.builtin.kept import Kept
from pilot_core.sdk import Connection

QUEUE: Final = "/cache/schedconfig/{}.all.json"
STORAGES: Final = "/cache/ddmendpoints.json"


class Server(Kept):
    """Queues and storages as the server knows them, by whichever of its addresses."""

    name = "server"

    def queue_place(self, name: str) -> str:
        """Below the server's first address, which stands for all of them."""
        return self._below(QUEUE.format(quote(name, safe="")))

    def storage_place(self, name: str) -> str:
        """All are in one document."""
        return self._below(STORAGES)

    def _below(self, path: str) -> str:
        urls = self.settings.of(Connection).url
        return urls[0].rstrip("/") + path if urls else ""
