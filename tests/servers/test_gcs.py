"""The copy tool "gcs" against an emulator of the store, and against answers as the real one gives them."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote, unquote, urlsplit

import pytest
from attrs import evolve

from pilot_core.config.layers import Layer, Rank, Schema, Settings
from pilot_core.config.schema import CORE
from pilot_core.errors import Code, PilotError
from pilot_core.io.cancel import CancelFlag
from pilot_core.model.files import Replica
from pilot_core.spec.drivers import Moving
from pilot_core.testing.contracts.copytool import CONTENT, FetchContract, StoreContract, describe

pytest.importorskip("google.cloud.storage", reason="needs pilot-copytools[gcs]")
emulator = pytest.importorskip("gcp_storage_emulator.server", reason="needs gcp-storage-emulator")

from gcp_storage_emulator.storage import Storage  # noqa: E402

from pilot_copytools.gcs import CHUNK_B, Gcs, GcsOptions  # noqa: E402

NUMBERS = itertools.count()
MOVING = Moving(cancel=CancelFlag())
LARGE = bytes(range(256)) * (CHUNK_B // 256 + 5)


class Store(ThreadingHTTPServer):
    """The emulator on a port of its own, with what it has at hand."""

    def __init__(self) -> None:
        self.storage = Storage(use_memory_fs=True)
        self.storage.create_bucket("pilot", {"kind": "storage#bucket", "id": "pilot", "name": "pilot"})
        super().__init__(("127.0.0.1", 0), partial(emulator.RequestHandler, self.storage))
        self.url = f"http://127.0.0.1:{self.server_port}"

    def names(self) -> list[str]:
        return list(self.storage.objects.get("pilot", {}))

    def content(self, name: str) -> bytes:
        return bytes(self.storage.get_file("pilot", name))

    def handle_error(self, *_: object) -> None:
        """Cut connections are part of the tests."""


@pytest.fixture(scope="module")
def running() -> Iterator[Store]:
    with Store() as store:
        thread = threading.Thread(target=store.serve_forever, args=[0.01])
        thread.start()
        yield store
        store.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def store(running: Store, request: pytest.FixtureRequest) -> Store:
    if request.instance is not None:
        request.instance.store_, request.instance.folder = running, f"t{next(NUMBERS)}"
    return running


def settings(**gcs: object) -> Settings:
    return Schema([*CORE, GcsOptions]).merge(Layer(Rank.SITE, "the test", {"gcs": {"anonymous": True, **gcs}}))


class TestEmulator(FetchContract, StoreContract):
    store_: Store
    folder: str

    def make_tool(self, _: Settings) -> Gcs:
        return Gcs(settings(endpoint=self.store_.url))

    def make_place(self, name: str) -> Replica:
        return Replica(f"gs://pilot/{self.folder}/deep/{quote(name)}")

    def make_replica(self, name: str, content: bytes | None) -> Replica:
        place = self.make_place(name)
        if content is not None:
            source = self.here / "made"
            source.write_bytes(content)
            self.make_tool(self.settings).store(source, place, describe(name, content, place), MOVING)
        return place

    def read(self, place: Replica) -> bytes | None:
        name = unquote(urlsplit(place.url).path).lstrip("/")
        return self.store_.content(name) if name in self.store_.names() else None

    def names_stored(self) -> list[str]:
        return [name.rpartition("/")[2] for name in self.store_.names() if name.startswith(f"{self.folder}/")]


class Answering(BaseHTTPRequestHandler):
    """Gives the answers of the real store, in order; the last again and again."""

    answers: list[tuple[int, dict[str, object]]]
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path.startswith("/storage/v1/b/pilot?"):
            status, body = ABSENT  # the library asks for the bucket now and then, for no use of ours
        else:
            status, body = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=UTF-8")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_POST = do_PUT = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Be silent."""


@pytest.fixture
def answering():
    """Starts a server that gives these answers, and gives a tool that asks it."""
    with ExitStack() as leaving:

        def start(*answers: tuple[int, dict[str, object]]) -> Gcs:
            handler = type("Handler", (Answering,), {"answers": list(answers)})
            server = leaving.enter_context(ThreadingHTTPServer(("127.0.0.1", 0), handler))
            thread = threading.Thread(target=server.serve_forever, args=[0.01])
            thread.start()
            leaving.callback(thread.join)
            leaving.callback(server.shutdown)
            return Gcs(settings(endpoint=f"http://127.0.0.1:{server.server_port}"))

        yield start


def refusal(status: int, reason: str, message: str) -> tuple[int, dict[str, object]]:
    """A refusal as the store words it."""
    error = {"message": message, "domain": "global", "reason": reason}
    return status, {"error": {"code": status, "message": message, "errors": [error]}}


ABSENT = refusal(404, "notFound", "No such object: pilot/f")
REFUSALS = (
    (refusal(401, "authError", "Invalid Credentials"), Code.MISSINGCREDENTIALS),  # none were shown
    (
        refusal(403, "forbidden", "pilot@p.iam does not have storage.objects.create access"),
        Code.STAGEOUTAUTHENTICATIONFAILURE,
    ),
    (
        refusal(429, "rateLimitExceeded", "The object exceeded the rate limit for object mutation"),
        Code.SERVICENOTAVAILABLE,
    ),
    (refusal(503, "backendError", "We encountered an internal error. Please try again."), Code.SERVICENOTAVAILABLE),
    (refusal(400, "invalid", "Provided MD5 hash does not match calculated MD5 hash"), Code.STAGEOUTFAILED),
)


@pytest.mark.parametrize(("refused", "code"), REFUSALS, ids=lambda each: str(getattr(each, "acronym", "")))
def test_the_stores_refusals_have_fitting_codes(answering, tmp_path, refused, code):
    (tmp_path / "f").write_bytes(CONTENT)
    place = Replica("gs://pilot/f")
    with pytest.raises(PilotError) as raised:
        answering(ABSENT, refused).store(tmp_path / "f", place, describe("f", CONTENT, place), MOVING)
    assert raised.value.code is code


def test_an_object_that_another_has_stored_meanwhile_stays(answering, tmp_path):
    (tmp_path / "f").write_bytes(CONTENT)
    lying = {"name": "f", "bucket": "pilot", "size": "3", "md5Hash": "1B2M2Y8AsgTpgAmY7PhCfg==", "crc32c": "AAAAAA=="}
    raced = refusal(412, "conditionNotMet", "At least one of the pre-conditions you specified did not hold.")
    place = Replica("gs://pilot/f")
    with pytest.raises(PilotError) as raised:
        answering(ABSENT, raced, (200, lying)).store(tmp_path / "f", place, describe("f", CONTENT, place), MOVING)
    assert raised.value.code is Code.FILEEXISTS


def test_a_missing_object_and_a_bad_key_have_fitting_codes(answering, tmp_path):
    place, file = Replica("gs://pilot/f"), evolve(describe("f", CONTENT), size_b=None)
    with pytest.raises(PilotError) as raised:
        answering(ABSENT).fetch(place, tmp_path / "f", file, MOVING)
    assert raised.value.code is Code.MISSINGINPUTFILE
    (tmp_path / "key").write_text("{}")
    (tmp_path / "key").chmod(0o600)
    with pytest.raises(PilotError, match="wants the key of a service account") as raised:
        Gcs(settings(keys={"pilot": str(tmp_path / "key")})).fetch(place, tmp_path / "f", file, MOVING)
    assert raised.value.code is Code.MISSINGCREDENTIALS
    assert not (tmp_path / "f").exists()
