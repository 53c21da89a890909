"""The log archive: what is in it, what never is, and what becomes of it when something is in the way."""

from __future__ import annotations

import errno
import os
import socket
import tarfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pilot_core.control import packing
from pilot_core.control.archive import JOB_NAME, USAGE_NAME, Archive
from pilot_core.control.entrusted import keep
from pilot_core.errors import Code, PilotError
from pilot_core.machine.events import Result
from pilot_core.model.files import FileSpec
from pilot_core.model.job import Job
from pilot_core.redact import Redactor

PREFIX = "tarball_PandaJob_1_q"


def job(name="job.log.tgz", **more):
    return Job(id="1", log=FileSpec(lfn=name), **more)


def archive(bench, asked=None, hooks=None, redactor=None, **more):
    limits = {key: more.pop(key) for key in ("largest_b",) if key in more}
    made = Archive(hooks or bench.hooks(), redactor or Redactor(), **limits)
    return made.archive(bench.task(asked or job(), **more))


def members(bench, name="job.log.tgz"):
    """What is in the archive beside the pilot's record of the job, which is always there."""
    with tarfile.open(bench.control / "archive" / name) as tar:
        found = {each.name.removeprefix(f"{PREFIX}/"): each for each in tar}
    del found[JOB_NAME]
    return found


def content(bench, path, name="job.log.tgz"):
    with tarfile.open(bench.control / "archive" / name) as tar:
        return tar.extractfile(f"{PREFIX}/{path}").read()


def test_it_holds_the_job_and_the_pilots_own_log(bench):
    """data:G-01"""
    (bench.workdir / "payload.stdout").write_text("hello")
    (bench.workdir / "sub").mkdir()
    (bench.workdir / "sub/two words é").write_bytes(b"x" * 100_000)
    (bench.control / "pilot.log").write_text("it began with hunter22\n")
    (bench.control / "journal").write_text("secret")
    assert archive(bench, redactor=Redactor(["hunter22"])) == Result()
    assert set(members(bench)) == {"payload.stdout", "sub/two words é", "pilotlog.txt"}
    assert content(bench, "payload.stdout") == b"hello"
    assert content(bench, "pilotlog.txt") == b"it began with ***\n"
    assert sorted(os.listdir(bench.control)) == ["archive", "journal", "pilot.log"]
    assert (bench.control / "archive").stat().st_mode & 0o777 == 0o700
    assert (bench.control / "archive/job.log.tgz").stat().st_mode & 0o777 == 0o600


def test_what_the_owner_entrusted_to_the_job_is_not_in_it(bench):
    """Not even if it could not be taken back."""
    keep(bench.control, {"secrets.json": "sesame"})
    (bench.workdir / "secrets.json").write_text("sesame")
    (bench.workdir / "payload.stdout").write_text("hello")
    archive(bench)
    assert set(members(bench)) == {"payload.stdout"}


def test_a_job_without_a_log_gets_none(bench):
    """pilot:I11, data:G-08"""
    assert archive(bench, Job(id="1")) == Result()
    assert os.listdir(bench.control) == []


@pytest.mark.parametrize(
    ("name", "begins"),
    [
        ("a.tgz", b"\x1f\x8b"),
        ("a.tar.gz", b"\x1f\x8b"),
        ("a.tar.bz2", b"BZh"),
        ("a.tar.xz", b"\xfd7zXZ"),
        ("a.tar", PREFIX.encode()),
        ("a.log", b"\x1f\x8b"),
    ],
)
def test_compression_follows_the_name(bench, name, begins):
    """pilot:I14"""
    (bench.workdir / "f").write_text("x")
    archive(bench, job(name))
    assert (bench.control / "archive" / name).read_bytes().startswith(begins)
    assert content(bench, "f", name) == b"x"


@pytest.mark.parametrize("name", ["a.tar.zst", "a.zip", "../a.tgz", "a/b.tgz", ".."])
def test_a_name_that_cannot_be_honoured_is_an_error(bench, name):
    with pytest.raises(PilotError) as raised:
        archive(bench, job(name))
    assert raised.value.code is Code.LOGFILECREATIONFAILURE
    assert name in raised.value.detail
    assert os.listdir(bench.control) == []


