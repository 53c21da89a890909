"""The journal's promise: what a job's pilot knows is on the disk before anything of the job leaves the node."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from pilot_core.testing import PilotKit, a_job
from pilot_core.testing.fakes import FakeCopyTool, KitCommunicator, Payload


class Disk:
    """What a crash of the node would have left, as far as anybody asked the disk to keep it."""

    def __init__(self, monkeypatch):
        self.journal: Path | None = None
        self.kept, self.inodes, self.names = b"", set(), {}
        self.letter_is_safe = False
        self.moments: list[tuple[str, bytes, bytes]] = []
        for name in ("fsync", "fdatasync"):
            monkeypatch.setattr(os, name, self._recording(getattr(os, name)))

    def _recording(self, sync):
        def record(fd):
            path = Path(os.readlink(f"/proc/self/fd/{fd}"))
            told = path.read_bytes() if path.name == "journal" else b""
            sync(fd)
            self.inodes.add(os.fstat(fd).st_ino)
            if path.is_dir():
                self.names[path] = set(os.listdir(fd))
            elif told:
                self.journal, self.kept = path, told.rstrip(b"\0")

        return record

    def leaves(self, what):
        """Something of the job leaves the node: what is told of it by now, and what of that the disk has."""
        assert self.journal is not None
        self.moments.append((what, self.kept, self.journal.read_bytes()))


@pytest.fixture
def disk(monkeypatch):
    disk = Disk(monkeypatch)
    store, send = FakeCopyTool.store, KitCommunicator.send

    def stored(self, source, *rest):
        disk.leaves(f"store {source.name}")
        return store(self, source, *rest)

    def sent(self, letter):
        if letter.final:
            disk.leaves("send")
            final = disk.journal.with_name("final.json")
            disk.letter_is_safe = final.stat().st_ino in disk.inodes and final.name in disk.names[final.parent]
        return send(self, letter)

    monkeypatch.setattr(FakeCopyTool, "store", stored)
    monkeypatch.setattr(KitCommunicator, "send", sent)
    return disk


def works(told):
    """How many pieces of work have come to their end."""
    return told.count(b'"WorkDone"') + told.count(b'"WorkFailed"')


def test_every_end_of_work_is_on_the_disk_before_an_output_or_the_last_word_leaves(disk, tmp_path):
    kit = PilotKit(tmp=tmp_path, outcome=Payload(files={"out.txt": b"made"}))
    run = kit.run(a_job(outputs=["out.txt"], log=True))
    assert run.job.verdict == "finished", run.story()
    assert [what for what, _, _ in disk.moments] == ["store out.txt", "store 1.log.tar.gz", "send"]
    (_, stored_kept, stored_told), _, (_, sent_kept, sent_told) = disk.moments
    assert works(stored_kept) == works(stored_told) > 0
    assert works(sent_kept) == works(sent_told) > works(stored_told)
    assert b'"FileStored"' in sent_kept, "what was stored is known"
    assert disk.letter_is_safe, "the last word is on the disk before it is sent"


def test_what_an_output_is_and_where_it_goes_is_on_the_disk_before_it_leaves(disk, tmp_path):
    kit = PilotKit(tmp=tmp_path, outcome=Payload(files={"one": b"made", "two": b"also made"}))
    assert kit.run(a_job(outputs=["one", "two"])).job.verdict == "finished"
    (_, kept, _), *_ = disk.moments
    (told,) = [json.loads(line[9:]) for line in kept.splitlines() if b'"FilesLeaving"' in line]
    known = {each["file"]["lfn"]: (each["file"]["size_b"], each["place"]) for each in told["files"]}
    assert known == {"one": (4, "kit://one"), "two": (9, "kit://two")}
    assert all(each["file"]["checksum"]["kind"] == "adler32" for each in told["files"])


def test_a_job_is_on_the_disk_before_anything_is_done_for_it(disk, tmp_path):
    kept: list[bytes] = []

    kit = PilotKit(tmp=tmp_path, outcome=Payload(does=lambda *_: kept.append(disk.kept)))
    kit.run(a_job())
    (before_payload,) = kept
    assert b'"Accepted"' in before_payload
