"""Places for the contracts of copy tools in storages that a real Rucio knows."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote, unquote

import pytest

from pilot_copytools.rucio.settings import RucioOptions
from pilot_copytools.rucio.tool import Rucio as Tool
from pilot_core.config.layers import Settings
from pilot_core.model.files import Replica

from .places import settings_of
from .rucio import PASSWORD


def password(folder: Path, said: str = PASSWORD) -> Path:
    """A file with a password, as the pilot wants it."""
    path = folder / f"password-{said}"
    path.write_text(said)
    path.chmod(0o600)
    return path


def told(rucio: Any, pki: Any, folder: Path, **more: object) -> dict[str, Any]:
    """Options by which the account ``pilot`` comes to the server."""
    known = {"host": rucio.url, "account": "pilot", "ca_file": str(pki.bundle), "scope": "user.pilot"}
    return {**known, "password": str(password(folder)), "proxy": str(pki.proxy), **more}


def options(rucio: Any, pki: Any, folder: Path, **more: object) -> Settings:
    """The settings with these options."""
    return settings_of(RucioOptions, **told(rucio, pki, folder, **more))


class InStorage:
    """A folder of its own for each test, in one of the storages."""

    storage: ClassVar[str]

    @pytest.fixture(autouse=True)
    def _at(self, rucio, pki, xrootd, secured_xrootd, webdav, tmp_path: Path, monkeypatch) -> None:
        for name, value in pki.by_proxy().items():
            monkeypatch.setenv(name, value)
        self.rucio, self.pki, self.here_folder = rucio, pki, tmp_path.parent
        doors = {
            "XRD": (f"root://localhost:{xrootd.port}//rucio", xrootd.data),
            "SEC": (f"davs://localhost:{secured_xrootd.http_port}/rucio", secured_xrootd.data),
            "DAV": (f"davs://localhost:{webdav.https_port}/rucio", webdav.data),
        }
        begin, data = doors[self.storage]
        folder = f"{tmp_path.parent.parent.name}-{tmp_path.parent.name}-{tmp_path.name}"
        self.begin, self.behind = f"{begin}/{folder}", data / "rucio" / folder
        self.behind.mkdir()
        self.behind.chmod(0o777)

    def tool_here(self) -> Tool:
        return Tool(options(self.rucio, self.pki, self.here_folder))

    def make_place(self, name: str) -> Replica:
        return Replica(f"{self.begin}/{quote(name)}", self.storage)

    def make_replica(self, name: str, content: bytes | None) -> Replica:
        place = self.make_place(name)
        if content is not None:
            self.path(place).write_bytes(content)
            self.path(place).chmod(0o666)
        return place

    def read(self, place: Replica) -> bytes | None:
        return self.path(place).read_bytes()

    def names_stored(self) -> list[str]:
        return sorted(os.listdir(self.behind))

    def path(self, place: Replica) -> Path:
        """By root:// a path is taken as it stands; so does XRootD by https when it gives a file another name."""
        path = self.behind / place.url.rpartition("/")[2]
        return path if place.url.startswith("root:") or path.exists() else path.with_name(unquote(path.name))
