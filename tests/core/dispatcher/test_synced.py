"""One sync for all who wait for one."""

from __future__ import annotations

import threading

import pytest

from pilot_core.dispatcher.synced import Synced


class Disk:
    """Takes what is synced when it is told to, and counts."""

    def __init__(self) -> None:
        self.asked, self.ready = threading.Semaphore(0), threading.Semaphore(0)
        self.syncs = 0

    def sync(self, fd: int) -> None:
        self.asked.release()
        self.ready.acquire()
        self.syncs += 1


@pytest.fixture
def disk(monkeypatch):
    disk = Disk()
    monkeypatch.setattr("pilot_core.dispatcher.synced._SYNC", disk.sync)
    return disk


@pytest.fixture
def synced(tmp_path):
    path = tmp_path / "file"
    path.touch()
    synced = Synced(path)
    yield synced
    synced.close()


def waiting(synced: Synced, count: int) -> list[threading.Thread]:
    threads = [threading.Thread(target=synced.sync) for _ in range(count)]
    for thread in threads:
        thread.start()
    return threads


def test_nothing_written_is_nothing_to_wait_for(synced, disk):
    synced.sync()
    assert disk.syncs == 0


def test_what_is_written_meanwhile_shares_the_next_sync(synced, disk):
    synced.written()
    (first,) = waiting(synced, 1)
    disk.asked.acquire()
    synced.written()
    others = waiting(synced, 5)
    disk.ready.release()
    first.join()
    assert all(each.is_alive() for each in others)
    disk.ready.release()
    for each in others:
        each.join()
    assert disk.syncs == 2


def test_what_the_disk_did_not_take_is_synced_again(synced, monkeypatch):
    taken: list[int] = []

    def fail(fd: int) -> None:
        raise OSError("no more")

    monkeypatch.setattr("pilot_core.dispatcher.synced._SYNC", fail)
    synced.written()
    with pytest.raises(OSError, match="no more"):
        synced.sync()
    monkeypatch.setattr("pilot_core.dispatcher.synced._SYNC", taken.append)
    synced.sync()
    assert len(taken) == 1
