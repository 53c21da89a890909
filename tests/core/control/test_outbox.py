"""Letters that must not be lost: on the disk before anybody goes by them, delivered once, each by its own sender."""

from __future__ import annotations

import os

import pytest
from attrs import evolve

from pilot_core.agent.inherit import Inheritance
from pilot_core.control.outbox import Delivery, deliver_outbox, put_letter, read_letter, write_letter
from pilot_core.errors import Code, PilotError
from pilot_core.io.files import Lock
from pilot_core.spec.drivers import Letter, Reply

LETTER = Letter(communicator="box", job="1", attempt=1, final=True, body={"state": "finished"})


@pytest.fixture
def synced(monkeypatch):
    """The inodes that were brought to the disk, and of directories what they held then."""
    seen: dict[int, list[str]] = {}
    fsync = os.fsync

    def record(fd):
        fsync(fd)
        seen[os.fstat(fd).st_ino] = os.listdir(fd) if os.path.isdir(f"/proc/self/fd/{fd}") else []

    monkeypatch.setattr(os, "fsync", record)
    return seen


def test_a_letter_is_on_the_disk_when_it_is_written(tmp_path, synced):
    write_letter(tmp_path / "final.json", LETTER)
    assert (tmp_path / "final.json").stat().st_ino in synced, "what it says"
    assert synced[tmp_path.stat().st_ino] == ["final.json"], "and its name"


def test_so_is_one_in_the_outbox(tmp_path, synced):
    place = put_letter(LETTER, tmp_path / "outbox")
    assert place.stat().st_ino in synced
    assert place.name in synced[place.parent.stat().st_ino]


def test_what_waits_is_sent_once_by_the_sender_of_its_communicator(tmp_path):
    ours, theirs = put_letter(LETTER, tmp_path), put_letter(evolve(LETTER, communicator="other"), tmp_path)
    sent: list[Letter] = []
    first = {delivery.path: delivery.error for delivery in deliver_outbox(tmp_path, {"box": sent.append})}
    assert first[ours] is None
    assert "'other', which this pilot does not use" in str(first[theirs])
    deliver_outbox(tmp_path, {"box": sent.append})
    assert sent == [LETTER]
    assert read_letter(theirs).communicator == "other"


def test_what_the_server_refuses_for_a_newer_attempt_is_no_delivery_like_others(tmp_path):
    """Found: a report that nobody took was told to be delivered."""
    place = put_letter(LETTER, tmp_path)
    (delivery,) = deliver_outbox(tmp_path, {"box": lambda _: Reply(notes={"newer_attempt": 2})})
    assert (delivery.newer, delivery.error, place.exists()) == (2, None, False)
    told = Inheritance()
    told.hear([delivery, Delivery(path=tmp_path / "other", job="2")])
    late = "job 1: its last report came too late: attempt 2 is in its place; nothing is to be done"
    assert told.refused == {place: late}


def test_what_could_not_be_sent_waits_on(tmp_path):
    def fail(_):
        raise PilotError(Code.COMMUNICATIONFAILURE, "not today")

    place = put_letter(LETTER, tmp_path)
    (delivery,) = deliver_outbox(tmp_path, {"box": fail})
    assert delivery.error is not None
    assert read_letter(place) == LETTER


def test_what_another_pilot_is_sending_is_passed_over(tmp_path):
    place = put_letter(LETTER, tmp_path)
    with Lock(place.with_suffix(".lock")):
        assert deliver_outbox(tmp_path, {"box": lambda _: pytest.fail("sent twice")}) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file to somebody else")
def test_what_another_user_left_is_passed_over(tmp_path):
    os.chown(put_letter(LETTER, tmp_path), 12345, 12345)
    assert deliver_outbox(tmp_path, {"box": lambda _: pytest.fail("a stranger's letter was sent")}) == []
