"""What every copy tool must do.

Subclass ``FetchContract``, ``StoreContract`` or both, and answer what is abstract. What a tool cannot do is named in
``does_not_promise``, by the name of the test, which is then skipped by that name.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import pytest
from attrs import evolve

from pilot_core.config.layers import Schema, Settings
from pilot_core.config.schema import CORE
from pilot_core.control.data import DataControl
from pilot_core.control.limits import Limit
from pilot_core.errors import Code, PilotError, Stage
from pilot_core.io.cancel import CancelFlag
from pilot_core.io.checksum import BLOCK_B, Digest
from pilot_core.machine.events import Result
from pilot_core.model.files import Checksum, FileSpec, Receipt, Replica
from pilot_core.model.job import Job
from pilot_core.model.queue import Queue
from pilot_core.plugins.hooks import Hooks
from pilot_core.redact import Redactor
from pilot_core.spec import staging
from pilot_core.spec.drivers import CopyTool, Fetches, Moving, Stores
from pilot_core.spec.work import Task

NAMES = ("plain.root", "two words & 'more'.root", "données_測試.root", "100%41+#1?x=y.root", "$(id);`id`.root")
CONTENT = bytes(range(256)) * 37 + b"end"
LARGE = b"0123456789abcdef" * (BLOCK_B // 4)


def describe(name: str, content: bytes, *replicas: Replica, kind: str = "adler32") -> FileSpec:
    """The file with its true size and checksum."""
    digest = Digest([kind])
    digest.update(content)
    checksum = Checksum(kind, digest.hexdigests()[kind])
    return FileSpec(lfn=name, size_b=len(content), checksum=checksum, replicas=replicas)


class _Contract(ABC):
    __test__ = False
    does_not_promise: ClassVar[Sequence[str]] = ()

    def __init_subclass__(cls) -> None:
        """Whoever answers the questions is a test; another contract is not."""
        cls.__test__ = "make_tool" in vars(cls) or cls.__test__

    @abstractmethod
    def make_tool(self, settings: Settings) -> CopyTool:
        """The tool, made with the core's settings or with others."""

    @pytest.fixture(autouse=True)
    def _begin(self, tmp_path: Path, request: pytest.FixtureRequest) -> None:
        name = request.node.originalname
        if name in self.does_not_promise:
            pytest.skip(f"the tool does not promise {name}")
        self.here = tmp_path
        self.settings = Schema(CORE).merge()
        self.tool = self.make_tool(self.settings)
        self.workdir, self.control = tmp_path / "job", tmp_path / "job.control"
        self.workdir.mkdir()
        self.control.mkdir()

    def task(self, job: Job) -> Task:
        """A task for the controller that the tool works for."""
        return Task(
            job=job,
            queue=Queue(name="contract"),
            settings=self.settings,
            workdir=self.workdir,
            control=self.control,
            cancel=CancelFlag(),
            stored=self.told.append,
        )

    @property
    def told(self) -> list[Receipt]:
        """Receipts as they came."""
        return self.__dict__.setdefault("_told", [])  # type: ignore[no-any-return]

    def data_control(self) -> DataControl:
        """The controller with this tool alone."""
        hooks = Hooks(staging)
        hooks.seal()
        return DataControl(hooks, [self.tool], Redactor(), pause_s=0.0)

    def names_in_job(self) -> list[str]:
        """What is in the job's directory."""
        return sorted(os.listdir(self.workdir))


