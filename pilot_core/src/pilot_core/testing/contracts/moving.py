"""What copy tools must do that do more than move one file at a time: inherit what your tool is beside its contract."""

from __future__ import annotations

from abc import abstractmethod
from contextlib import suppress

from pilot_core.errors import PilotError
from pilot_core.io.cancel import CancelFlag
from pilot_core.model.files import FileSpec, Replica
from pilot_core.model.job import Job
from pilot_core.spec.drivers import Fetches, FetchesMany, Found, Looks, Moved, Moving, StoresMany, Wanted
from pilot_core.testing.contracts.copytool import CONTENT, FetchContract, StoreContract, describe

MANY = ("first", "two words & 'more'", "données", "$(id);`id`")


def _moving() -> Moving:
    return Moving(cancel=CancelFlag())


class FetchManyContract(FetchContract):
    """For tools that fetch many files in one call."""

    def many(self, *files: FileSpec) -> list[tuple[Wanted, Moved | PilotError]]:
        """Call the tool itself."""
        assert isinstance(self.tool, FetchesMany)
        wanted = [Wanted(file.replicas[0], self.workdir / file.lfn, file) for file in files]
        return list(self.tool.fetch_many(wanted, _moving()))

    def some(self) -> list[FileSpec]:
        """Files that are there, under all kinds of names."""
        contents = [name.encode() * 99 for name in MANY]
        return [
            describe(name, content, self.make_replica(name, content))
            for name, content in zip(MANY, contents, strict=True)
        ]

    def test_many_come_in_one_call(self) -> None:
        files = self.some()
        answers = self.many(*files)
        assert sorted(wanted.file.lfn for wanted, _ in answers) == sorted(MANY)
        assert {wanted.file.lfn: answer.size_b for wanted, answer in answers if isinstance(answer, Moved)} == {
            file.lfn: file.size_b for file in files
        }
        assert self.names_in_job() == sorted(MANY)

    def test_a_bad_one_of_many_fails_alone(self) -> None:
        """data:T-19"""
        lost = describe("lost", CONTENT, self.make_replica("lost", None))
        good, *more = self.some()
        answers = self.many(good, lost, *more)
        failed = [wanted.file.lfn for wanted, answer in answers if isinstance(answer, PilotError)]
        moved = [wanted.file.lfn for wanted, answer in answers if isinstance(answer, Moved)]
        assert failed in (["lost"], [])
        assert sorted(moved) == self.names_in_job() == sorted(MANY)

    def test_the_controller_brings_many(self) -> None:
        lost = describe("lost", CONTENT, self.make_replica("lost", None))
        result = self.stage_in(lost, *self.some())
        assert sorted(receipt.lfn for receipt in result.receipts) == self.names_in_job() == sorted(MANY)
        assert ["lost" in error.detail for error in result.errors] == [True]


class StoreManyContract(StoreContract):
    """For tools that store many files in one call."""

    def test_many_are_stored_in_one_call(self) -> None:
        assert isinstance(self.tool, StoresMany)
        wanted = []
        for name in MANY:
            (self.workdir / name).write_bytes(name.encode())
            place = self.make_place(name)
            wanted.append(Wanted(place, self.workdir / name, describe(name, name.encode(), place)))
        answers = dict(self.tool.store_many(wanted, _moving()))
        assert [each for each in wanted if not isinstance(answers.get(each), Moved)] == []
        assert [self.read(each.replica) for each in wanted] == [name.encode() for name in MANY]
        assert len(self.names_stored()) == len(MANY)

    def test_one_of_many_that_is_not_as_described_is_not_stored(self) -> None:
        assert isinstance(self.tool, StoresMany)
        wanted = []
        for name in ("good", "changed"):
            (self.workdir / name).write_bytes(CONTENT)
            place = self.make_place(name)
            wanted.append(
                Wanted(place, self.workdir / name, describe(name, CONTENT[: 100 if name == "changed" else None], place))
            )
        answers = dict(self.tool.store_many(wanted, _moving()))
        assert isinstance(answers[wanted[0]], Moved)
        assert not isinstance(answers.get(wanted[1]), Moved)
        assert len(self.names_stored()) == 1

    def test_the_controller_stores_many(self) -> None:
        outputs = []
        for name in MANY:
            (self.workdir / name).write_bytes(name.encode())
            outputs.append(FileSpec(lfn=name, replicas=(self.make_place(name),)))
        result = self.data_control().stage_out(self.task(Job(id="1", outputs=tuple(outputs))))
        assert result.errors == ()
        assert sorted(receipt.lfn for receipt in self.told) == sorted(MANY)


class LookContract(FetchContract):
    """For tools that tell what lies in storage."""

    def look(self, file: FileSpec) -> Found | None:
        """Ask the tool itself."""
        assert isinstance(self.tool, Looks)
        return self.tool.look(file.replicas[0], file, _moving())

    def test_what_lies_there_is_told(self) -> None:
        file = describe("there", CONTENT, self.make_replica("there", CONTENT))
        found = self.look(file)
        assert found is not None
        assert found.size_b == len(CONTENT)
        assert found.checksum in (None, file.checksum)

    def test_an_empty_file_is_not_nothing(self) -> None:
        found = self.look(describe("empty", b"", self.make_replica("empty", b"")))
        assert found is not None
        assert found.size_b == 0

    def test_nothing_is_told_of_nothing(self) -> None:
        assert self.look(describe("lost", CONTENT, self.make_replica("lost", None))) is None


class ResumeContract(FetchContract):
    """For tools that go on with what an earlier try left."""

    @abstractmethod
    def cut(self, replica: Replica, at_b: int) -> None:
        """Have the next transfer of this file end after so many bytes."""

    def test_a_tool_goes_on_with_what_it_left(self) -> None:
        assert isinstance(self.tool, Fetches)
        assert self.tool.resumes
        file = describe("large", CONTENT, self.make_replica("large", CONTENT))
        self.cut(file.replicas[0], len(CONTENT) // 2)
        result = self.stage_in(file)
        assert result.errors == ()
        assert (self.workdir / "large").read_bytes() == CONTENT
        assert self.names_in_job() == ["large"]

    def test_a_beginning_that_is_not_the_files_is_found_out(self) -> None:
        assert isinstance(self.tool, Fetches)
        file = describe("large", CONTENT, self.make_replica("large", CONTENT))
        target = self.workdir / "large"
        target.write_bytes(b"?" * 100)
        with suppress(PilotError):
            moved = self.tool.fetch(file.replicas[0], target, file, Moving(cancel=CancelFlag(), kept_b=100))
            assert target.read_bytes() == CONTENT or not (moved.summed and moved.checksum == file.checksum)
