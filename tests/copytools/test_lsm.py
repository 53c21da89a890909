"""The copy tool "lsm" without a site: arguments, and what the movers leave with."""

from __future__ import annotations

import pytest

from pilot_copytools._cli import Ended
from pilot_copytools._storage import Known
from pilot_copytools.lsm import STATUSES, Lsm, check, get, put
from pilot_core.errors import Code, PilotError
from pilot_core.io.cancel import CancelFlag
from pilot_core.spec.drivers import Moving
from pilot_core.testing.contracts.copytool import CONTENT, describe


def test_arguments(tmp_path):
    source = tmp_path / "f"
    source.write_bytes(CONTENT)
    file = describe("f", CONTENT)
    known = Known(source, file, Moving(cancel=CancelFlag()))
    assert get("srm://h/f", source) == ["lsm-get", "srm://h/f", str(source)]
    about = ["--size", str(len(CONTENT)), "--checksum", str(file.checksum)]
    assert put(known, "srm://h/f", "") == ["lsm-put", *about, str(source), "srm://h/f"]
    assert put(known, "srm://h/f", "TOKEN") == ["lsm-put", *about, "-t", "TOKEN", str(source), "srm://h/f"]


def test_a_mover_is_told_of_adler32_whatever_the_job_knows(tmp_path):
    source = tmp_path / "f"
    source.write_bytes(CONTENT)
    known = Known(source, describe("f", CONTENT, kind="sha256"), Moving(cancel=CancelFlag()))
    assert str(describe("f", CONTENT).checksum) in put(known, "u", "")


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize(("direction", "place"), [("in", 0), ("out", 1)])
def test_each_status_has_its_code_and_the_movers_words(status, direction, place):
    with pytest.raises(PilotError, match=f"lsm left with {status}: as it says") as raised:
        check(Ended("lsm", status, "", "as it says"), direction)
    assert raised.value.code is STATUSES[status][place]


def test_of_other_statuses_the_words_are_the_story():
    with pytest.raises(PilotError) as raised:
        check(Ended("lsm-get", 201, "", "scp: No such file or directory"), "in")
    assert raised.value.code is Code.MISSINGINPUTFILE
    check(Ended("lsm-get", 0, "", "noise"), "in")


def test_where_a_site_has_no_movers_it_says_so(monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    assert "lsm-get and lsm-put not found on PATH" in str(Lsm.probe())
