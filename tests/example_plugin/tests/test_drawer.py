"""The copy tool does what every copy tool must."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from pilot_example.drawer import Drawer

from pilot_core.sdk import Replica, Settings
from pilot_core.testing.contracts.copytool import FetchContract, StoreContract


class TestDrawer(FetchContract, StoreContract):
    def make_tool(self, settings: Settings) -> Drawer:
        return Drawer(settings)

    @property
    def storage(self) -> Path:
        return self.here / "a storage"

    def make_place(self, name: str) -> Replica:
        return Replica(f"drawer://{quote(str(self.storage / name))}")

    def make_replica(self, name: str, content: bytes | None) -> Replica:
        if content is not None:
            self.storage.mkdir(exist_ok=True)
            (self.storage / name).write_bytes(content)
        return self.make_place(name)

    def read(self, place: Replica) -> bytes | None:
        names = self.names_stored()
        return (self.storage / names[0]).read_bytes() if names else None

    def names_stored(self) -> list[str]:
        return sorted(path.name for path in self.storage.iterdir()) if self.storage.exists() else []
