"""Who told which fact."""

from __future__ import annotations

import re
from pathlib import Path

from pilot_core.infosys.explain import Fact, explain
from pilot_core.infosys.wire import FIELDS, PARAMS, REMARKS, UNUSED
from pilot_core.spec.drivers import InfoSource

SOURCES = tuple(Path(__file__).parents[3].glob("pilot_*/src"))
BY_TABLE = {"gstat", "pilot_maxwdir_grace", "pilot_rss_grace", "pilot_walltime_grace"}
"""Read by a name that stands in a table or in an option."""
AMBIGUOUS = {"logging"}
"""A word that has another meaning as well."""


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


def test_what_changes_nothing_is_said_so():
    facts = explain("q", [Source("near", {"appdir": "/x", "maxtime": 5, "catchall": "HPC_HPC nopenfiles=4 a"}, {})])
    notes = {fact.path: fact.note for fact in facts}
    assert notes == {"queue.appdir": "not used", "queue.catchall": "not used: hpc_hpc, nopenfiles", "queue.maxtime": ""}


def test_a_field_is_called_unused_if_and_only_if_nobody_asks_for_it():
    """Of all that the five distributions say, but for the dispatcher, which is a server."""
    sources = [path for root in SOURCES for path in root.rglob("*.py") if not {"dispatcher", "testing"} & {*path.parts}]
    asked = " ".join(path.read_text() for path in sources if path.name != "wire.py")
    for name in {*FIELDS, *PARAMS}:
        read = re.search(rf"(params|told|inner)\.get\(\"{name}\"|params\[\"{name}\"\]", asked) or name in BY_TABLE
        assert bool(read) is (name not in UNUSED), name
    for word in REMARKS:
        read = word in asked.lower() or word.endswith("_options")
        assert read is (REMARKS[word] or word in AMBIGUOUS), word


def test_the_manual_names_what_changes_nothing():
    manual = (Path(__file__).parents[3] / "docs" / "guides" / "site.md").read_text()
    _, _, told = manual.partition("These are read and change nothing:")
    named = set(re.findall(r"`(\w+)`", told.partition("Whatever else")[0].lower()))
    assert named - {"catchall"} == UNUSED | {word for word, used in REMARKS.items() if not used}


def test_of_a_queue_that_nobody_describes_there_is_nothing_to_say():
    assert explain("q", [Source("near", None, {})]) == []
