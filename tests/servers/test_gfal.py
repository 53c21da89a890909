"""The copy tool "gfal" against real servers: what every copy tool must do, by the bindings and by the programs."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from pilot_copytools.gfal import Gfal, GfalOptions
from pilot_copytools.gfal.bindings import Bound
from pilot_core.config.layers import Settings
from pilot_core.testing.contracts.copytool import StoreContract
from pilot_core.testing.contracts.moving import LookContract

from .conftest import insist
from .install import missing
from .places import OnXRootD, settings_of

PACKAGES = Path("/usr/lib/python3/dist-packages")


@pytest.fixture(scope="class")
def bindings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Debian's bindings, without all else that lies beside them."""
    found = sorted(PACKAGES.glob("gfal2.*.so"))
    insist("" if found else "this machine has no gfal2 for Python: `python3 tests/servers/install.py` installs it")
    beside = tmp_path_factory.mktemp("packages")
    (beside / found[0].name).symlink_to(found[0])
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(beside)
        yield


@pytest.fixture(scope="class")
def programs() -> Iterator[None]:
    """Debian's programs start with the Python they are told of."""
    insist(missing("gfal-copy"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GFAL_PYTHONBIN", "/usr/bin/python3")
        yield


@pytest.mark.usefixtures("bindings")
class TestByBindings(OnXRootD, LookContract, StoreContract):
    def make_tool(self, _: Settings) -> Gfal:
        return Gfal(settings_of(GfalOptions))


@pytest.mark.usefixtures("bindings")
def test_the_library_leaves_no_signal_blocked():
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    Bound(settings_of(GfalOptions).of(GfalOptions), "in")
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before


@pytest.mark.usefixtures("programs")
class TestByPrograms(OnXRootD, LookContract, StoreContract):
    def make_tool(self, _: Settings) -> Gfal:
        return Gfal(settings_of(GfalOptions, bindings=False))
