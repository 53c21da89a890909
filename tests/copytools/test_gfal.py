"""The copy tool "gfal" without a storage: arguments, how places are written, and what is said when it is absent."""

from __future__ import annotations

import pytest

from pilot_copytools import gfal
from pilot_copytools._cli import Ended
from pilot_copytools.gfal import programs
from pilot_copytools.gfal.settings import seconds, spelled
from pilot_core.errors import Code
from pilot_core.io.cancel import CancelFlag
from pilot_core.spec.drivers import Moving


def test_arguments():
    limit = ["-t", "90", "-T", "90"]
    assert programs.copy("a", "b", 90) == ["gfal-copy", "--force", "--parent", *limit, "a", "b"]
    assert programs.question("gfal-sum", "u", "md5", limit_s=5) == ["gfal-sum", "-t", "5", "u", "md5"]


def test_escapes_reach_an_xrootd_as_they_stand():
    assert spelled("root://h//a%20b?x=%41") == "root://h//a%2520b?x=%41"
    assert spelled("davs://h/a%20b") == "davs://h/a%20b"


def test_no_call_has_no_time_at_all():
    flag = CancelFlag()
    assert [seconds(Moving(cancel=flag, budget_s=limit)) for limit in (None, 0.2, 61.9)] == [10800, 1, 61]


@pytest.mark.parametrize(
    ("status", "said", "code"),
    [
        (
            2,
            "gfal-stat error: 2 (No such file or directory) - Failed to stat file (No such file or directory)",
            Code.MISSINGINPUTFILE,
        ),
        (110, "gfal-copy error: 110 (Connection timed out) - TRANSFER Operation timed out", Code.STAGEINTIMEOUT),
        (28, "gfal-copy error: 28 (No space left on device)", Code.NOLOCALSPACE),
        (102, "gfal-stat error: 102 (Network dropped connection on reset)", Code.STAGEINFAILED),
    ],
)
def test_what_it_said(status, said, code):
    assert Ended("gfal-copy", status, "", said).error("in").code is code


def test_where_nothing_is_installed_it_says_what_to_do(monkeypatch):
    monkeypatch.setattr(gfal.tool, "find_spec", lambda _: None)
    monkeypatch.setenv("PATH", "/nonexistent")
    assert "install the site's packages gfal2-util" in str(gfal.Gfal.probe())
