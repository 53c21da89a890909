"""Facts about queues and storages from the server."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from attrs import define, field

from pilot_core.builtin import documents
from pilot_core.builtin.kept import Cric, Cvmfs, Environment, EnvironmentOptions, Local
from pilot_core.builtin.server import Server
from pilot_core.config.layers import Schema
from pilot_core.config.schema import CORE
from pilot_core.infosys.queue import resolve
from pilot_core.infosys.wire import WANTED
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
    """What lies on the server, by its path: a body, or a status without one; and names of versions."""

    url: str = ""
    pages: dict = field(factory=dict)
    asked: list = field(factory=list)
    shown: set = field(factory=set)
    tags: dict = field(factory=dict)
    modified: dict = field(factory=dict)


class Handler(BaseHTTPRequestHandler):
    wbufsize = -1

    def do_GET(self):
        cache = self.server.cache
        cache.asked.append(self.path)
        cache.shown.add(self.headers["Authorization"])
        page, tag = cache.pages.get(self.path, 404), cache.tags.get(self.path)
        modified = cache.modified.get(self.path)
        if (tag and self.headers["If-None-Match"] == tag) or (
            modified and self.headers["If-Modified-Since"] == modified
        ):
            page = 304
        data = b"not here" if isinstance(page, int) else page if isinstance(page, bytes) else json.dumps(page).encode()
        self.send_response(page if isinstance(page, int) else 200)
        self.send_header("Content-Length", "0" if page == 304 else str(len(data)))
        if tag:
            self.send_header("ETag", tag)
        if modified:
            self.send_header("Last-Modified", modified)
        self.end_headers()
        self.wfile.write(b"" if page == 304 else data)

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
    made.rest()


def refused(call, *args):
    with pytest.raises(PilotError) as raised:
        call(*args)
    return raised.value


def nobody():
    """An address where nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


@pytest.mark.parametrize("page", [FLAT, {"Q/1": FLAT}])
def test_a_queue_is_read_in_both_forms(source, cache, page):
    cache.pages[QUEUE] = page
    assert source.queue("Q/1") == FLAT
    queue, _ = resolve("Q/1", [source])
    assert (queue.cores, queue.memory_b, queue.params["panda_resource"]) == (8, 16 * 10**9, "Q1")
    assert cache.asked == [QUEUE]
    assert cache.shown == {"Bearer sesame-open-now"}


@pytest.mark.parametrize("page", [404, {}, {"error": "no such queue"}, {"OTHER": FLAT}, {**FLAT, "error": "x"}])
def test_a_queue_that_the_server_does_not_know_is_refused(source, cache, page):
    cache.pages[QUEUE] = page
    error = refused(source.queue, "Q/1")
    assert error.code is Code.QUEUEDATA
    assert f"{cache.url}{QUEUE} has no queue 'Q/1'" in error.detail
    assert error.facts["permanent"]