def test_inputs_outputs_and_parts_are_left_out(bench):
    for name in ("in.root", "out.root", "f", ".0123.part", ".hidden"):
        (bench.workdir / name).write_text("x")
    archive(bench, job(inputs=(FileSpec(lfn="in.root"),), outputs=(FileSpec(lfn="out.root"),)))
    assert set(members(bench)) == {"f", ".hidden"}


def test_nothing_outside_is_followed(bench):
    """pilot:I09, data:G-05"""
    (bench.root / "secret").write_text("secret")
    links = {
        "absolute": "/etc/passwd",
        "up": "../secret",
        "folder": "..",
        "round": "sub/../../secret",
        "inside": "sub/f",
        "nowhere": "missing",
        "sub/up": "../f",
    }
    (bench.workdir / "sub").mkdir()
    (bench.workdir / "sub/f").write_text("x")
    for name, target in links.items():
        (bench.workdir / name).symlink_to(target)
    archive(bench)
    found = members(bench)
    assert set(found) == {"sub/f", "sub/up", "inside", "nowhere", "LEFT_OUT"}
    assert all(found[name].issym() for name in ("inside", "nowhere", "sub/up"))
    told = content(bench, "LEFT_OUT").decode()
    assert all(f"{name}: it is a link out" in told for name in ("absolute", "up", "folder", "round"))


def test_what_is_no_file_is_left_out_and_does_not_block(bench):
    os.mkfifo(bench.workdir / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(bench.workdir / "socket"))
        (bench.workdir / "f").write_text("x")
        archive(bench)
    assert set(members(bench)) == {"f"}


def test_plugins_name_what_does_not_belong(bench):
    """pilot:I10"""
    for path in ("a.core", "sub/deep/b.core", "keep", "tree/x", "tree/y/z"):
        (bench.workdir / path).parent.mkdir(parents=True, exist_ok=True)
        (bench.workdir / path).write_text("x")
    outside = bench.root / "outside.core"
    outside.write_text("x")
    patterns = ["**/*.core", "tree", "/etc/*", "../*", "sub/../../*"]
    archive(bench, hooks=bench.hooks(pilot_log_select=lambda: patterns))
    assert set(members(bench)) == {"keep"}
    assert outside.exists()
    assert (bench.workdir / "a.core").exists()


def test_a_plugin_that_fails_costs_no_log(bench, caplog):
    (bench.workdir / "f").write_text("x")
    archive(bench, hooks=bench.hooks(pilot_log_select=lambda: 1 / 0))
    assert set(members(bench)) == {"f"}
    assert "plugin tester (pilot-tester 1.2) failed" in caplog.text


def test_of_what_is_too_large_the_end_is_kept(bench, monkeypatch):
    monkeypatch.setattr(packing, "TAIL_B", 10)
    (bench.workdir / "a").write_bytes(b"x" * 50)
    (bench.workdir / "large").write_bytes(b"y" * 100 + b"the end..")
    archive(bench, largest_b=100)
    assert set(members(bench)) == {"a", "large.tail", "LEFT_OUT"}
    assert content(bench, "large.tail") == b"ythe end.."
    assert b"large: it is too large (109 B)" in content(bench, "LEFT_OUT")


def test_files_may_shrink_grow_and_vanish(bench, monkeypatch):
    for name in ("grows", "shrinks", "vanishes", "zz"):
        (bench.workdir / name).write_bytes(b"x" * 50_000)
    true = packing.Packing._add_file

    def change(self, path, about):
        match path:
            case "shrinks":
                os.truncate(bench.workdir / path, 10)
            case "grows":
                (bench.workdir / path).write_bytes(b"x" * 90_000)
            case "vanishes":
                (bench.workdir / path).unlink()
        true(self, path, about)

    monkeypatch.setattr(packing.Packing, "_add_file", change)
    archive(bench)
    assert {name: each.size for name, each in members(bench).items()} == {
        "grows": 50_000,
        "shrinks": 50_000,
        "zz": 50_000,
    }
    assert content(bench, "shrinks") == b"x" * 10 + bytes(49_990)
    assert content(bench, "zz") == b"x" * 50_000


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux")
def test_a_full_disk_is_seen_and_leaves_nothing(bench, monkeypatch):
    """pilot:I08, data:G-03: the archive is written to a device that is always full."""
    (bench.workdir / "f").write_bytes(os.urandom(200_000))
    true = os.open

    def redirect(path, flags, *more, **named):
        return true("/dev/full", os.O_WRONLY) if str(path).endswith(".part") else true(path, flags, *more, **named)

    monkeypatch.setattr(packing.os, "open", redirect)
    with pytest.raises(PilotError) as raised:
        archive(bench)
    assert raised.value.code is Code.LOGFILECREATIONFAILURE
    assert os.strerror(errno.ENOSPC) in raised.value.detail
    assert os.listdir(bench.control / "archive") == []


