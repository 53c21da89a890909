"""The copy tool "https": the contracts against a server that stores, and servers that refuse, lie or say little."""

from __future__ import annotations

import hashlib
import itertools
import threading
import zlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote, unquote

import pytest
from attrs import evolve

from pilot_copytools.https import Https, HttpsOptions
from pilot_core.config.layers import Layer, Rank, Schema, Settings
from pilot_core.config.schema import CORE
from pilot_core.errors import Code, PilotError
from pilot_core.io.cancel import CancelFlag
from pilot_core.model.files import Checksum, FileSpec, Replica
from pilot_core.spec.drivers import Moving
from pilot_core.testing.contracts.copytool import CONTENT, LARGE, FetchContract, StoreContract, describe

MOVING = Moving(cancel=CancelFlag())


class Handler(BaseHTTPRequestHandler):
    """GET, HEAD, PUT and DELETE of whole files; ``server`` says how well."""

    protocol_version = "HTTP/1.1"
    server: Storage

    def log_message(self, *_: object) -> None:
        """Be silent."""

    def do_GET(self) -> None:
        self.server.seen.append(self.command)
        if self.command in self.server.refusing:
            self.say(*self.server.refusing[self.command])
        elif (content := self.server.files.get(self.path)) is None:
            self.say(404)
        else:
            self.say(200, content, self.server.digest(content))

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_PUT(self) -> None:
        self.server.seen.append("PUT")
        length = int(self.headers["Content-Length"])
        content = self.rfile.read(length)
        if len(content) < length:
            self.close_connection = True
        elif "PUT" in self.server.refusing:
            self.say(*self.server.refusing["PUT"])
        elif self.headers["Digest"] != f"adler32={zlib.adler32(content):08x}":
            self.say(400, b"another digest")
        else:
            self.server.files[self.path] = kept = self.server.damage(content)
            if self.server.lost_answer:
                self.close_connection = True
            else:
                self.say(201, digest=self.server.digest(kept) if self.server.tells_at_once else "")

    def do_DELETE(self) -> None:
        self.server.seen.append("DELETE")
        self.say(204 if self.server.files.pop(self.path, None) is not None else 404)

    def say(self, status: int, body: bytes = b"", digest: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if digest:
            self.send_header("Digest", digest)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


class Storage(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.files: dict[str, bytes] = {}
        self.renew()

    def renew(self) -> None:
        self.files.clear()
        self.seen: list[str] = []
        self.refusing: dict[str, tuple[int, bytes]] = {}
        self.digest = lambda content: f"adler32={zlib.adler32(content):08x}"
        self.damage = lambda content: content
        self.tells_at_once = True
        self.lost_answer = False

    def handle_error(self, *_: object) -> None:
        """Cut connections are part of the tests."""


@pytest.fixture(scope="module")
def running() -> Iterator[Storage]:
    with Storage() as storage:
        thread = threading.Thread(target=storage.serve_forever, args=[0.01])
        thread.start()
        yield storage
        storage.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def storage(running: Storage, request: pytest.FixtureRequest) -> Storage:
    running.renew()
    if request.instance is not None:
        request.instance.storage = running
    return running


def settings(https: dict[str, object] | None = None, **connection: object) -> Settings:
    told = {"connection": connection, "https": https or {}}
    return Schema([*CORE, HttpsOptions]).merge(Layer(Rank.SITE, "the test", told))


def close(tool: Https) -> None:
    for web in (tool._server, tool._storage, tool._nobody):
        web.close()


class TestContracts(FetchContract, StoreContract):
    storage: Storage

    @pytest.fixture(autouse=True)
    def _close(self) -> Iterator[None]:
        yield
        close(self.tool)

    def make_tool(self, _: Settings) -> Https:
        return Https(settings())

    def make_place(self, name: str) -> Replica:
        return Replica(f"{self.storage.url}/deep/{quote(name)}")

    def make_replica(self, name: str, content: bytes | None) -> Replica:
        place = self.make_place(name)
        if content is not None:
            self.storage.files[f"/deep/{quote(name)}"] = content
        return place

    def read(self, place: Replica) -> bytes | None:
        return self.storage.files.get(place.url.removeprefix(self.storage.url))

    def names_stored(self) -> list[str]:
        return [unquote(path.rpartition("/")[2]) for path in self.storage.files]


class TestQuietServer(TestContracts):
    """One that tells the digest of a file only when asked for it, as many WebDAV servers do."""

    @pytest.fixture(autouse=True)
    def _quiet(self, storage: Storage) -> None:
        storage.tells_at_once = False


@pytest.fixture
def tool() -> Iterator[Https]:
    made = Https(settings())
    yield made
    close(made)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(CONTENT)
    return path


def store(tool: Https, source: Path, url: str, **known: object) -> None:
    file = describe("f", CONTENT) if not known else FileSpec(lfn="f", **known)  # type: ignore[arg-type]
    tool.store(source, Replica(url), file, MOVING)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (401, Code.STAGEOUTAUTHENTICATIONFAILURE),
        (403, Code.STAGEOUTAUTHENTICATIONFAILURE),
        (404, Code.STAGEOUTFAILED),
        (409, Code.STAGEOUTFAILED),
        (507, Code.NOREMOTESPACE),
    ],
)
def test_a_refused_store_has_a_fitting_code_and_the_servers_words(storage, tool, source, status, code):
    storage.refusing["PUT"] = (status, b'{"error": "this is why"}')
    with pytest.raises(PilotError, match=rf"/f: {status} this is why") as raised:
        store(tool, source, f"{storage.url}/f?signature=hidden")
    assert raised.value.code is code
    assert "hidden" not in raised.value.detail
    assert "DELETE" not in storage.seen


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (403, Code.STAGEINAUTHENTICATIONFAILURE),
        (404, Code.MISSINGINPUTFILE),
        (500, Code.STAGEINFAILED),
        (503, Code.SERVICENOTAVAILABLE),
    ],
)
def test_a_refused_fetch_has_a_fitting_code(storage, tool, tmp_path, status, code):
    storage.refusing["GET"] = (status, b"this is why")
    with pytest.raises(PilotError, match=rf"{status} this is why") as raised:
        tool.fetch(Replica(f"{storage.url}/f"), tmp_path / "f", FileSpec(lfn="f"), MOVING)
    assert raised.value.code is code
    assert list(tmp_path.iterdir()) == []