@pytest.mark.parametrize(
    ("page", "code"),
    [
        (400, Code.COMMUNICATIONFAILURE),
        (403, Code.NOPROXY),
        (b"<html>", Code.COMMUNICATIONFAILURE),
        ([1], Code.COMMUNICATIONFAILURE),
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


def test_all_storages_are_asked_for_once(source, cache):
    """data:J-11"""
    for name in ("DISK", "TAPE", "DISK"):
        source.storage(name)
    assert cache.asked == [STORAGE]


def test_a_server_that_does_not_answer_is_left_alone_for_a_while(source, cache):
    cache.pages[STORAGE] = 403
    for _ in range(3):
        assert refused(source.storage, "DISK").code is Code.NOPROXY
    assert cache.asked == [STORAGE]


def test_any_address_of_the_server_will_do(make, cache):
    cache.pages[f"/below{QUEUE}"] = FLAT
    made = make(Server, connection={"url": [f"{nobody()}/below/", f"{cache.url}/below"]})
    assert made.queue("Q/1") == FLAT
    made.rest()


def test_a_server_that_is_away_is_not_waited_for_again_for_each_document(make):
    source = make(Cric, queue_cric={"storages": nobody() + "/{storage}"})
    first, second = refused(source.storage, "A"), refused(source.storage, "B")
    assert first is second
    assert first.code is Code.COMMUNICATIONFAILURE


def test_between_questions_no_connection_stays_open(source):
    resolve("Q/1", [source])
    assert source._documents._web is None
    assert source.storage("TAPE") is None


def test_a_server_without_storages_knows_none(source, cache):
    del cache.pages[STORAGE]
    assert source.storage("DISK") is None


def test_without_a_server_nothing_is_known(make):
    assert make(Server).queue("Q/1") is None
    assert make(Server).storage("DISK") is None


# --- the cache directory: each ``pilot`` below is another process's source -------------------------------------------


@pytest.fixture
def pilot(make, cache, tmp_path):
    """``pilot(Driver, **section)``: a source that keeps its documents."""
    made = []

    def begin(driver=Server, oldest_s=86400.0, **values):
        known = {"url": [cache.url], "cache_dir": str(tmp_path / "kept"), "cache_oldest_s": oldest_s}
        made.append(make(driver, connection=known, **values))
        return made[-1]

    yield begin
    for each in made:
        each.rest()


@pytest.fixture
def later(monkeypatch):
    """``later(s)``: so much time has gone by."""
    began = time.time()

    def go(passed_s):
        monkeypatch.setattr(documents.time, "time", lambda: began + passed_s)

    return go


def test_a_kept_document_serves_other_pilots_until_it_is_old(pilot, cache, later, tmp_path):
    assert pilot().queue("Q/1") == pilot().queue("Q/1") == FLAT
    assert cache.asked == [QUEUE]
    later(3 * 3600 - 60)
    assert pilot().queue("Q/1") == FLAT
    assert cache.asked == [QUEUE]
    later(3 * 3600 + 1)
    cache.pages[QUEUE] = {**FLAT, "maxrss": 1}
    assert pilot().queue("Q/1")["maxrss"] == 1
    (kept,) = (tmp_path / "kept").iterdir()
    note, document = map(json.loads, kept.read_bytes().splitlines())
    assert (note["place"], document["maxrss"]) == (cache.url + QUEUE, 1), "one file: nothing comes between the two"
    assert (kept.name, kept.stat().st_mode & 0o777) == ("server.queue%20Q%2F1.kept", 0o600)


def test_whence_and_how_old_is_known(pilot, cache, later):
    pilot().storage("DISK")
    later(600)
    source = pilot()
    assert source.whence("DISK") == ("", None)
    source.storage("DISK")
    place, age_s = source.whence("DISK")
    assert (place, round(age_s / 10)) == (cache.url + STORAGE, 60)


@pytest.mark.parametrize("bad", [400, 403, b"", b"<html>", b'{"nickname": "Q/1"', [1]])
def test_a_failed_download_damages_nothing_and_the_old_is_used(pilot, cache, later, caplog, bad):
    """data:J-02"""
    pilot().queue("Q/1")
    later(5 * 3600)
    cache.pages[QUEUE] = bad
    assert pilot().queue("Q/1") == FLAT
    assert re.search(r"/cache/schedconfig/.*; what it told 5 h ago is used", caplog.text)
    assert len(caplog.records) == 1
    cache.pages[QUEUE] = {**FLAT, "maxrss": 1}
    assert pilot().queue("Q/1")["maxrss"] == 1


def test_the_old_is_used_while_nobody_is_there(make, cache, tmp_path, later, pilot, caplog):
    pilot(Cric, queue_cric={"queues": f"{cache.url}{QUEUE}"}).queue("Q/1")
    later(4 * 3600)
    cache.pages.clear()
    cache.asked.clear()
    gone = nobody()
    note = tmp_path / "kept" / "cric.queue%20Q%2F1.kept"
    note.write_text(note.read_text().replace(cache.url, gone))
    source = pilot(Cric, queue_cric={"queues": f"{gone}{QUEUE}"})
    assert source.queue("Q/1") == FLAT
    assert "what it told 4 h ago is used" in caplog.text
    assert not cache.asked


def test_what_is_too_old_is_not_used(pilot, cache, later):
    pilot().queue("Q/1")
    later(30 * 3600)
    cache.pages[QUEUE] = 400
    error = refused(pilot().queue, "Q/1")
    assert error.detail.endswith("what is kept is 30 h old, and connection.cache_oldest_s allows less")
    assert pilot(oldest_s=40 * 3600.0).queue("Q/1") == FLAT


@pytest.mark.parametrize("page", [404, {}, {"error": "no such queue"}, {"nickname": "OTHER", "state": "ACTIVE"}])
def test_where_an_answer_tells_nothing_of_the_queue_the_old_is_used_until_it_is_too_old(
    pilot, cache, later, caplog, page
):
    pilot().queue("Q/1")
    later(4 * 3600)
    cache.pages[QUEUE] = page
    assert pilot().queue("Q/1") == FLAT
    assert re.search(r" tells nothing of queue Q/1.*; what it told 4 h ago is used", caplog.text)
    later(30 * 3600)
    error = refused(pilot().queue, "Q/1")
    assert (error.code, error.facts["permanent"]) == (Code.QUEUEDATA, True)


@pytest.mark.parametrize("page", [404, {}, {"error": "try later"}])
def test_where_an_answer_tells_nothing_of_storages_the_old_is_used(pilot, cache, later, caplog, page):
    pilot().storage("DISK")
    later(4 * 3600)
    cache.pages[STORAGE] = page
    assert pilot().storage("DISK") == STORAGES["DISK"]
    assert re.search(r" tells nothing of storages.*; what it told 4 h ago is used", caplog.text)


@pytest.mark.parametrize(("said", "version"), [("tags", '"v1"'), ("modified", "Sat, 21 Nov 2026 10:00:00 GMT")])
def test_what_did_not_change_is_not_sent_again(pilot, cache, later, said, version):
    getattr(cache, said)[QUEUE] = version
    pilot().queue("Q/1")
    cache.pages[QUEUE] = [1]
    for passed_s in (4 * 3600, 8 * 3600):
        later(passed_s)
        source = pilot()
        assert source.queue("Q/1") == FLAT
        assert source.whence("Q/1")[1] < 60
    assert len(cache.asked) == 3


def _spoil(kept):
    kept.write_bytes(kept.read_bytes()[:-9])


def _alter(kept):
    note, _, body = kept.read_bytes().partition(b"\n")
    kept.write_bytes(note + b"\n" + body.replace(b"8", b"9"))


def _forget(kept):
    kept.write_bytes(kept.read_bytes().partition(b"\n")[2])


def _garble(kept):
    kept.write_bytes(b"[]\n" + kept.read_bytes().partition(b"\n")[2])


def _open(kept):
    kept.chmod(0o666)


@pytest.mark.parametrize("spoil", [_spoil, _alter, _forget, _garble, _open])
def test_a_cache_that_is_not_whole_or_not_ours_is_not_believed(pilot, cache, tmp_path, spoil):
    pilot().queue("Q/1")
    spoil(tmp_path / "kept" / "server.queue%20Q%2F1.kept")
    assert pilot().queue("Q/1") == pilot().queue("Q/1") == FLAT
    assert cache.asked == [QUEUE, QUEUE]


def test_a_cache_directory_that_cannot_be_written_is_worth_a_warning(pilot, tmp_path, caplog):
    (tmp_path / "kept").write_text("a file")
    assert pilot().queue("Q/1") == FLAT
    assert "cannot be kept" in caplog.text


def test_a_large_document_is_read_again_and_not_held(pilot, cache, tmp_path, monkeypatch):
    """data:J-11 (of storages that fill a large document)"""
    monkeypatch.setattr(documents, "LARGE_B", 10)
    source = pilot()
    assert source.storage("DISK") == STORAGES["DISK"]
    for path in (tmp_path / "kept").iterdir():
        path.rename(tmp_path / path.name)
    assert source.storage("DISK") == STORAGES["DISK"], "while questions come it is not read again for each"
    for path in tmp_path.glob("*.kept"):
        path.rename(tmp_path / "kept" / path.name)
    for _ in range(2):
        source.rest()
    ((_, held),) = source._documents._held.values()
    assert (held.lean, held.facts) == (True, {})
    assert source.storage("DISK") == STORAGES["DISK"]
    assert cache.asked == [STORAGE]
    source.rest()
    for path in (tmp_path / "kept").iterdir():
        path.unlink()
    assert source.storage("DISK") == STORAGES["DISK"]
    assert cache.asked == [STORAGE, STORAGE]


# --- documents elsewhere --------------------------------------------------------------------------------------------


def test_urls_of_the_site_are_asked_by_queue_and_by_storage(pilot, cache):
    cache.pages |= {"/q/Q%2F1.json": {"Q/1": FLAT}, "/s/DISK": STORAGES["DISK"]}
    source = pilot(
        Cric, queue_cric={"queues": f"{cache.url}/q/{{queue}}.json", "storages": f"{cache.url}/s/{{storage}}"}
    )
    assert source.queue("Q/1") == FLAT
    assert source.storage("DISK") == STORAGES["DISK"]
    assert source.storage("TAPE") is None


def test_the_nearest_names_are_told(pilot, cache):
    cache.pages["/all.json"] = {"SITE_A": FLAT, "SITE_B": FLAT, "FAR": FLAT}
    source = pilot(Cric, queue_cric={"queues": f"{cache.url}/all.json"})
    assert "has no queue 'SITE_C'; did you mean 'SITE_" in refused(source.queue, "SITE_C").detail
    assert "`--queue` names another" in refused(source.queue, "nothing like it").detail


def test_whoever_starts_the_pilot_may_say_where(pilot, cache):
    schema = Schema((*CORE, EnvironmentOptions))
    told = {"QUEUEDATA_SERVER_URL": cache.url + QUEUE, "STORAGEDATA_SERVER_URL": cache.url + STORAGE}
    source = Environment(schema.merge(schema.environment(told)))
    assert source.queue("Q/1") == FLAT
    assert source.storage("DISK") == STORAGES["DISK"]
    source.rest()


def test_a_place_off_this_node_without_https_wants_to_be_allowed_by_name(make, cache, monkeypatch):
    """R-Q5"""
    port = int(cache.url.rpartition(":")[2])
    here = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: here)
    places = {"queue_environment": {"queues": f"http://facts.example.org:{port}{QUEUE}"}}
    error = refused(make(Environment, **places).queue, "Q/1")
    assert error.detail.endswith("use https, or let connection.plain_http name facts.example.org")
    assert cache.asked == []
    source = make(Environment, connection={"plain_http": ["facts.example.org"]}, **places)
    assert source.queue("Q/1") == FLAT
    source.rest()


def test_a_source_without_places_knows_nothing(make):
    for driver in (Cric, Environment):
        assert make(driver).queue("Q/1") is None
        assert make(driver).storage("DISK") is None


# --- many sources ---------------------------------------------------------------------------------------------------


@pytest.fixture
def ranked(make, cache, tmp_path):
    """``ranked(enough=True)``: the queue as four new sources know it; the documents are told by their cores."""
    cache.pages |= {"/cric.json": {"Q/1": {**FLAT, "corecount": 4}}}
    (tmp_path / "cvmfs.json").write_text(json.dumps({"Q/1": {**FLAT, "corecount": 2}}))

    def ask(enough=True):
        sources = [
            make(Local, queue_local={"folder": str(tmp_path), "enough": enough}),
            make(Server, connection={"url": [cache.url]}),
            make(Cvmfs, queue_cvmfs={"root": str(tmp_path), "queues": "cvmfs.json"}),
            make(Cric, queue_cric={"queues": f"{cache.url}/cric.json"}),
        ]
        return resolve("Q/1", sources)[0]

    return ask


def test_sources_serve_by_their_rank(ranked, cache, tmp_path):
    """data:J-01 data:J-03 data:J-04"""
    complete = {**dict.fromkeys(WANTED, ""), **FLAT, "corecount": 1}
    for document in ("cric_pandaqueues.json", "queuedata.json"):
        (tmp_path / document).write_text(json.dumps({"Q/1": complete} if "cric" in document else complete))
        assert ranked().cores == 1
        assert cache.asked == []
        (tmp_path / document).unlink()
    assert ranked().cores == 8
    cache.pages[QUEUE] = {"error": "no such queue"}
    assert ranked().cores == 2
    (tmp_path / "cvmfs.json").unlink()
    assert ranked().cores == 4
    del cache.pages["/cric.json"]
    assert refused(ranked).code.number == 1116


def test_what_a_local_document_does_not_know_others_tell(ranked, cache, tmp_path):
    complete = {**dict.fromkeys(WANTED, ""), **FLAT, "params": {"a": 1}}
    (tmp_path / "queuedata.json").write_text(json.dumps({**complete, "maxrss": None}))
    cache.pages[QUEUE] = {**FLAT, "params": {"a": 2, "b": 3}}
    queue = ranked()
    assert (queue.memory_b, queue.params["a"], queue.params["b"]) == (16 * 10**9, 1, 3)
    (tmp_path / "queuedata.json").write_text(json.dumps(complete))
    assert "b" not in ranked().params
    assert ranked(enough=False).params["b"] == 3, "whoever wants all of them has all of them"


class TestServer(InfoSourceContract):
    driver = Server
    known = "Q/1"

    @pytest.fixture(autouse=True)
    def _begin(self, cache):
        self.options = {"connection.url": [cache.url]}
        self.made = self.make()
        yield
        self.made.rest()
