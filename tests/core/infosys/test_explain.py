"""Who told which fact."""

from __future__ import annotations

from pilot_core.infosys.explain import Fact, explain
from pilot_core.spec.drivers import InfoSource


class Source(InfoSource):
    def __init__(self, name, facts, storages):
        self.name, self.facts, self.storages = name, facts, storages

    def queue(self, name):
        return self.facts

    def storage(self, name):
        return self.storages.get(name)

    def whence(self, name):
        return f"/{self.name}/{name}", 60.0


def test_every_fact_has_its_source():
    near = Source("near", {"maxrss": 5, "params": {"a": True}, "state": "OFF"}, {})
    far = Source(
        "far",
        {"maxrss": 6, "params": {"a": 1, "b": "x"}, "astorages": {"pw": ["S"]}},
        {"S": {"name": "S", "type": "OS_ES", "arprotocols": {"write_lan": [{"endpoint": "s3://h", "path": "b"}]}}},
    )
    assert explain("q", [near, far]) == [
        Fact("queue.astorages.pw", '["S"]', "far", "/far/q", 60.0),
        Fact("queue.maxrss", "5", "near", "/near/q", 60.0),
        Fact("queue.params.a", "true", "near", "/near/q", 60.0),
        Fact("queue.params.b", "x", "far", "/far/q", 60.0),
        Fact("queue.state", "OFF", "near", "/near/q", 60.0),
        Fact("storage.S.write", '["s3://h/b"]', "far", "/far/S", 60.0),
        Fact("storage.S.read", "[]", "far", "/far/S", 60.0),
        Fact("storage.S.type", "OS_ES", "far", "/far/S", 60.0),
    ]


def test_of_a_queue_that_nobody_describes_there_is_nothing_to_say():
    assert explain("q", [Source("near", None, {})]) == []