class FetchContract(_Contract):
    """For tools that fetch."""

    @abstractmethod
    def make_replica(self, name: str, content: bytes | None) -> Replica:
        """A place with this content, under this name; one where nothing is for ``None``."""

    def stage_in(self, *files: FileSpec) -> Result:
        """Let the controller bring these files."""
        return self.data_control().stage_in(self.task(Job(id="1", inputs=files)))

    def fetch(self, file: FileSpec, moving: Moving) -> None:
        """Call the tool itself; its target is where nothing is."""
        assert isinstance(self.tool, Fetches)
        self.tool.fetch(file.replicas[0], self.workdir / file.lfn, file, moving)

    @pytest.mark.parametrize("name", NAMES)
    def test_a_file_comes_whole_under_any_name(self, name: str) -> None:
        """data:T-02, data:T-04, data:I-03, data:I-05, data:I-06"""
        result = self.stage_in(describe(name, CONTENT, self.make_replica(name, CONTENT)))
        assert result.errors == ()
        assert (self.workdir / name).read_bytes() == CONTENT
        assert [receipt.size_b for receipt in result.receipts] == [len(CONTENT)]
        assert self.names_in_job() == [name]

    @pytest.mark.parametrize("kind", ["adler32", "md5", "sha256", "crc32c"])
    def test_every_kind_of_checksum_is_compared(self, kind: str) -> None:
        """data:T-05, data:B-03"""
        good = describe("good", CONTENT, self.make_replica("good", CONTENT), kind=kind)
        bad = describe("bad", CONTENT, self.make_replica("bad", CONTENT[:-1] + b"?"), kind=kind)
        result = self.stage_in(good, bad)
        assert [receipt.lfn for receipt in result.receipts] == ["good"]
        code = Code.GETMD5MISMATCH if kind == "md5" else Code.GETADMISMATCH
        assert [error.code for error in result.errors] == [code]
        assert self.names_in_job() == ["good"]

    def test_an_empty_file_comes(self) -> None:
        """data:T-03, data:B-14"""
        assert self.stage_in(describe("empty", b"", self.make_replica("empty", b""))).errors == ()
        assert (self.workdir / "empty").read_bytes() == b""

    def test_a_missing_file_is_named_and_another_place_is_tried(self) -> None:
        """data:T-11, data:B-05"""
        nowhere = self.make_replica("lost", None)
        alone = self.stage_in(describe("lost", CONTENT, nowhere))
        assert [error.code.stage for error in alone.errors] == [Stage.STAGE_IN]
        assert "lost" in alone.errors[0].detail
        assert self.names_in_job() == []
        found = self.stage_in(describe("lost", CONTENT, nowhere, self.make_replica("kept", CONTENT)))
        assert found.errors == ()
        assert self.names_in_job() == ["lost"]

    def test_a_file_that_ends_early_is_refused(self) -> None:
        """data:T-06"""
        whole = describe("short", CONTENT)
        short = self.make_replica("short", CONTENT[:100])
        result = self.stage_in(FileSpec(lfn="short", size_b=whole.size_b, replicas=(short,)))
        assert [error.code for error in result.errors] == [Code.GETADMISMATCH]
        assert "100" in result.errors[0].detail
        assert self.names_in_job() == []

    def test_a_cancelled_transfer_ends_and_leaves_nothing(self) -> None:
        """data:T-08"""
        file, flag = describe("large", LARGE, self.make_replica("large", LARGE)), CancelFlag()
        with pytest.raises(PilotError):
            self.fetch(file, Moving(cancel=flag, progress=lambda _: flag.set()))
        self.check_left(file, LARGE)

    def check_left(self, file: FileSpec, content: bytes) -> None:
        """Nothing of a file is left, or what a tool that resumes may leave: a beginning of it."""
        assert isinstance(self.tool, Fetches)
        left = self.names_in_job()
        assert left == [] or (self.tool.resumes and left == [file.lfn])
        assert all(content.startswith((self.workdir / name).read_bytes()) for name in left)

    def test_what_was_kept_of_an_earlier_try_is_gone_on_with(self) -> None:
        assert isinstance(self.tool, Fetches)
        kept_b = 1000 if self.tool.resumes else 0
        file = describe("large", LARGE, self.make_replica("large", LARGE))
        if kept_b:
            (self.workdir / "large").write_bytes(LARGE[:kept_b])
        moving = Moving(cancel=CancelFlag(), kept_b=kept_b)
        moved = self.tool.fetch(file.replicas[0], self.workdir / "large", file, moving)
        assert moved.size_b == len(LARGE)
        assert moved.checksum in (None, file.checksum)
        assert (self.workdir / "large").read_bytes() == LARGE

    def test_a_transfer_out_of_time_ends_and_leaves_nothing(self) -> None:
        file = describe("large", LARGE, self.make_replica("large", LARGE))
        with pytest.raises(PilotError):
            self.fetch(file, Moving(cancel=Limit(CancelFlag(), 0.0), budget_s=0.0))
        assert self.names_in_job() == []

    def test_progress_grows_to_the_size(self) -> None:
        """data:T-18"""
        seen: list[int] = []
        self.fetch(
            describe("large", LARGE, self.make_replica("large", LARGE)),
            Moving(cancel=CancelFlag(), progress=seen.append),
        )
        assert seen == sorted(seen)
        assert seen[-1] == len(LARGE)

    def test_a_signature_is_told_nobody(self, caplog: pytest.LogCaptureFixture) -> None:
        """data:T-20"""
        nowhere = self.make_replica("lost", None)
        signed = Replica(f"{nowhere.url}?Expires=9&sig=verysecretword", signed=True)
        with caplog.at_level(logging.DEBUG):
            result = self.stage_in(describe("lost", CONTENT, signed))
        assert len(result.errors) == 1
        assert "verysecretword" not in f"{result} {caplog.text}"

    def test_the_process_is_as_it_was(self) -> None:
        """data:T-21"""
        before = _process()
        self.stage_in(describe("a", CONTENT, self.make_replica("a", CONTENT)))
        assert _process() == before


