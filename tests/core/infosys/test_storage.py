"""Storage endpoints of a queue: their protocols become beginnings of URLs."""

from __future__ import annotations

from pilot_core.errors import Code, PilotError
from pilot_core.infosys.queue import resolve
from pilot_core.model.queue import Storage
from pilot_core.spec.drivers import InfoSource

STORE = {
    "arprotocols": {
        "write_wan": [{"endpoint": "davs://far.example.org:443", "path": "/data/"}],
        "write_lan": [{"endpoint": "https://near.example.org:1094/", "path": "/data"}, {"path": "/nowhere"}],
        "read_lan": [{"endpoint": "root://near.example.org:1094", "path": "//data/"}],
        "delete_wan": [{"endpoint": "davs://far.example.org:443", "path": "/data/"}],
    }
}


class Source(InfoSource):
    name = "made"

    def __init__(self, facts, storages):
        self.facts, self.storages, self.asked = facts, storages, []

    def queue(self, name):
        return self.facts

    def storage(self, name):
        self.asked.append(name)
        told = self.storages.get(name)
        if isinstance(told, PilotError):
            raise told
        return told


def test_the_endpoints_of_a_queue_are_known_with_the_nearest_first():
    source = Source({"astorages": {"write_lan": ["A", "B"], "read_lan": ["A"], "pw": None}}, {"A": STORE, "B": {}})
    storages = resolve("q", [source])[0].storages
    assert source.asked == ["A", "B"]
    assert storages["A"] == Storage(
        name="A",
        write=("https://near.example.org:1094/data", "davs://far.example.org:443/data"),
        read=("root://near.example.org:1094/data",),
    )
    assert storages["B"] == Storage(name="B")


def test_the_first_source_that_knows_an_endpoint_tells_it(caplog):
    silent = Source(None, {"A": PilotError(Code.COMMUNICATIONFAILURE, "away")})
    knowing = Source({"astorages": {"write_lan": ["A", "C"]}}, {"A": STORE})
    storages = resolve("q", [silent, knowing])[0].storages
    assert list(storages) == ["A"]
    assert "source made did not tell" in caplog.text
    assert "storage C, which the queue uses, is known to no source" in caplog.text


def test_a_place_holds_scope_and_name():
    storage = Storage(name="A", write=("https://h/s/",), read=("root://h//s",))
    assert storage.places("7.1", "out", write=True) == ("https://h/s/7.1/out",)
    assert storage.places("", "out", write=False) == ("root://h//s/out",)
