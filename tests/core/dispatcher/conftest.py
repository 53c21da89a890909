"""A service and who may ask it; a browser for the tests of the page, and dispatchers for it to ask."""

from __future__ import annotations

import subprocess

import pytest

from pilot_core.dispatcher.config import Config
from pilot_core.dispatcher.service import Service
from pilot_core.dispatcher.storage import Storage
from pilot_core.dispatcher.store import Store
from pilot_core.dispatcher.tokens import Tokens
from pilot_core.testing.fakes import FakeClock

from . import browser
from .asking import QUEUES, STORAGES, Client
from .pretended import Pretended


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def tokens(tmp_path, clock):
    return Tokens(tmp_path / "tokens", clock)


@pytest.fixture
def service(tmp_path, tokens, clock):
    store, storage = Store(tmp_path / "d.sqlite", clock), Storage(tmp_path / "storage")
    service = Service(
        store, storage, Config(QUEUES, STORAGES, proxy=tmp_path / "proxy.pem"), tokens, clock, scheme="https"
    )
    yield service
    service.close()
    storage.close()


@pytest.fixture
def proxy(tmp_path, clock):
    """Puts a certificate and its key where the configuration says; as far as its dates go, that is a proxy."""

    def make():
        request = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        request += ["-days", "3650", "-subj", "/CN=u"]
        key = tmp_path / "proxy.key"
        made = subprocess.run([*request, "-keyout", key], check=True, capture_output=True).stdout
        pem = made.decode() + key.read_text()
        (tmp_path / "proxy.pem").write_text(pem)
        return pem

    return make


@pytest.fixture
def anybody(service):
    return Client(service, None)


@pytest.fixture
def pilot(service):
    return Client(service, "run")


@pytest.fixture
def person(service):
    return Client(service, "submit")


@pytest.fixture
def admin(service):
    return Client(service, "admin")


@pytest.fixture(scope="session")
def chromium(tmp_path_factory):
    if browser.program() is None:
        pytest.skip("needs a browser: chromium on PATH or $CHROMIUM")
    running = browser.Browser(tmp_path_factory.mktemp("profile"))
    yield running
    running.close()


@pytest.fixture
def serve():
    """Makes a pretended dispatcher; all are closed in the end."""
    made: list[Pretended] = []

    def make(*args, **kwargs) -> Pretended:
        made.append(Pretended(*args, **kwargs))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def visit(chromium):
    """Opens a tab with a good token; in the end nothing in it may have gone wrong."""
    tabs = []

    def open_tab(server, place="", token="good", **kwargs):
        tabs.append(chromium.open(f"{server.url}#token={token}{place}", **kwargs))
        return tabs[-1]

    yield open_tab
    for tab in tabs:
        assert tab.complaints() == []
        tab.call("Page.close")
