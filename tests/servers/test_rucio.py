"""The copy tool "rucio" against real storages of a real Rucio: what every copy tool must do."""

from __future__ import annotations

import pytest

pytest.importorskip("rucio", reason="needs pilot-copytools[rucio]")

from pilot_copytools.rucio.tool import Rucio
from pilot_core.config.layers import Settings
from pilot_core.control.isolated import run_tool
from pilot_core.errors import Code, PilotError
from pilot_core.io.cancel import CancelFlag
from pilot_core.spec.drivers import Moving
from pilot_core.testing.contracts.copytool import CONTENT, FetchContract, StoreContract, describe
from pilot_core.testing.contracts.moving import FetchManyContract, LookContract, StoreManyContract

from .rucio_storage import InStorage, options
from .test_gfal import bindings  # noqa: F401


class TestOnXRootD(InStorage, FetchManyContract, StoreManyContract, LookContract):
    """By the protocol that runs XRootD's programs."""

    storage = "XRD"

    def make_tool(self, _: Settings) -> Rucio:
        return self.tool_here()


@pytest.mark.usefixtures("bindings")
class TestOnSecuredXRootD(InStorage, FetchManyContract, StoreManyContract, LookContract):
    """By the protocol that goes by gfal's bindings, over https with a proxy."""

    storage = "SEC"
    does_not_promise = ("test_a_file_comes_whole_under_any_name",)  # by https XRootD reads escapes twice

    def make_tool(self, _: Settings) -> Rucio:
        return self.tool_here()


@pytest.mark.usefixtures("bindings")
class TestOnWebDav(InStorage, FetchContract, StoreContract):
    """A storage that tells no checksums: what was stored is read back."""

    storage = "DAV"

    def make_tool(self, _: Settings) -> Rucio:
        return self.tool_here()


@pytest.mark.usefixtures("bindings")
class TestExpired(InStorage):
    storage = "SEC"

    def test_a_proxy_that_has_expired_opens_no_storage(self, tmp_path):
        """data:T-13 (by the protocols of Rucio)"""
        tool = Rucio(options(self.rucio, self.pki, tmp_path, proxy=str(self.pki.expired_proxy)))
        target, place = tmp_path / "f", self.make_replica("f", CONTENT)
        moving = Moving(cancel=CancelFlag(), budget_s=60)
        with pytest.raises(PilotError) as raised:
            run_tool(tool, "fetch", target, place, describe("f", CONTENT, place), moving, Code.STAGEINTIMEOUT)
        assert raised.value.code in (Code.STAGEINAUTHENTICATIONFAILURE, Code.NOPROXY, Code.SERVICENOTAVAILABLE)
        assert not target.exists()
