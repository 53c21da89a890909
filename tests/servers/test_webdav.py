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
from pilot_core.testing.contracts.copytool import describe

from . import webdav as webdav_servers
from . import xrootd as xrootd_servers
from .conftest import insist
from .daemon import lacks_small_disk
from .faulted import LARGE, SMALL_B, FaultedFetch, FaultedStore, killing, small_disk  # noqa: F401
from .faults import Fault

NUMBERS = itertools.count()
MOVING = Moving(cancel=CancelFlag())
ITS_OWN = (".DAV", ".davfs.")
"""What Apache keeps beside files: locks, and what still comes in from somebody who has not hung up."""


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
        close(self.tool)

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
        names = os.listdir(self.folder) if self.folder.is_dir() else []
        return sorted(name for name in names if not name.startswith(ITS_OWN))

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


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(LARGE)
    return path


def close(tool: Https) -> None:
    for web in (tool._server, tool._storage, tool._nobody):
        web.close()


@pytest.mark.parametrize(
    ("shown", "code"),
    [
        ("expired token", Code.STAGEOUTAUTHENTICATIONFAILURE),
        ("expired proxy", Code.NOPROXY),
        ("nothing", Code.STAGEOUTAUTHENTICATIONFAILURE),
    ],
)
def test_a_bad_credential_has_a_fitting_code(secured_xrootd, pki, source, shown, code):
    files = {
        "expired token": pki.token_file(f"expired-{os.getpid()}", left_s=-60),
        "expired proxy": pki.expired_proxy,
    }
    credentials = {"*": str(files[shown])} if shown in files else {}
    tool = Https(settings({"credentials": credentials}, ca_file=str(pki.bundle)))
    place = Replica(secured_xrootd.http(f"/bad-credential/{shown.replace(' ', '-')}"))
    with pytest.raises(PilotError) as raised:
        tool.store(source, place, describe("f", LARGE, place), MOVING)
    close(tool)
    assert raised.value.code is code
    assert not (secured_xrootd.data / "bad-credential").exists()


@pytest.mark.parametrize("server", ["apache", "xrootd"])
def test_a_full_disk_there_is_told_and_nothing_stays(pki, source, server, request):
    insist(lacks_small_disk())
    tool = Https(settings())
    with webdav_servers.small(pki, SMALL_B) if server == "apache" else xrootd_servers.small(SMALL_B) as there:
        place = Replica(there.http("/deep/big"))
        with pytest.raises(PilotError) as raised:
            tool.store(source, place, describe("f", LARGE, place), MOVING)
        assert raised.value.code in (Code.NOREMOTESPACE, Code.COMMUNICATIONFAILURE, Code.STAGEOUTFAILED)
        assert tool.look(place, describe("f", LARGE), MOVING) is None
        little = source.with_name("little")
        little.write_bytes(LARGE[: SMALL_B // 2])
        tool.store(little, place, describe("f", LARGE[: SMALL_B // 2]), MOVING)
    close(tool)


def test_a_server_that_dies_in_the_midst_has_nothing_under_the_name(own_xrootd, faulty, source):
    line, tool = faulty(own_xrootd.http_port), Https(settings())
    line.always(Fault.hold(len(LARGE) // 2, up=True))
    place = Replica(f"http://localhost:{line.port}/deep/f")
    with pytest.raises(PilotError) as raised:
        killing(line, own_xrootd.daemons[0], lambda: tool.store(source, place, describe("f", LARGE, place), MOVING))
    close(tool)
    assert raised.value.code is Code.COMMUNICATIONFAILURE
    assert not (own_xrootd.data / "deep/f").exists()


def test_a_redirection_is_followed_both_ways(webdav, source, tmp_path):
    tool, file = Https(settings()), describe("f", LARGE)
    name = f"sent-on-{os.getpid()}"
    tool.store(source, Replica(webdav.http(f"/redirect/{name}")), file, MOVING)
    tool.fetch(Replica(webdav.http(f"/redirect/{name}")), tmp_path / "back", file, MOVING)
    close(tool)
    assert (tmp_path / "back").read_bytes() == LARGE
