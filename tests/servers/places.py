"""Places for the contracts of copy tools: a folder of a real server, which the test looks into from behind."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

import pytest

from pilot_core.config.layers import Layer, Rank, Schema, Settings
from pilot_core.config.options import Section
from pilot_core.config.schema import CORE
from pilot_core.model.files import Replica

from .xrootd import XRootD


def settings_of(section: type[Section], **options: object) -> Settings:
    """The core's settings, and these of one tool."""
    return Schema([*CORE, section]).merge(Layer(Rank.SITE, "the test", {str(section.section): options}))


class OnXRootD:
    """A folder of its own for each test, on the server that all share."""

    @pytest.fixture(autouse=True)
    def _folder(self, xrootd: XRootD, tmp_path: Path) -> None:
        self.server = xrootd
        self.folder = f"{tmp_path.parent.parent.name}-{tmp_path.parent.name}-{tmp_path.name}"
        self.behind = xrootd.data / self.folder
        self.behind.mkdir()
        self.behind.chmod(0o777)

    def make_place(self, name: str) -> Replica:
        return Replica(self.server.root(f"{self.folder}/{quote(name)}"))

    def make_replica(self, name: str, content: bytes | None) -> Replica:
        place = self.make_place(name)
        if content is not None:
            self._path(place).write_bytes(content)
            self._path(place).chmod(0o666)
        return place

    def read(self, place: Replica) -> bytes | None:
        return self._path(place).read_bytes()

    def names_stored(self) -> list[str]:
        return sorted(os.listdir(self.behind))

    def _path(self, place: Replica) -> Path:
        """Servers take a path as it stands, with its escapes."""
        return self.behind / place.url.rpartition("/")[2]