@pytest.mark.parametrize("name", ["job.log.tgz", "job.log.tar.bz2", "job.log.tar.xz"])
def test_an_archive_that_cannot_be_read_back_is_refused(bench, monkeypatch, name):
    (bench.workdir / "f").write_bytes(os.urandom(200_000))
    true = packing.check_tar

    def damage(path, compression, entries):
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 255
        path.write_bytes(data)
        true(path, compression, entries)

    monkeypatch.setattr("pilot_core.control.archive.check_tar", damage)
    with pytest.raises(PilotError) as raised:
        archive(bench, job(name))
    assert raised.value.code is Code.LOGFILECREATIONFAILURE
    assert os.listdir(bench.control / "archive") == []


def test_one_that_takes_too_long_ends_itself(bench):
    """data:G-04"""
    (bench.workdir / "f").write_text("x")
    with pytest.raises(PilotError) as raised:
        archive(bench, budget_s=0.0)
    assert raised.value.code is Code.LOGCREATIONTIMEOUT
    bench.cancel.set()
    with pytest.raises(PilotError) as raised:
        archive(bench)
    assert raised.value.code is Code.LOGFILECREATIONFAILURE
    assert os.listdir(bench.control / "archive") == []


def test_a_pilot_that_recovers_keeps_a_finished_archive(bench):
    (bench.workdir / "f").write_text("x")
    archive(bench)
    (bench.workdir / "g").write_text("x")
    archive(bench, resumed=True)
    assert set(members(bench)) == {"f"}
    archive(bench)
    assert set(members(bench)) == {"f", "g"}


@pytest.mark.parametrize("name", ["journal", "lock", "pilot.log", "processes.jsonl", "final.json"])
def test_a_log_named_as_a_file_of_the_pilot_s_own_overwrites_nothing(bench, name):
    """Found: the archive replaced the journal; and a resumed pilot took the journal for the archive."""
    (bench.control / name).write_text("the pilot's")
    (bench.workdir / "f").write_text("x")
    archive(bench, job(name), resumed=True)
    assert (bench.control / name).read_text() == "the pilot's"
    assert "f" in members(bench, name)


def test_of_a_job_directory_that_is_gone_there_is_what_the_pilot_has(bench):
    (bench.control / "payload.stdout").write_text("said")
    bench.workdir.rmdir()
    archive(bench)
    assert content(bench, "payload.stdout") == b"said"
    bench.workdir.rename(bench.root / "moved")
    bench.workdir.write_text("no directory")
    archive(bench)
    assert "payload.stdout" not in members(bench)


def test_where_no_directory_can_be_is_an_error(bench):
    bench.workdir.rmdir()
    bench.workdir = bench.root / "gone" / bench.workdir.name
    with pytest.raises(PilotError) as raised:
        archive(bench)
    assert raised.value.code is Code.LOGFILECREATIONFAILURE


NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=40).filter(
    lambda name: name not in (".", "..") and not (name.startswith(".") and name.endswith(".part"))
)
RAW = st.binary(min_size=1, max_size=20).map(
    lambda raw: os.fsdecode(b"n" + raw.replace(b"/", b"_").replace(b"\0", b"_"))
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(files=st.dictionaries(NAMES | RAW, st.binary(max_size=2000), max_size=6))
def test_every_file_comes_back_as_it_was(bench, tmp_path_factory, files):
    bench = type(bench)(tmp_path_factory.mktemp("any"))
    own = ("pilotlog.txt", JOB_NAME, USAGE_NAME, "LEFT_OUT")
    kept = {name: data for name, data in files.items() if name not in own}
    for name, data in kept.items():
        (bench.workdir / name).write_bytes(data)
    archive(bench)
    with tarfile.open(bench.control / "archive/job.log.tgz") as tar:
        found = {each.name.removeprefix(f"{PREFIX}/"): tar.extractfile(each).read() for each in tar}
    assert {name: data for name, data in found.items() if name != JOB_NAME} == kept
