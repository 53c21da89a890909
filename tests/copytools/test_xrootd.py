"""The copy tool "xrootd" without a server: arguments, recorded words and numbers, places."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from pilot_copytools import xrootd
from pilot_copytools._cli import Ended
from pilot_copytools._told import checked, part_of, shown
from pilot_copytools.xrootd import programs, words
from pilot_copytools.xrootd.settings import XrootdOptions, limit_variables
from pilot_core.errors import Code, PilotError
from pilot_core.model.files import Checksum, Replica

URL = "root://se.example.org:1094//data/a%20b?authz=secret"
RECORDED = [
    (
        54,
        "Run: [ERROR] Server responded with an error: [3011] Unable to open /none; no such file or directory (source)",
        Code.MISSINGINPUTFILE,
        Code.NOSUCHFILE,
    ),
    (
        54,
        "Run: [ERROR] Server responded with an error: [3009] Unable to write /big; no space left on device",
        Code.STAGEINFAILED,
        Code.NOREMOTESPACE,
    ),
    (
        54,
        "Run: [ERROR] Server responded with an error: [3010] Unable to create /d/f; permission denied (destination)",
        Code.STAGEINAUTHENTICATIONFAILURE,
        Code.STAGEOUTAUTHENTICATIONFAILURE,
    ),
    (
        54,
        "[ERROR] Server responded with an error: [3018] Unable to create /t/a; file exists",
        Code.FILEEXISTS,
        Code.FILEEXISTS,
    ),
    (
        52,
        "Run: [FATAL] Auth failed: No protocols left to try (destination)",
        Code.STAGEINAUTHENTICATIONFAILURE,
        Code.STAGEOUTAUTHENTICATIONFAILURE,
    ),
    (52, "Run: [ERROR] Operation expired: (destination)", Code.STAGEINTIMEOUT, Code.STAGEOUTTIMEOUT),
    (
        51,
        "Run: [FATAL] Socket error: connection reset by peer: (source)",
        Code.SERVICENOTAVAILABLE,
        Code.SERVICENOTAVAILABLE,
    ),
    (53, "Run: [ERROR] CheckSum error", Code.GETADMISMATCH, Code.PUTADMISMATCH),
    (54, "Run: [ERROR] Server responded with an error: [3005] something of its own", Code.XRDCPERROR, Code.XRDCPERROR),
    (50, "", Code.STAGEINFAILED, Code.STAGEOUTFAILED),
]


@pytest.mark.parametrize(("status", "said", "fetched", "stored"), RECORDED)
def test_what_the_programs_said(status, said, fetched, stored):
    ended = Ended("xrdcp", status, "", said)
    assert words.program_error("in", ended).code is fetched
    assert words.program_error("out", ended).code is stored


@pytest.mark.parametrize(
    ("code", "errno", "said", "fetched", "stored"),
    [
        (
            400,
            3011,
            "[ERROR] Server responded with an error: [3011] Unable to locate /none; no such file or directory\n",
            Code.MISSINGINPUTFILE,
            Code.NOSUCHFILE,
        ),
        (
            400,
            3009,
            "[ERROR] Server responded with an error: [3009] Unable to write /big; no space left on device\n",
            Code.STAGEINFAILED,
            Code.NOREMOTESPACE,
        ),
        (
            204,
            0,
            "[FATAL] Auth failed: No protocols left to try",
            Code.STAGEINAUTHENTICATIONFAILURE,
            Code.STAGEOUTAUTHENTICATIONFAILURE,
        ),
        (206, 0, "[ERROR] Operation expired", Code.STAGEINTIMEOUT, Code.STAGEOUTTIMEOUT),
        (101, 0, "[FATAL] Invalid address", Code.UNREACHABLENETWORK, Code.UNREACHABLENETWORK),
        (400, 3005, "[ERROR] Server responded with an error: [3005] of its own", Code.XRDCPERROR, Code.XRDCPERROR),
    ],
)
def test_what_the_bindings_said(code, errno, said, fetched, stored):
    status = SimpleNamespace(code=code, errno=errno, message=said)
    assert words.error_of("in", status, "root://a//b").code is fetched
    assert words.error_of("out", status, "root://a//b").code is stored


def test_arguments(tmp_path):
    assert programs.download(URL, tmp_path / "f") == ["xrdcp", "--nopbar", "--force", URL, str(tmp_path / "f")]
    assert programs.upload(7, URL, final=False) == ["xrdcp", "--nopbar", "--force", "/dev/fd/7", URL]
    assert programs.upload(7, URL, final=True) == ["xrdcp", "--nopbar", "--force", "--posc", "/dev/fd/7", URL]
    assert programs.question(URL, "stat", "/x") == ["xrdfs", "root://se.example.org:1094", "stat", "/x"]


def test_places():
    assert words.server_of(URL) == "root://se.example.org:1094"
    assert words.path_of(URL) == "/data/a%20b?authz=secret"
    assert words.path_of("root://host/relative") == "/relative"
    assert words.with_query("/a", "cks.type=md5") == "/a?cks.type=md5"
    assert words.with_query("/a?b=c", "cks.type=md5") == "/a?b=c&cks.type=md5"
    part = part_of(URL)
    assert part.startswith("root://se.example.org:1094//data/.")
    assert part.endswith(".part?authz=secret")
    assert shown(part).endswith(".part")
    with pytest.raises(PilotError, match="control character"):
        checked("root://host//a\nb")


@pytest.mark.parametrize(
    ("said", "kind", "read"),
    [
        ("adler32 0eeb7f17\x00", "adler32", Checksum("adler32", "0eeb7f17")),
        ("adler32 eeb7f17", "adler32", Checksum("adler32", "0eeb7f17")),
        ("md5 900150983cd24fb0d6963f7d28e17f72\n", "md5", Checksum("md5", "900150983cd24fb0d6963f7d28e17f72")),
        ("adler32 0eeb7f17", "md5", None),
        ("adler32 none", "adler32", None),
        ("", "adler32", None),
    ],
)
def test_a_servers_word_on_a_checksum(said, kind, read):
    assert words.read_checksum(said, kind) == read


def test_the_clients_own_patience_is_told_to_its_programs():
    told = limit_variables(XrootdOptions(connect_s=7, answer_s=33))
    assert told["XRD_CONNECTIONWINDOW"] == "7"
    assert told["XRD_REQUESTTIMEOUT"] == told["XRD_STREAMTIMEOUT"] == "33"
    assert told["XRD_CONNECTIONRETRY"] == "1"


def test_where_nothing_is_installed_it_says_what_to_do(monkeypatch):
    monkeypatch.setattr(xrootd.tool, "find_spec", lambda _: None)
    monkeypatch.setenv("PATH", "/nonexistent")
    assert "install pilot-copytools[xrootd]" in str(xrootd.Xrootd.probe())


def test_what_it_takes():
    assert {"root", "roots"} <= set(xrootd.Xrootd.schemes)
    assert Replica("davs://a/b").url.partition(":")[0] not in xrootd.Xrootd.schemes
