"""The contracts of copy tools, kept by tools in memory that do all there is to do."""

from __future__ import annotations

from pathlib import Path

from pilot_core.errors import Code, PilotError
from pilot_core.io.checksum import Digest
from pilot_core.model.files import Checksum, Replica
from pilot_core.spec.drivers import FetchesMany, Found, Looks, Moved, StoresMany
from pilot_core.testing.contracts.moving import FetchManyContract, LookContract, ResumeContract, StoreManyContract
from pilot_core.testing.fakes import FakeCopyTool, Storage


class Everything(FakeCopyTool, FetchesMany, StoresMany, Looks):
    def fetch_many(self, wanted, moving):
        yield from ((each, answer(self.fetch, each.replica, each.path, each.file, moving)) for each in wanted)

    def store_many(self, wanted, moving):
        yield from ((each, answer(self.store, each.path, each.replica, each.file, moving)) for each in wanted)

    def look(self, replica, file, moving):
        content = self.storage.files.get(replica.url)
        if content is None:
            return None
        digest = Digest(["adler32"])
        digest.update(content)
        return Found(size_b=len(content), checksum=Checksum("adler32", digest.hexdigests()["adler32"]))


class Resuming(Everything):
    resumes = True
    cuts: dict[str, int] = {}  # noqa: RUF012 of one test's tool

    def fetch(self, replica, target, file, moving):
        begun = target.read_bytes() if moving.kept_b else b""
        content = self.storage.files.get(replica.url)
        if content is None:
            raise PilotError(Code.MISSINGINPUTFILE, f"{replica.url}: no such file")
        cut_b = self.cuts.pop(replica.url, None)
        if cut_b is not None:
            target.write_bytes(content[:cut_b])
            raise PilotError(Code.COMMUNICATIONFAILURE, "cut off")
        if moving.cancel.is_set():
            raise PilotError(Code.STAGEINTIMEOUT, "given up")
        moving.progress(len(content))
        if moving.cancel.is_set():
            raise PilotError(Code.STAGEINTIMEOUT, "given up")
        target.write_bytes(begun + content[len(begun) :])
        return Moved(size_b=len(content))


def answer(move, *given):
    try:
        return move(*given)
    except PilotError as failed:
        return failed


class TestEverything(FetchManyContract, StoreManyContract, LookContract):
    def make_tool(self, settings):
        return type("Own", (Everything,), {"storage": Storage()})(settings)

    def place(self, name: str) -> Replica:
        return Replica(f"kit://storage/{name}")

    def make_replica(self, name, content):
        if content is not None:
            self.tool.storage.files[self.place(name).url] = content
        return self.place(name)

    def make_place(self, name):
        return self.place(name)

    def read(self, place):
        return self.tool.storage.files.get(place.url)

    def names_stored(self):
        return [Path(url).name for url in self.tool.storage.files]


class TestResuming(ResumeContract):
    def make_tool(self, settings):
        return type("Own", (Resuming,), {"storage": Storage(), "cuts": {}})(settings)

    make_replica = TestEverything.make_replica
    place = TestEverything.place

    def cut(self, replica, at_b):
        self.tool.cuts[replica.url] = at_b
