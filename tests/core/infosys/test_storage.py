"""Storage endpoints of a queue: their protocols become beginnings of URLs."""

from __future__ import annotations

import pytest

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
        protocols={
            "read_lan": ("root://near.example.org:1094//data",),
            "write_lan": ("https://near.example.org:1094/data",),
            "write_wan": ("davs://far.example.org:443/data",),
        },
    )
    assert storages["A"].write == ("https://near.example.org:1094/data", "davs://far.example.org:443/data")
    assert storages["B"] == Storage(name="B")


def test_the_first_source_that_knows_an_endpoint_tells_it(caplog):
    silent = Source(None, {"A": PilotError(Code.COMMUNICATIONFAILURE, "away")})
    knowing = Source({"astorages": {"write_lan": ["A", "C"]}}, {"A": STORE})
    storages = resolve("q", [silent, knowing])[0].storages
    assert list(storages) == ["A"]
    assert "source made did not tell" in caplog.text
    assert "storage C is known to no source" in caplog.text


@pytest.mark.parametrize(("told", "hashed"), [(True, True), ("no", False), (None, None), ("what?", None)])
def test_how_a_storage_names_files_is_known_or_not(told, hashed):
    facts = {"is_deterministic": told, "arprotocols": {"read_lan": [{"endpoint": "file://", "path": "/disk/"}]}}
    storage = resolve("q", [Source({"astorages": {"pr": ["A"]}}, {"A": {**facts, "type": "OS_ES"}})])[0].storages["A"]
    assert (storage.hashed, storage.kind, storage.read) == (hashed, "OS_ES", ("file:///disk",))


def test_another_endpoint_is_asked_for_when_a_job_names_it():
    source = Source({"astorages": {"write_lan": ["A"]}}, {"A": STORE, "B": STORE})
    storages = resolve("q", [source])[0].storages
    assert (source.asked, [*storages], len(storages)) == (["A"], ["A"], 1)
    assert storages["B"].read == storages.get("B").read == ("root://near.example.org:1094//data",)
    assert storages.get("C") is None
    assert "" not in storages
    assert (source.asked, [*storages]) == (["A", "B", "C"], ["A"])


def test_of_an_endpoint_all_facts_are_known():
    source = Source({"astorages": {"write_lan": ["A"]}}, {"A": {**STORE, "type": "OS_ES"}})
    facts, origin = resolve("q", [source])[0].storages.facts("A")
    assert (facts["type"], str(origin)) == ("OS_ES", "made")


def test_protocols_may_be_a_text():
    source = Source(
        {"astorages": "{'write_lan': ['A']}"}, {"A": {"arprotocols": "{'read_lan': [{'endpoint': 'x://h'}]}"}}
    )
    assert resolve("q", [source])[0].storages["A"].read == ("x://h/",)
