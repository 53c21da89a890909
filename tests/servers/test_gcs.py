"""The copy tool "gcs" against an emulator of the store, and against answers as the real one gives them."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from functools import partial
from http.server import ThreadingHTTPServer
from urllib.parse import quote, unquote, urlsplit

import pytest

from pilot_core.config.layers import Layer, Rank, Schema, Settings
from pilot_core.config.schema import CORE
from pilot_core.io.cancel import CancelFlag
from pilot_core.model.files import Replica
from pilot_core.spec.drivers import Moving
from pilot_core.testing.contracts.copytool import FetchContract, StoreContract, describe

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
