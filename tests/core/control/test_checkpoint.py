"""The checkpoint contract: what is packed comes back, and nothing that an archive holds leaves the directory."""

from __future__ import annotations

import io
import os
import tarfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pilot_core.control import checkpoint
from pilot_core.errors import Code, PilotError
from pilot_core.model.files import Checkpoint, FileSpec, checkpoint_before
from pilot_core.model.job import Job
from pilot_core.model.payload import Outcome

PATHS = st.tuples(st.sampled_from(["", "d/", "d/e/"]), st.sampled_from(["a", "two words", "LEFT", "é"])).map("".join)
TREES = st.dictionaries(PATHS, st.binary(max_size=2000), min_size=1, max_size=5)


def asking(name="state.tgz", begun=False):
    before = FileSpec(lfn=checkpoint_before(name)) if begun else None
    return Job(id="1", outputs=(FileSpec(lfn="out"),), checkpoint=Checkpoint(file=FileSpec(lfn=name), before=before))


def saved(bench, files):
    for path, data in files.items():
        target = bench.workdir / "checkpoint" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)


def found(bench):
    root = bench.workdir / "checkpoint"
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=10)
@given(files=TREES, name=st.sampled_from(["s.tgz", "s.tar", "s.tar.xz"]))
def test_what_is_saved_is_there_in_the_next_attempt(bench, files, name):
    one, two = (type(bench)(_new(bench.root)) for _ in range(2))
    checkpoint.receive(one.task(asking(name)))
    saved(one, files)
    result = checkpoint.save(one.task(asking(name)))
    assert [error.code for error in result.errors] == [Code.CHECKPOINTED]
    assert [(file.lfn, file.always) for file in result.outputs] == [(name, True)]
    assert sorted(path.name for path in one.workdir.iterdir()) == ["checkpoint", name]
    (two.workdir / checkpoint_before(name)).write_bytes((one.workdir / name).read_bytes())
    checkpoint.receive(two.task(asking(name, begun=True)))
    assert found(two) == files
    assert [path.name for path in two.workdir.iterdir()] == ["checkpoint"]


def test_links_and_empty_folders_are_there_in_the_next_attempt(bench):
    """Found: both were lost, and a payload that had saved by a link did not find its state."""
    one, two = (type(bench)(_new(bench.root)) for _ in range(2))
    checkpoint.receive(one.task(asking()))
    folder = one.workdir / "checkpoint"
    (folder / "steps/5").mkdir(parents=True)
    (folder / "steps/empty").mkdir()
    (folder / "steps/5/state").write_bytes(b"five")
    links = {"latest": "steps/5", "steps/back": "../steps", "dangling": "steps/6", "up": "../out", "away": "/etc"}
    for name, target in {**links, "whole": str(folder / "steps/5")}.items():
        (folder / name).symlink_to(target)
    checkpoint.save(one.task(asking()))
    (two.workdir / checkpoint_before("state.tgz")).write_bytes((one.workdir / "state.tgz").read_bytes())
    checkpoint.receive(two.task(asking(begun=True)))
    there = two.workdir / "checkpoint"
    assert {str(path.relative_to(there)): os.readlink(path) for path in there.rglob("*") if path.is_symlink()} == {
        **{name: target for name, target in links.items() if name not in ("up", "away")},
        "whole": "steps/5",
    }
    assert (there / "latest/state").read_bytes() == b"five"
    assert list((there / "steps/empty").iterdir()) == []
    told = (there / "LEFT_OUT").read_text().splitlines()
    assert told == [f"{name}: it is a link out of the directory, to {links[name]}" for name in ("away", "up")]


def _new(root):
    folder = root / str(sum(1 for _ in root.iterdir()))
    folder.mkdir()
    return folder


def test_nothing_saved_is_a_failure_and_leaves_no_archive(bench):
    checkpoint.receive(bench.task(asking()))
    (bench.workdir / "checkpoint/empty").mkdir()
    result = checkpoint.save(bench.task(asking()))
    assert [error.code for error in result.errors] == [Code.PAYLOADEXECUTIONFAILURE]
    assert result.outputs is None
    assert bench.names() == ["checkpoint"]


def test_an_archive_that_means_badly_writes_nothing_outside(bench):
    outside = bench.root / "outside"
    outside.mkdir()
    with tarfile.open(bench.workdir / "before.state.tgz", "w:gz") as tar:
        link = tarfile.TarInfo("checkpoint/link")
        link.type, link.linkname = tarfile.SYMTYPE, str(outside)
        tar.addfile(link)
        for name in ("checkpoint/link/in", "checkpoint/plain"):
            entry = tarfile.TarInfo(name)
            entry.size = 2
            tar.addfile(entry, io.BytesIO(b"hi"))
    checkpoint.receive(bench.task(asking(begun=True)))
    assert found(bench) == {"link/in": b"hi", "plain": b"hi"}
    assert list(outside.iterdir()) == []


def test_links_that_lead_out_only_together_are_not_made(bench):
    (bench.root / "outside").write_text("theirs")
    with tarfile.open(bench.workdir / "before.state.tgz", "w:gz") as tar:
        for name, target in (("a/b/top", "../.."), ("out", "a/b/top/../../outside"), ("in", "a/b")):
            link = tarfile.TarInfo(f"checkpoint/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, target
            tar.addfile(link)
    checkpoint.receive(bench.task(asking(begun=True)))
    folder = bench.workdir / "checkpoint"
    assert {path.name for path in folder.rglob("*") if path.is_symlink()} == {"top", "in"}


@pytest.mark.parametrize("name", ["checkpoint/../../up", "checkpoint/../x"])
def test_a_path_that_leaves_the_directory_is_refused(bench, name):
    with tarfile.open(bench.workdir / "before.state.tgz", "w:gz") as tar:
        tar.addfile(tarfile.TarInfo(name))
    with pytest.raises(PilotError) as raised:
        checkpoint.receive(bench.task(asking(begun=True)))
    assert raised.value.code is Code.SETUPFAILURE
    assert sorted(path.name for path in bench.root.iterdir()) == ["PanDA_Pilot-1", "PanDA_Pilot-1.control"]


def test_a_damaged_checkpoint_is_said_before_the_payload_starts(bench):
    (bench.workdir / "before.state.tgz").write_bytes(b"\x1f\x8bno")
    with pytest.raises(PilotError) as raised:
        checkpoint.receive(bench.task(asking(begun=True)))
    assert raised.value.code is Code.SETUPFAILURE
    assert "before.state.tgz" in raised.value.detail


def test_only_who_asked_has_saved():
    assert checkpoint.is_saved(asking(), Outcome(exit_code=85))
    assert not checkpoint.is_saved(Job(id="1"), Outcome(exit_code=85))
    assert not checkpoint.is_saved(asking(), Outcome(exit_code=0))
