"""The copy tool "gcs" against an emulator of the store, and against answers as the real one gives them."""

from __future__ import annotations

import itertools
import json
import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
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

from google.auth.credentials import AnonymousCredentials
from google.cloud.storage import Client

from pilot_copytools.gcs import CHUNK_B, Gcs, GcsOptions

from . import gcs as servers

NUMBERS = itertools.count()
MOVING = Moving(cancel=CancelFlag())


def settings(**gcs: object) -> Settings:
    return Schema([*CORE, GcsOptions]).merge(Layer(Rank.SITE, "the test", {"gcs": {"anonymous": True, **gcs}}))


class TestEmulator(FetchContract, StoreContract):
    @pytest.fixture(autouse=True)
    def _at(self, gcs: servers.Gcs) -> Iterator[None]:
        self.server, self.folder = gcs, f"{os.getpid()}-{next(NUMBERS)}"
        options = {"api_endpoint": gcs.url}
        self.client = Client(project="test", credentials=AnonymousCredentials(), client_options=options)
        yield
        self.client.close()

    def make_tool(self, _: Settings) -> Gcs:
        return Gcs(settings(endpoint=self.server.url))

    def make_place(self, name: str) -> Replica:
        return Replica(f"gs://{servers.BUCKET}/{self.folder}/deep/{quote(name)}")

    def blob(self, place: Replica) -> Any:
        return self.client.bucket(servers.BUCKET).blob(unquote(urlsplit(place.url).path).lstrip("/"))

    def make_replica(self, name: str, content: bytes | None) -> Replica:
        place = self.make_place(name)
        if content is not None:
            self.blob(place).upload_from_string(content)
        return place

    def read(self, place: Replica) -> bytes | None:
        blob = self.blob(place)
        return blob.download_as_bytes() if blob.exists() else None

    def names_stored(self) -> list[str]:
        found = self.client.list_blobs(servers.BUCKET, prefix=f"{self.folder}/")
        return [blob.name.rpartition("/")[2] for blob in found]

    def test_a_file_of_several_chunks_goes_and_comes(self) -> None:
        place, content = self.make_place("chunks"), bytes(range(256)) * (CHUNK_B // 256 + 5)
        self.store(content, describe("chunks", content, place), MOVING)
        assert self.read(place) == content


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
