"""The kit's copy tool is one like any other."""

from __future__ import annotations

from pilot_core.model.files import Replica
from pilot_core.testing.contracts.copytool import FetchContract, StoreContract
from pilot_core.testing.fakes import FakeCopyTool, Storage, url_of


class TestFakeCopyTool(FetchContract, StoreContract):
    def make_tool(self, settings):
        self.storage = Storage()
        return type("Tool", (FakeCopyTool,), {"storage": self.storage})(settings)

    def make_replica(self, name, content):
        place = self.make_place(name)
        if content is not None:
            self.storage.files[place.url] = content
        return place

    def make_place(self, name):
        return Replica(url_of(name))

    def read(self, place):
        return self.storage.files.get(place.url)

    def names_stored(self):
        return sorted(self.storage.files)
