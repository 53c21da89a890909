"""The copy tool "xrootd" against real servers: what every copy tool must do, by the bindings and by the programs."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pilot_copytools.xrootd import Xrootd, XrootdOptions
from pilot_core.config.layers import Settings
from pilot_core.model.files import Replica
from pilot_core.testing.contracts.copytool import FetchContract, StoreContract
from pilot_core.testing.contracts.moving import FetchManyContract, LookContract, ResumeContract, StoreManyContract

from .faults import Fault, FaultyLine
from .places import OnXRootD, settings_of


class TestByBindings(OnXRootD, FetchManyContract, StoreManyContract, LookContract):
    def make_tool(self, _: Settings) -> Xrootd:
        return Xrootd(settings_of(XrootdOptions))


class TestByPrograms(OnXRootD, FetchManyContract, StoreManyContract, LookContract):
    def make_tool(self, _: Settings) -> Xrootd:
        return Xrootd(settings_of(XrootdOptions, bindings=False))


class TestWithoutRename(OnXRootD, FetchContract, StoreContract):
    def make_tool(self, _: Settings) -> Xrootd:
        return Xrootd(settings_of(XrootdOptions, rename=False))


class TestOverALineThatBreaks(OnXRootD, ResumeContract):
    @pytest.fixture(autouse=True)
    def _line(self, _folder: None, faulty: Callable[[int], FaultyLine]) -> None:
        self.line = faulty(self.server.port)

    def make_tool(self, _: Settings) -> Xrootd:
        return Xrootd(settings_of(XrootdOptions, connect_s=2, answer_s=4))

    def make_place(self, name: str) -> Replica:
        return Replica(super().make_place(name).url.replace(f":{self.server.port}/", f":{self.line.port}/"))

    def cut(self, replica: Replica, at_b: int) -> None:
        self.line.next(Fault.cut(at_b), Fault.refuse())
