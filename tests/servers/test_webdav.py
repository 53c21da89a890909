"""The copy tool "https" against Apache, which knows no digests, and XRootD's HTTP door, which knows little else."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import pytest

from pilot_copytools.https import Https, HttpsOptions
from pilot_core.config.layers import Layer, Rank, Schema, Settings
from pilot_core.config.schema import CORE
from pilot_core.errors import Code, PilotError
from pilot_core.io.cancel import CancelFlag
from pilot_core.model.files import Replica
from pilot_core.spec.drivers import Moving
from pilot_core.testing.contracts.copytool import CONTENT, LARGE, describe

from . import webdav as webdav_servers
from .conftest import insist
from .daemon import lacks_small_disk
from .faulted import FaultedFetch, FaultedStore, killing, small_disk  # noqa: F401
from .faults import Fault, FaultyLine

NUMBERS = itertools.count()
MOVING = Moving(cancel=CancelFlag())
LOCKS = ".DAV"


def settings(https: dict[str, object] | None = None, **connection: object) -> Settings:
    told = {"https": https or {}, "connection": connection}
    return Schema([*CORE, HttpsOptions]).merge(Layer(Rank.SITE, "the test", told))


class Server(FaultedFetch, FaultedStore):
    """Both contracts, in a folder of its own below ``data``, which is at ``base``."""

    data: Path
    base: str
    given: Settings
    cut = ""
    """Where the server cuts names off."""

    @pytest.fixture(autouse=True)
    def _end(self) -> Iterator[None]:
        yield
        for web in (self.tool._server, self.tool._storage, self.tool._nobody):
            web.close()

    @property
    def folder(self) -> Path:
        return self.data / "-".join(self.here.parts[-2:]) / "deep"

    def make_folder(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        for each in (self.folder, self.folder.parent):
            each.chmod(0o777)

    def on_disk(self, name: str) -> Path:
        return self.folder / (name.partition(self.cut)[0] if self.cut else name)

    def make_place(self, name: str) -> Replica:
        return Replica(f"{self.base}/{self.folder.relative_to(self.data)}/{quote(name)}")

    def make_replica(self, name: str, content: bytes | None) -> Replica:
        if content is not None:
            self.make_folder()
            self.on_disk(name).write_bytes(content)
        return self.make_place(name)

    def read(self, place: Replica) -> bytes | None:
        path = self.on_disk(unquote(place.url.rpartition("/")[2]))
        return path.read_bytes() if path.exists() else None

    def names_stored(self) -> list[str]:
        return sorted(set(os.listdir(self.folder)) - {LOCKS}) if self.folder.is_dir() else []

    def behind(self, place: Replica) -> Replica:
        self.make_folder()  # so that the first to be sent is the file
        parts = urlsplit(place.url)
        return Replica(parts._replace(netloc=f"localhost:{self.line.port}").geturl())


class TestApache(Server):
    @pytest.fixture(autouse=True)
    def _at(self, webdav, faulty) -> None:
        self.data, self.base, self.line = webdav.data, webdav.http("").rstrip("/"), faulty(webdav.port)

    def make_tool(self, _: Settings) -> Https:
        return Https(settings())


class TestXRootD(Server):
    cut = "?"

    @pytest.fixture(autouse=True)
    def _at(self, xrootd, faulty) -> None:
        self.data, self.base, self.line = xrootd.data, xrootd.http("").rstrip("/"), faulty(xrootd.http_port)

    def make_tool(self, _: Settings) -> Https:
        return Https(settings())


class TestApacheWithProxy(Server):
    @pytest.fixture(autouse=True)
    def _at(self, webdav, pki, faulty) -> None:
        self.data, self.base, self.line = webdav.data, webdav.https("").rstrip("/"), faulty(webdav.https_port)
        self.given = settings({"credentials": {"localhost": str(pki.proxy)}}, ca_file=str(pki.bundle))

    def make_tool(self, _: Settings) -> Https:
        return Https(self.given)

    does_not_promise = tuple(name for name in dir(Server) if "flip" in name)  # TLS hears a flipped bit itself


class TestXRootDWithToken(Server):
    cut = "?"

    @pytest.fixture(autouse=True)
    def _at(self, secured_xrootd, pki, faulty) -> None:
        server = secured_xrootd
        self.data, self.base, self.line = server.data, server.http("").rstrip("/"), faulty(server.http_port)
        token = pki.token_file(f"token-of-{os.getpid()}")
        self.given = settings({"credentials": {"localhost": str(token)}}, ca_file=str(pki.bundle))

    def make_tool(self, _: Settings) -> Https:
        return Https(self.given)

    does_not_promise = TestApacheWithProxy.does_not_promise