def test_the_race_for_a_name_is_won_by_one(storage, tool, source):
    put = Handler.do_PUT

    def other_was_first(handler: Handler) -> None:
        storage.files[handler.path] = b"other"
        storage.refusing["PUT"] = (409, b"")
        put(handler)

    Handler.do_PUT = other_was_first  # type: ignore[method-assign]
    try:
        with pytest.raises(PilotError) as raised:
            store(tool, source, f"{storage.url}/f")
    finally:
        Handler.do_PUT = put  # type: ignore[method-assign]
    assert raised.value.code is Code.FILEEXISTS
    assert storage.files == {"/f": b"other"}


@pytest.mark.parametrize("tells_at_once", [True, False])
def test_what_arrived_damaged_is_removed(storage, tool, source, tells_at_once):
    storage.damage, storage.tells_at_once = (lambda content: content[::-1]), tells_at_once
    with pytest.raises(PilotError) as raised:
        store(tool, source, f"{storage.url}/f")
    assert raised.value.code is Code.PUTADMISMATCH
    assert storage.files == {}


def test_what_could_not_be_replaced_stays(storage, tool, source):
    storage.files["/f"], storage.refusing["PUT"] = b"older", (507, b"")
    with pytest.raises(PilotError) as raised:
        tool.store(source, Replica(f"{storage.url}/f"), evolve(describe("f", CONTENT), replace=True), MOVING)
    assert raised.value.code is Code.NOREMOTESPACE
    assert storage.files == {"/f": b"older"}


def test_a_replacement_that_is_cut_off_takes_nothing_away(storage, tool, source):
    storage.files["/f"] = b"older"
    source.write_bytes(CONTENT[::-1])
    with pytest.raises(PilotError):
        tool.store(source, Replica(f"{storage.url}/f"), evolve(describe("f", CONTENT), replace=True), MOVING)
    assert storage.files == {"/f": b"older"}


def test_a_store_that_knows_no_digests_is_refused_where_nothing_may_be_read_back(storage, source):
    storage.digest = lambda _: ""
    tool = Https(settings({"read_back": False}))
    with pytest.raises(PilotError) as raised:
        store(tool, source, f"{storage.url}/f")
    close(tool)
    assert raised.value.code is Code.CHKSUMNOTSUP
    assert storage.files == {}


@pytest.mark.parametrize("damaged", [False, True])
def test_a_store_that_knows_no_digests_has_to_show_the_file(storage, tool, source, damaged):
    storage.digest = lambda _: ""
    if damaged:
        storage.damage = lambda content: content[:-1] + b"?"
        with pytest.raises(PilotError) as raised:
            store(tool, source, f"{storage.url}/f")
        assert raised.value.code is Code.PUTADMISMATCH
        assert storage.files == {}
    else:
        store(tool, source, f"{storage.url}/f")
        store(tool, source, f"{storage.url}/f")
        assert storage.files == {"/f": CONTENT}
        assert storage.seen.count("PUT") == 1


def test_a_lost_answer_leaves_nothing(storage, tool, source):
    storage.lost_answer = True
    with pytest.raises(PilotError) as raised:
        store(tool, source, f"{storage.url}/f")
    assert raised.value.code is Code.COMMUNICATIONFAILURE
    assert storage.files == {}


def test_a_file_that_changed_is_not_sent_to_its_end(storage, tool, source):
    source.write_bytes(CONTENT[::-1])
    with pytest.raises(PilotError) as raised:
        store(tool, source, f"{storage.url}/f")
    assert raised.value.code is Code.PUTADMISMATCH
    assert storage.files == {}


