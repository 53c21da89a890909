"""The copy tool "lsm" with movers as sites write them: shell scripts around xrdcp, to a real server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pilot_copytools.lsm import Lsm, LsmOptions
from pilot_core.config.layers import Settings
from pilot_core.errors import Code, PilotError
from pilot_core.io.cancel import CancelFlag
from pilot_core.spec.drivers import Moving
from pilot_core.testing.contracts.copytool import CONTENT, FetchContract, StoreContract, describe

from .conftest import insist
from .install import missing
from .places import OnXRootD, settings_of

GET = """#!/bin/bash
xrdcp --nopbar --silent "$1" "$2" || exit 201
"""
PUT = """#!/bin/bash
while [ $# -gt 2 ]; do
    case "$1" in
        --size) size=$2 ;;
        --checksum) sum=${2#adler32:} ;;
        --guid | -t) ;;
        *) exit 203 ;;
    esac
    shift 2
done
server=${2%%//data/*}
[ "$server" = "$2" ] && server=$(echo "$2" | cut -d/ -f1-3)
path=/${2#"$server"/}
there() { xrdfs "$server" query checksum "$path" 2>&1; }
case "$(there)" in
    *"$sum") exit 212 ;;
    adler32*) exit 211 ;;
esac
[ "$(stat -c %s "$1")" = "$size" ] || exit 209
exec 3<"$1"
xrdcp --nopbar --silent /dev/fd/3 "$2" || exit 201
case "$(there)" in
    *"$sum") ;;
    *) xrdfs "$server" rm "$path"; exit 205 ;;
esac
"""


@pytest.fixture(scope="class")
def movers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The site's movers, where a site has them: on the PATH."""
    insist(missing("xrdcp", "bash"))
    site = tmp_path_factory.mktemp("site")
    for name, text in (("lsm-get", GET), ("lsm-put", PUT)):
        (site / name).write_text(text)
        (site / name).chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(site), prepend=":")
        yield


@pytest.mark.usefixtures("movers")
class TestBySiteMovers(OnXRootD, FetchContract, StoreContract):
    does_not_promise = (
        "test_another_file_is_replaced_where_that_is_wanted",
        "test_a_cancelled_store_ends_and_leaves_nothing",
    )

    def make_tool(self, _: Settings) -> Lsm:
        return Lsm(settings_of(LsmOptions))

    def test_what_the_mover_finds_wrong_is_an_error_of_its_kind(self) -> None:
        place = self.make_place("changed")
        with pytest.raises(PilotError) as raised:
            self.store(CONTENT[::-1], describe("changed", CONTENT, place), Moving(cancel=CancelFlag()))
        assert raised.value.code is Code.PUTADMISMATCH
        assert raised.value.facts["status"] == 205
        assert self.names_stored() == []

    def test_nothing_of_the_names_is_read_by_the_shell(self, tmp_path: Path) -> None:
        name = f"a;touch {tmp_path.name}.touched;b"
        assert self.stage_out(name, CONTENT, self.make_place(name)).errors == ()
        assert not list(Path.cwd().glob("*.touched"))
