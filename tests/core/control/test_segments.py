"""Sealing what a payload says: no sealed byte is lost, whatever becomes of the file, and bounds hold."""

from __future__ import annotations

import json
import os
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pilot_core.control import segments as sealing
from pilot_core.control.archive import JOB_NAME, SEALED, Archive
from pilot_core.control.segments import Sealer, joined, segments
from pilot_core.model.files import FileSpec
from pilot_core.model.job import Job
from pilot_core.redact import Redactor

OUT = "payload.stdout"
MUCH_B = 1 << 30


def say(bench, data, name=OUT):
    with (bench.workdir / name).open("ab") as file:
        file.write(data)


def sealed(bench, name=OUT):
    return joined(segments(bench.control / SEALED)[name])


def sealer(bench, most_b=MUCH_B):
    return Sealer(bench.workdir, bench.control / SEALED, most_b)


def archived(bench):
    """What the archive holds beside the record of the job, and what that says of sealing."""
    archive = Archive(bench.hooks(), Redactor())
    result = archive.archive(bench.task(Job(id="1", log=FileSpec(lfn="job.log.tar"))))
    with tarfile.open(bench.control / "archive/job.log.tar") as tar:
        found = {entry.name.partition("/")[2]: tar.extractfile(entry).read() for entry in tar}
    record = json.loads(found.pop(JOB_NAME))["record"]
    assert record["notes"] == dict(result.notes)
    return found, record["notes"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=30)
@given(said=st.lists(st.tuples(st.binary(min_size=1, max_size=40), st.booleans()), max_size=12))
def test_what_is_sealed_is_what_was_said(bench, said):
    """Also where another pilot goes on with it."""
    with TemporaryDirectory(dir=bench.root) as root:
        one = type(bench)(Path(root))
        seals = sealer(one)
        for data, anew in said:
            say(one, data)
            seals = sealer(one) if anew else seals
            seals.seal()
            assert sealed(one) == (one.workdir / OUT).read_bytes()


def test_a_segment_that_is_full_stays_and_the_next_one_begins(bench, monkeypatch):
    monkeypatch.setattr(sealing, "SEGMENT_B", 10)
    seals = sealer(bench)
    for data in (b"0123456", b"789abc", b"d" * 25):
        say(bench, data)
        seals.seal()
    found = segments(bench.control / SEALED)[OUT]
    assert [(each.offset, each.size_b) for each in found] == [(0, 10), (10, 10), (20, 10), (30, 8)]
    assert joined(found) == (bench.workdir / OUT).read_bytes()
    assert len(os.listdir(bench.control / "sealed")) == 4
    assert {each.path.stat().st_mode & 0o777 for each in found} == {0o600}


def test_only_the_end_of_much_output_is_kept(bench, monkeypatch):
    monkeypatch.setattr(sealing, "SEGMENT_B", 10)
    seals = sealer(bench, most_b=30)
    for round_ in range(20):
        say(bench, b"%09d\n" % round_ * (5 if round_ == 7 else 1))
        seals.seal()
        kept = sealed(bench)
        assert (bench.workdir / OUT).read_bytes().endswith(kept)
        assert min(30, (bench.workdir / OUT).stat().st_size) <= len(kept) <= 40


def test_an_output_that_begins_anew_is_sealed_on(bench):
    seals = sealer(bench)
    say(bench, b"before, at length\n")
    seals.seal()
    os.truncate(bench.workdir / OUT, 0)
    say(bench, b"after\n")
    seals.seal()
    assert sealed(bench) == b"before, at length\nafter\n"


def test_a_pipe_in_place_of_the_output_seals_nothing_and_blocks_nobody(bench, caplog):
    os.mkfifo(bench.workdir / OUT)
    seals = sealer(bench)
    seals.seal()
    seals.seal()
    assert segments(bench.control / SEALED) == {}
    assert caplog.text.count("is not sealed") == 1


def test_of_two_segments_that_begin_alike_the_longer_one_counts(bench):
    """A crash between writing the new one and removing the old."""
    seals = sealer(bench)
    say(bench, b"one ")
    seals.seal()
    (old,) = segments(bench.control / SEALED)[OUT]
    data = old.path.read_bytes()
    say(bench, b"two")
    seals.seal()
    old.path.write_bytes(data)
    assert sealed(bench) == b"one two"


def test_damage_is_said_in_its_place(bench, monkeypatch):
    monkeypatch.setattr(sealing, "SEGMENT_B", 4)
    say(bench, b"aaaabbbbcccc")
    sealer(bench).seal()
    segments(bench.control / SEALED)[OUT][1].path.write_bytes(b"bxbb")
    assert sealed(bench) == b"aaaa\n[4 B are damaged]\ncccc"


def test_the_archive_says_how_far_the_output_is_sealed_and_needs_nothing_else(bench):
    say(bench, b"all is well\n")
    sealer(bench).seal()
    say(bench, b"and better\n")
    found, notes = archived(bench)
    assert found == {OUT: b"all is well\nand better\n"}
    stretch = notes["sealed"][OUT]
    assert (stretch["from_b"], stretch["to_b"]) == (0, 12)


def test_the_archive_has_what_was_sealed_of_an_output_that_is_damaged(bench):
    """As a node leaves it that lost its power: the size is right and the bytes are not."""
    say(bench, b"all is well\n")
    sealer(bench).seal()
    (bench.workdir / OUT).write_bytes(b"\0" * 12)
    found, _ = archived(bench)
    assert found == {OUT: b"\0" * 12, f"{OUT}.sealed": b"all is well\n"}


def test_a_payload_that_removes_its_own_directory_leaves_what_was_sealed(bench):
    say(bench, b"the last words\n")
    sealer(bench).seal()
    (bench.workdir / OUT).unlink()
    bench.workdir.rmdir()
    found, _ = archived(bench)
    assert found == {f"{OUT}.sealed": b"the last words\n"}