@pytest.mark.parametrize("kind", ["md5", "sha256", None])
def test_other_kinds_of_sums_are_compared_as_well(storage, tool, source, kind):
    known = Checksum(kind, hashlib.new(kind, CONTENT).hexdigest()) if kind else None
    store(tool, source, f"{storage.url}/f", checksum=known)
    assert storage.files == {"/f": CONTENT}


def test_a_servers_own_digest_is_compared_where_there_is_no_other(storage, tool, tmp_path):
    storage.files["/f"], storage.digest = CONTENT, (lambda _: "adler32=00000001")
    with pytest.raises(PilotError, match="by the server's word") as raised:
        tool.fetch(Replica(f"{storage.url}/f"), tmp_path / "f", FileSpec(lfn="f"), MOVING)
    assert raised.value.code is Code.GETADMISMATCH
    assert list(tmp_path.iterdir()) == []


def test_a_digest_that_nobody_asked_for_is_not_believed(storage, tool, tmp_path):
    """Found: XRootD's HTTP door tells the digest of what another client asked for before."""
    storage.files["/f"], storage.digest = CONTENT, (lambda _: "adler32=00000001")
    tool.fetch(Replica(f"{storage.url}/f"), tmp_path / "f", describe("f", CONTENT), MOVING)
    assert (tmp_path / "f").read_bytes() == CONTENT


def test_what_is_in_the_way_is_left_alone(storage, tool, tmp_path):
    (tmp_path / "f").write_text("of somebody else")
    storage.files["/f"] = CONTENT
    with pytest.raises(PilotError, match="exists"):
        tool.fetch(Replica(f"{storage.url}/f"), tmp_path / "f", FileSpec(lfn="f"), MOVING)
    assert (tmp_path / "f").read_text() == "of somebody else"


def test_a_full_disk_is_told(storage, tool, tmp_path, monkeypatch):
    storage.files["/f"] = LARGE
    (tmp_path / "full").symlink_to("/dev/full")
    monkeypatch.setattr("pilot_copytools._disk._NEW", 1)
    with pytest.raises(PilotError) as raised:
        tool.fetch(Replica(f"{storage.url}/f"), tmp_path / "full", FileSpec(lfn="f"), MOVING)
    assert raised.value.code is Code.NOLOCALSPACE


def test_a_server_that_is_not_there_has_a_fitting_code(tool, tmp_path):
    with pytest.raises(PilotError, match="nobody listens") as raised:
        tool.fetch(Replica("http://127.0.0.1:1/f"), tmp_path / "f", FileSpec(lfn="f"), MOVING)
    assert raised.value.code is Code.SERVICENOTAVAILABLE


@pytest.mark.parametrize(
    ("status", "code", "passes"),
    [(403, Code.STAGEOUTAUTHENTICATIONFAILURE, True), (409, Code.PANDAKILL, None), (500, Code.STAGEOUTFAILED, None)],
)
def test_what_the_pilots_own_server_refuses_is_told_for_what_it_is(storage, source, status, code, passes):
    """Found: a token that was replaced while the payload ran cost its outputs, and a lost lease read as a bad token."""
    storage.refusing["PUT"] = (status,)
    tool = Https(settings(url=[storage.url]))
    with pytest.raises(PilotError) as raised:
        store(tool, source, f"{storage.url}/f")
    close(tool)
    assert raised.value.code is code
    assert raised.value.facts.get("passes") is passes


@pytest.mark.parametrize(("mode", "match"), [(None, "--token-file"), (0o644, "chmod 600")])
def test_a_bad_token_file_is_a_matter_of_credentials_that_somebody_mends(storage, tmp_path, source, mode, match):
    """Found: a token file that was away for a moment cost a finished payload its outputs."""
    if mode:
        (tmp_path / "token").write_text("t" * 20)
        (tmp_path / "token").chmod(mode)
    tool = Https(settings(url=[storage.url], token=str(tmp_path / "token")))
    with pytest.raises(PilotError, match=match) as raised:
        store(tool, source, f"{storage.url}/f")
    close(tool)
    assert raised.value.code is Code.STAGEOUTAUTHENTICATIONFAILURE
    assert raised.value.facts.get("passes") is True
    assert storage.seen == []


@pytest.mark.parametrize("url", ["http://storage.example.org/f", "dav://storage.example.org/f"])
def test_nothing_goes_unencrypted_to_another_node(tool, source, url):
    with pytest.raises(PilotError, match="plain http is for this node alone"):
        store(tool, source, url)


def test_what_it_takes(storage, tool, source):
    assert [tool.takes(Replica(f"{scheme}://h/f")) for scheme in ("https", "http", "davs", "dav", "root")] == [
        *itertools.repeat(True, 4),
        False,
    ]
    store(tool, source, storage.url.replace("http", "dav") + "/f")
    assert storage.files == {"/f": CONTENT}
