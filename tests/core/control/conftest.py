"""A job with its directories, and a copy tool that moves what a test puts into it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pilot_core.config.layers import Layer, Rank, Schema, Settings
from pilot_core.config.schema import CORE
from pilot_core.errors import PilotError
from pilot_core.io.cancel import CancelFlag
from pilot_core.io.checksum import Digest
from pilot_core.model.files import Checksum, FileSpec, Leaving, Receipt, Replica
from pilot_core.model.job import Job
from pilot_core.model.queue import Queue
from pilot_core.plugins.hooks import Hooks, Tier
from pilot_core.spec import reporting, staging
from pilot_core.spec.drivers import Fetches, FetchesMany, Found, Looks, Moved, Moving, Stores, StoresMany, Wanted
from pilot_core.spec.markers import hookimpl
from pilot_core.spec.work import Task


class Shelf(Fetches, Stores):
    """Holds contents by URL; ``trouble`` is raised, or called, when a URL is asked for, each as often as given."""

    name = "shelf"
    schemes = ("mem",)

    def __init__(self, name: str = "shelf") -> None:
        self.name = name  # type: ignore[misc]
        self.held: dict[str, bytes] = {}
        self.trouble: dict[str, list[Any]] = {}
        self.asked: Counter[str] = Counter()

    def put(self, url: str, content: bytes) -> Replica:
        self.held[url] = content
        return Replica(url)

    def _meet(self, url: str) -> None:
        self.asked[url] += 1
        trouble = self.trouble.get(url)
        if trouble:
            met = trouble.pop(0)
            if isinstance(met, BaseException):
                raise met
            met()

    def fetch(self, replica: Replica, target: Path, file: FileSpec, moving: Moving) -> Moved:
        target.write_bytes(self.held.get(replica.url, b""))
        self._meet(replica.url)
        return Moved(size_b=target.stat().st_size)

    def store(self, source: Path, replica: Replica, file: FileSpec, moving: Moving) -> Moved:
        self._meet(replica.url)
        self.held[replica.url] = source.read_bytes()
        return Moved(size_b=len(self.held[replica.url]))


class Crate(Shelf, FetchesMany, StoresMany, Looks):
    """A shelf whose files come many at a time; ``calls`` says which did."""

    def __init__(self, name: str = "crate") -> None:
        super().__init__(name)
        self.calls: list[list[str]] = []

    def fetch_many(self, wanted: Sequence[Wanted], moving: Moving) -> Iterator[tuple[Wanted, Moved | PilotError]]:
        self.calls.append([each.replica.url for each in wanted])
        for each in reversed(wanted):
            if moving.cancel.is_set():
                return
            yield each, self._answer(partial(self.fetch, each.replica, each.path, each.file, moving))

    def store_many(self, wanted: Sequence[Wanted], moving: Moving) -> Iterator[tuple[Wanted, Moved | PilotError]]:
        self.calls.append([each.replica.url for each in wanted])
        for each in reversed(wanted):
            if moving.cancel.is_set():
                return
            yield each, self._answer(partial(self.store, each.path, each.replica, each.file, moving))

    def look(self, replica: Replica, file: FileSpec, moving: Moving) -> Found | None:
        held = self.held.get(replica.url)
        if held is None:
            return None
        kind = file.checksum.kind if file.checksum else "adler32"
        digest = Digest([kind])
        digest.update(held)
        return Found(size_b=len(held), checksum=Checksum(kind, digest.hexdigests()[kind]))

    @staticmethod
    def _answer(move: Callable[[], Moved]) -> Moved | PilotError:
        try:
            return move()
        except PilotError as failed:
            return failed


class Bench:
    """One job's surroundings."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.workdir, self.control = root / "PanDA_Pilot-1", root / "PanDA_Pilot-1.control"
        self.workdir.mkdir()
        self.control.mkdir(mode=0o700)
        self.shelf = Shelf()
        self.cancel = CancelFlag()
        self.told: list[Receipt] = []
        self.journal: list[Leaving | Receipt] = []
        self.queue = Queue(name="q")

    def settings(self, **data: object) -> Settings:
        return Schema(CORE).merge(Layer(Rank.SITE, "the test", {"data": data}))

    def task(self, job: Job, *, budget_s: float | None = None, resumed: bool = False, **data: object) -> Task:
        return Task(
            job=job,
            queue=self.queue,
            settings=self.settings(**data),
            workdir=self.workdir,
            control=self.control,
            cancel=self.cancel,
            stored=self.stored,
            leaving=self.journal.extend,
            budget_s=budget_s,
            resumed=resumed,
        )

    def stored(self, receipt: Receipt) -> None:
        self.told.append(receipt)
        self.journal.append(receipt)

    def hooks(self, **impls: Callable[..., Any]) -> Hooks:
        hooks = Hooks(staging, reporting)
        marked = {name: hookimpl(impl) for name, impl in impls.items()}
        hooks.register(
            SimpleNamespace(**marked), "tester", tier=Tier.PLUGIN, distribution="pilot-tester", version="1.2"
        )
        hooks.seal()
        return hooks

    def names(self) -> list[str]:
        return sorted(path.name for path in self.workdir.iterdir())


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture
def crate() -> Crate:
    return Crate()


@pytest.fixture
def single() -> type[Shelf]:
    """A tool that looks, and moves one file at a time."""
    return type("Single", (Shelf, Looks), {"look": Crate.look})


@pytest.fixture
def make_bench() -> type[Bench]:
    return Bench
