"""Facts about queues and storages from the server."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from attrs import define, field

from pilot_core.builtin import server
from pilot_core.builtin.server import Server
from pilot_core.infosys.queue import resolve
from pilot_core.sdk import Code, PilotError
from pilot_core.testing.contracts.drivers import InfoSourceContract

FLAT = {
    "nickname": "Q/1",
    "panda_resource": "Q1",
    "state": "ACTIVE",
    "status": "online",
    "corecount": 8,
    "maxrss": 16000,
}
STORAGES = {"DISK": {"name": "DISK", "type": "DATADISK", "arprotocols": {"write_lan": [{"endpoint": "https://h:1"}]}}}
QUEUE, STORAGE = "/cache/schedconfig/Q%2F1.all.json", "/cache/ddmendpoints.json"


@define
class Cache:
    """What lies on the server, by its path: a body, or a status without one."""

    url: str = ""
    pages: dict = field(factory=dict)
    asked: list = field(factory=list)
    shown: set = field(factory=set)


class Handler(BaseHTTPRequestHandler):
    wbufsize = -1

    def do_GET(self):
        cache = self.server.cache
        cache.asked.append(self.path)
        cache.shown.add(self.headers["Authorization"])
        page = cache.pages.get(self.path, 404)
        data = b"not here" if isinstance(page, int) else page if isinstance(page, bytes) else json.dumps(page).encode()
        self.send_response(page if isinstance(page, int) else 200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *about):
        pass


@pytest.fixture
def cache():
    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listening.daemon_threads = True
    listening.cache = Cache(url=f"http://127.0.0.1:{listening.server_port}", pages={QUEUE: FLAT, STORAGE: STORAGES})
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield listening.cache
    listening.shutdown()
    thread.join()
    listening.server_close()


@pytest.fixture
def source(make, cache, tmp_path):
    (tmp_path / "token").write_text("sesame-open-now")
    (tmp_path / "token").chmod(0o600)
    made = make(Server, connection={"url": [cache.url], "token": str(tmp_path / "token")})
    yield made
    made._web.close()


def refused(call, *args):
    with pytest.raises(PilotError) as raised:
        call(*args)
    return raised.value


@pytest.mark.parametrize("page", [FLAT, {"Q/1": FLAT}])
def test_a_queue_is_read_in_both_forms(source, cache, page):
    cache.pages[QUEUE] = page
    assert source.queue("Q/1") == FLAT
    queue, _ = resolve("Q/1", [source])
    assert (queue.cores, queue.memory_b, queue.params["panda_resource"]) == (8, 16 * 10**9, "Q1")
    assert cache.asked == [QUEUE, QUEUE]
    assert cache.shown == {"Bearer sesame-open-now"}


@pytest.mark.parametrize("page", [404, {}, {"error": "no such queue"}, {"OTHER": FLAT}, {**FLAT, "error": "x"}])
def test_a_queue_that_the_server_does_not_know_is_refused(source, cache, page):
    cache.pages[QUEUE] = page
    error = refused(source.queue, "Q/1")
    assert error.code is Code.QUEUEDATA
    assert f"{cache.url} has no queue 'Q/1'" in error.detail


@pytest.mark.parametrize(
    ("page", "code"),
    [
        (400, Code.COMMUNICATIONFAILURE),
        (403, Code.NOPROXY),
        (b"<html>", Code.COMMUNICATIONFAILURE),
        ([1], Code.QUEUEDATANOTOK),
    ],
)
def test_an_answer_that_is_none_is_an_error_with_the_address(source, cache, page, code):
    cache.pages[QUEUE] = cache.pages[STORAGE] = page
    for error in (refused(source.queue, "Q/1"), refused(source.storage, "DISK")):
        assert error.code is code
        assert f"{cache.url}/cache/" in error.detail


def test_a_storage_is_known_by_its_name(source):
    assert source.storage("DISK") == STORAGES["DISK"]
    assert source.storage("TAPE") is None


def test_all_storages_are_asked_for_once_and_kept_while_the_server_is_away(source, cache, monkeypatch):
    for _ in range(3):
        source.storage("DISK")
    assert cache.asked == [STORAGE]
    monkeypatch.setattr(server, "FRESH_S", 0.0)
    source._storages = (0.0, source._storages[1])
    cache.pages[STORAGE] = {"DISK": {"name": "new"}}
    assert source.storage("DISK") == {"name": "new"}
    cache.pages[STORAGE] = 403
    assert source.storage("DISK") == {"name": "new"}
    assert len(cache.asked) == 3


def test_a_server_without_storages_knows_none(source, cache):
    del cache.pages[STORAGE]
    assert source.storage("DISK") is None


def test_without_a_server_nothing_is_known(make):
    assert make(Server).queue("Q/1") is None
    assert make(Server).storage("DISK") is None


class TestServer(InfoSourceContract):
    driver = Server
    known = "Q/1"

    @pytest.fixture(autouse=True)
    def _begin(self, cache):
        self.options = {"connection.url": [cache.url]}
        self.made = self.make()
        yield
        self.made._web.close()
