"""What every copy tool has to stand between itself and a real server; the contracts' questions are answered already.

After each fault: no wrong file under a final name, nothing left behind, the right code, and the next place tried.
"""

from __future__ import annotations

import os
import subprocess
import threading
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from attrs import evolve

from pilot_core.config.layers import Layer, Rank, Schema
from pilot_core.config.schema import CORE
from pilot_core.errors import Code, ErrorCode
from pilot_core.machine.events import Result
from pilot_core.model.files import Checksum, FileSpec, Replica
from pilot_core.model.job import Job
from pilot_core.testing.contracts.copytool import FetchContract, StoreContract, describe

from .conftest import insist
from .daemon import Daemon, lacks_small_disk
from .faults import Fault, FaultyLine

LARGE = b"0123456789abcdef" * (1 << 18)
HALF_B = len(LARGE) // 2
SMALL_B = 1 << 20
LONG = LARGE * 8
"""More than all buffers on the way take, so that who sends it notices when nobody hears."""
CUT = (Code.STAGEINFAILED, Code.SERVICENOTAVAILABLE)


def quick(stall_s: float) -> Layer:
    """One round, and little patience."""
    return Layer(Rank.SITE, "the test", {"data": {"stall_s": stall_s, "attempts": 1}})


class FaultedFetch(FetchContract):
    """Inputs whose first place is behind a line with a fault."""

    line: FaultyLine
    stall_s = 0.5
    """How long this tool may be silent: one in a child of its own has to start, too."""

    @abstractmethod
    def behind(self, place: Replica) -> Replica:
        """The same place, by way of ``line``."""

    def stage_in_quickly(self, file: FileSpec) -> Result:
        """Bring it, once, with little patience for silence."""
        self.settings = Schema(CORE).merge(quick(self.stall_s))
        return self.stage_in(file)

    def fetch_with(self, fault: Fault, *further: Replica) -> Result:
        """Bring a file whose first place is faulty, and maybe there are others."""
        place = self.make_replica("a", LARGE)
        self.line.always(fault)
        result = self.stage_in_quickly(describe("a", LARGE, self.behind(place), *further))
        assert fault in self.line.met
        return result

    def check_second_place_serves(self, fault: Fault) -> None:
        result = self.fetch_with(fault, self.make_replica("again", LARGE))
        assert result.errors == ()
        assert (self.workdir / "a").read_bytes() == LARGE
        assert self.names_in_job() == ["a"]

    def check_fails(self, fault: Fault, codes: Sequence[ErrorCode]) -> None:
        result = self.fetch_with(fault)
        assert len(result.errors) == 1
        assert result.errors[0].code in codes
        assert self.names_in_job() == []

    def test_an_input_cut_off_comes_from_the_next_place(self) -> None:
        self.check_second_place_serves(Fault.cut(HALF_B))

    def test_an_input_cut_off_each_time_fails(self) -> None:
        self.check_fails(Fault.cut(1000), CUT)

    def test_an_input_cut_off_once_is_gone_on_with(self) -> None:
        place = self.make_replica("a", LARGE)
        self.line.next(Fault.cut(HALF_B))
        result = self.stage_in(describe("a", LARGE, self.behind(place)))
        assert result.errors == ()
        assert (self.workdir / "a").read_bytes() == LARGE

    def test_a_flipped_bit_is_seen_and_the_next_place_tried(self) -> None:
        self.check_second_place_serves(Fault.flip(HALF_B))

    def test_bits_that_flip_each_time_are_a_wrong_checksum(self) -> None:
        self.check_fails(Fault.flip(HALF_B), [Code.GETADMISMATCH])

    def test_a_silent_server_is_left_for_the_next_place(self) -> None:
        self.check_second_place_serves(Fault.hold(HALF_B))

    def test_a_server_that_is_silent_each_time_is_too_slow(self) -> None:
        self.check_fails(Fault.hold(HALF_B), [Code.STAGEINTIMEOUT])

    def test_a_wrong_checksum_in_the_catalogue_fails(self) -> None:
        file = evolve(describe("a", LARGE, self.make_replica("a", LARGE)), checksum=Checksum("adler32", "0badcafe"))
        result = self.stage_in(file)
        assert [error.code for error in result.errors] == [Code.GETADMISMATCH]
        assert self.names_in_job() == []

    def test_a_missing_first_replica_is_made_up_for(self) -> None:
        lost, kept = self.make_replica("lost", None), self.make_replica("kept", LARGE)
        result = self.stage_in(describe("a", LARGE, lost, kept))
        assert result.errors == ()
        assert [receipt.url for receipt in result.receipts] == [kept.url]

    def test_a_full_disk_here_is_told_and_left_empty(self, small_disk: Path) -> None:
        self.workdir = small_disk
        file = evolve(describe("a", LARGE, self.make_replica("a", LARGE)), size_b=None)
        result = self.stage_in(file)
        assert [error.code for error in result.errors] == [Code.NOLOCALSPACE]
        assert self.names_in_job() == []


class FaultedStore(StoreContract):
    """Outputs whose first place is behind a line with a fault."""

    line: FaultyLine
    stall_s = 0.5
    """How long this tool may be silent: one in a child of its own has to start, too."""

    @abstractmethod
    def behind(self, place: Replica) -> Replica:
        """The same place, by way of ``line``."""

    def store_quickly(self, *places: Replica, content: bytes = LARGE) -> Result:
        """Store a file in one of these, once, with little patience for silence."""
        self.settings = Schema(CORE).merge(quick(self.stall_s))
        (self.workdir / "a").write_bytes(content)
        output = FileSpec(lfn="a", replicas=places)
        return self.data_control().stage_out(self.task(Job(id="1", outputs=(output,))))

    def check_second_place_stores(self, fault: Fault, content: bytes = LARGE) -> None:
        first, second = self.make_place("first"), self.make_place("second")
        self.line.always(fault)
        result = self.store_quickly(self.behind(first), second, content=content)
        assert fault in self.line.met
        assert result.errors == ()
        assert [receipt.url for receipt in self.told] == [second.url]
        assert self.read(second) == content
        assert self.names_stored() == ["second"]

    def test_an_output_cut_off_goes_to_the_next_place(self) -> None:
        self.check_second_place_stores(Fault.cut(HALF_B, up=True))

    def test_an_output_with_a_flipped_bit_goes_to_the_next_place(self) -> None:
        self.check_second_place_stores(Fault.flip(HALF_B, up=True))

    def test_an_output_that_no_server_hears_goes_to_the_next_place(self) -> None:
        self.check_second_place_stores(Fault.hold(HALF_B, up=True), LONG)

    def test_bits_that_flip_each_time_store_nothing(self) -> None:
        self.line.always(Fault.flip(HALF_B, up=True))
        result = self.store_quickly(self.behind(self.make_place("a")))
        assert [error.code for error in result.errors] == [Code.PUTADMISMATCH]
        assert self.names_stored() == []


def killing(line: FaultyLine, daemon: Daemon, during: Callable[[], Result]) -> Result:
    """Do something, in the midst of which a server is killed; its line is held by then."""

    def kill() -> None:
        line.await_hold()
        daemon.kill()
        line.let_go()

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        return during()
    finally:
        thread.join()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A directory with little room, here."""
    insist(lacks_small_disk())
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SMALL_B}", "small", folder], check=True)
    yield folder
    subprocess.run(["umount", folder], check=True)
    os.rmdir(folder)
