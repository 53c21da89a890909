"""A grid queue with its storages and its neighbour's, and a queue in a cloud, read as the pilot reads them."""

from __future__ import annotations

import pytest

from pilot_core.builtin.places import PlacesOptions
from pilot_core.config.layers import Layer, Rank, Schema
from pilot_core.config.schema import CORE
from pilot_core.infosys.facts import Told
from pilot_core.infosys.queue import queue_of
from pilot_core.infosys.storage import Storages
from pilot_core.model.change import evolve
from pilot_core.spec.drivers import InfoSource

ROOT = {"endpoint": "root://se.example.org:1094", "path": "//pnfs/data/"}
DAVS = {"endpoint": "davs://se.example.org:443", "path": "/data/"}
SCRATCH = {"endpoint": "davs://se.example.org:443", "path": "/scratch/"}
NEIGHBOUR = {"endpoint": "davs://dav.example.net:443", "path": "/data/"}
BUCKET = {"endpoint": "s3://os.example.org:443/", "path": "/bucket"}


def endpoint(*, hashed=True, kind="DATADISK", **protocols):
    return {"type": kind, "is_deterministic": hashed, "arprotocols": protocols}


STORAGES = {
    "DATA": endpoint(read_lan=[ROOT, DAVS], read_wan=[DAVS], write_lan=[DAVS, ROOT], write_wan=[DAVS]),
    "SCRATCH": endpoint(read_lan=[SCRATCH], write_lan=[SCRATCH], write_wan=[SCRATCH]),
    "FAR": endpoint(read_wan=[NEIGHBOUR], write_lan=[{**NEIGHBOUR, "path": "/inside/"}], write_wan=[NEIGHBOUR]),
    "OBJECTS": endpoint(hashed=False, kind="OS_LOGS", write_wan=[BUCKET], read_wan=[BUCKET]),
    "CATALOGUED": endpoint(hashed=False, write_wan=[NEIGHBOUR], read_wan=[NEIGHBOUR]),
    "DISK": endpoint(read_lan=[{"endpoint": "file://", "path": "/disk/"}]),
    "PLAIN": endpoint(hashed=None, write_lan=[{"endpoint": "file://", "path": "/disk/"}], read_lan=[SCRATCH]),
}
GRID = {
    "type": "unified",
    "catchall": "nopenfiles=4 allow_wan_for_lib",
    "allow_lan": True,
    "allow_wan": True,
    "acopytools": {"read_lan": ["browser", "runner"], "write_lan": ["browser"], "pl": ["logger"]},
    "acopytools_schemas": {"read_lan": {"runner": ["root"], "default": ["davs", "root"]}},
    "astorages": {
        "read_lan": ["DATA", "SCRATCH"],
        "write_lan": ["DATA", "SCRATCH", "FAR"],
        "write_lan_analysis": ["SCRATCH", "FAR"],
        "pl": ["OBJECTS"],
    },
}


class Source(InfoSource):
    name = "made"

    def __init__(self):
        pass

    def queue(self, name):
        return None

    def storage(self, name):
        return STORAGES.get(name)


@pytest.fixture
def queue():
    """``queue(allow_wan=False)``: the grid queue, with other facts; one that is ``None`` is not told."""

    def build(**facts):
        told = {name: value for name, value in {**GRID, **facts}.items() if value is not None}
        return evolve(queue_of("q", Told(told, {}, ())), storages=Storages([Source()]))

    return build


@pytest.fixture
def settings():
    def merge(**places):
        output_dir = places.pop("output_dir", "")
        layer = Layer(Rank.SITE, "the test", {"places": places, "data": {"output_dir": output_dir}})
        return Schema((*CORE, PlacesOptions)).merge(layer)

    return merge