class StoreContract(_Contract):
    """For tools that store."""

    @abstractmethod
    def make_place(self, name: str) -> Replica:
        """A place for a new file of this name."""

    @abstractmethod
    def read(self, place: Replica) -> bytes | None:
        """What is stored there, ``None`` for nothing."""

    @abstractmethod
    def names_stored(self) -> list[str]:
        """The names of everything in the storage, temporary files too."""

    def stage_out(self, name: str, content: bytes, place: Replica) -> Result:
        """Let the controller store this file."""
        (self.workdir / name).write_bytes(content)
        output = FileSpec(lfn=name, replicas=(place,))
        return self.data_control().stage_out(self.task(Job(id="1", outputs=(output,))))

    def store(self, content: bytes, file: FileSpec, moving: Moving) -> None:
        """Call the tool itself."""
        assert isinstance(self.tool, Stores)
        source = self.workdir / file.lfn
        source.write_bytes(content)
        self.tool.store(source, file.replicas[0], file, moving)

    @pytest.mark.parametrize("name", NAMES)
    def test_a_file_is_stored_whole_under_any_name(self, name: str) -> None:
        """data:T-02 (out), data:T-04 (out)"""
        place = self.make_place(name)
        result = self.stage_out(name, CONTENT, place)
        assert result.errors == ()
        assert self.read(place) == CONTENT
        assert [receipt.checksum for receipt in self.told] == [describe(name, CONTENT).checksum]
        assert len(self.names_stored()) == 1

    def test_an_empty_file_is_stored(self) -> None:
        place = self.make_place("empty")
        self.store(b"", describe("empty", b"", place), Moving(cancel=CancelFlag()))
        assert self.read(place) == b""

    def test_storing_again_does_no_harm(self) -> None:
        """data:D-11"""
        place = self.make_place("twice")
        for _ in range(2):
            assert self.stage_out("twice", CONTENT, place).errors == ()
        assert self.read(place) == CONTENT
        assert len(self.names_stored()) == 1

    def test_another_file_under_that_name_is_an_error_and_stays(self) -> None:
        """data:T-12, data:D-12"""
        place = self.make_place("taken")
        self.stage_out("taken", CONTENT, place)
        result = self.stage_out("taken", CONTENT[::-1], place)
        assert [error.code for error in result.errors] == [Code.FILEEXISTS]
        assert self.read(place) == CONTENT
        assert len(self.names_stored()) == 1

    def test_another_file_is_replaced_where_that_is_wanted(self) -> None:
        place = self.make_place("newer")
        for content in (CONTENT, CONTENT[::-1]):
            file = evolve(describe("newer", content, place), replace=True)
            self.store(content, file, Moving(cancel=CancelFlag()))
        assert self.read(place) == CONTENT[::-1]
        assert len(self.names_stored()) == 1

    def test_what_is_not_the_described_file_is_not_stored(self) -> None:
        place = self.make_place("changed")
        with pytest.raises(PilotError):
            self.store(CONTENT + b"?", describe("changed", CONTENT, place), Moving(cancel=CancelFlag()))
        assert self.names_stored() == []

    def test_a_missing_source_is_an_error(self) -> None:
        place = self.make_place("missing")
        assert isinstance(self.tool, Stores)
        with pytest.raises(PilotError):
            self.tool.store(
                self.workdir / "missing",
                place,
                describe("missing", CONTENT, place),
                Moving(cancel=CancelFlag()),
            )
        assert self.names_stored() == []

    def test_a_cancelled_store_ends_and_leaves_nothing(self) -> None:
        place, flag = self.make_place("large"), CancelFlag()
        with pytest.raises(PilotError):
            self.store(LARGE, describe("large", LARGE, place), Moving(cancel=flag, progress=lambda _: flag.set()))
        assert self.names_stored() == []

    def test_a_store_out_of_time_ends_and_leaves_nothing(self) -> None:
        place, over = self.make_place("large"), Limit(CancelFlag(), 0.0)
        with pytest.raises(PilotError):
            self.store(LARGE, describe("large", LARGE, place), Moving(cancel=over, budget_s=0.0))
        assert self.names_stored() == []


def _process() -> tuple[object, ...]:
    """What all threads share and no tool may change."""
    handlers = tuple(signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD))
    return os.getcwd(), dict(os.environ), handlers, socket.getdefaulttimeout()
