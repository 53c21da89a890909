"""The jobs of a dispatcher: handed out, told of, taken back, steered."""

from __future__ import annotations

import errno
import json
import os
import re
import sqlite3
import threading

import pytest
from attrs import evolve

from pilot_core.dispatcher.leases import KNOWN
from pilot_core.dispatcher.listing import Asked, list_jobs, show_job
from pilot_core.dispatcher.schema import WrongDatabase
from pilot_core.dispatcher.storage import Storage
from pilot_core.dispatcher.store import Store
from pilot_core.dispatcher.stored import Stored
from pilot_core.dispatcher.wire import labels_for
from pilot_core.testing.fakes import FakeClock

from .storing import QUEUE, WANTED, finish, lose, order, show, take, tell


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "dispatcher.sqlite"


@pytest.fixture
def store(path, clock):
    store = Store(path, clock)
    yield store
    store.close()


@pytest.fixture
def stored(tmp_path):
    """What the attempts at a store's jobs have stored."""
    storage = Storage(tmp_path / "storage")
    yield lambda store: Stored(store, storage)
    storage.close()


# --- handing out ---


def test_the_most_urgent_first_then_the_oldest(store):
    low, high, late = (store.submit("q", [order(priority=priority)])[0] for priority in (0, 5, 5))
    assert [job for job, _ in take(store, count=5)] == [high, late, low]
    assert take(store) == []


def test_who_was_put_back_goes_behind_those_that_never_ran(store):
    first, second, third = store.submit("q", [order(count=2), order(priority=-1)])
    assert take(store) == [(first, 1)]
    tell(store, first, 1, "failed", pilot_error_code=1379)
    assert take(store, count=3) == [(second, 1), (first, 2), (third, 1)]


@pytest.mark.parametrize(
    ("described", "wanted", "fits"),
    [
        ({"needs": {"memory": "2 GB"}}, {"memory_mb": 1999}, False),
        ({"needs": {"memory": "2 GB"}}, {"memory_mb": 2000}, True),
        ({"needs": {"disk": "2 GB"}}, {"disk_mb": 1999}, False),
        ({"limits": {"wall": 100}}, {"remaining_s": 99}, False),
        ({"limits": {"wall": 100}}, {"remaining_s": 100}, True),
        ({}, {"remaining_s": 1, "memory_mb": 1, "disk_mb": 1}, True),
        ({"needs": {"cores": 4}}, {"resource": "SCORE"}, False),
        ({"needs": {"cores": 4}}, {"resource": "MCORE"}, True),
        ({"label": "user"}, {}, False),
        ({"label": "user"}, {"labels": labels_for("unified")}, True),
        ({}, {"queue": "other"}, False),
    ],
)
def test_a_pilot_gets_what_it_can_run(store, described, wanted, fits):
    store.submit("q", [order(description=described)])
    assert bool(take(store, **wanted)) == fits


def test_a_count_shares_one_description(store):
    ids = store.submit("q", [order(count=3), order(count=2)])
    assert ids == [1, 2, 3, 4, 5]
    with store.reading() as database:
        assert database.execute("SELECT count(*) FROM descriptions").fetchone() == (2,)


# --- what pilots say ---


def test_the_life_of_a_job(store, clock):
    (job,) = store.submit("q", [order()])
    assert take(store) == [(job, 1)]
    assert tell(store, job, status="starting", node="n2", batch_id="b#1").command == "NULL"
    clock.advance(5)
    began = clock.now()
    tell(
        store,
        job,
        job_metrics="rss=5 processes=2 workDirSize=7 coreCount=1 heat.celsius=88.5 lsetup=x",
        cpu_consumption_time=3,
        pilot_log="said",
    )
    clock.advance(5)
    assert finish(store, job).state == "finished"
    told = show(store, job)
    assert (told["state"], told["node"], told["began"], told["ended"]) == ("finished", "n2", began, clock.now())
    assert (told["cpu_s"], told["rss_b"], told["disk_b"], told["log_tail"]) == (3, 5, 7, "said")
    assert [(each["processes"], each["more"]) for each in told["usage"]] == [(2, {"heat.celsius": 88.5})]
    (file,) = told["files"]
    assert file == {
        "name": "out.txt", "size_b": 3, "checksum": "adler32:01020304", "url": "https://h/out.txt", "direction": "out",
    }  # fmt: skip
    assert [(each["attempt"], each["state"], each["error"]) for each in told["attempts"]] == [(1, "finished", None)]


def test_a_measurement_that_is_said_again_is_kept_once(store):
    store.submit("q", [order()])
    ((job, attempt),) = take(store)
    for metrics in ("cpu=1 rss=5", "cpu=1 rss=5", "cpu=2 rss=5", "cpu=1 rss=5"):
        tell(store, job, attempt, "running", job_metrics=metrics)
    assert [each["cpu_s"] for each in show(store, job)["usage"]] == [1, 2, 1]


def test_a_job_that_is_to_be_cancelled_says_so_until_it_is(store):
    store.submit("q", [order()])
    ((job, attempt),) = take(store)
    tell(store, job, attempt, "running")
    store.cancel([job])
    assert (show(store, job)["state"], show(store, job)["cancelling"]) == ("running", True)
    tell(store, job, attempt, "failed", pilot_error_code=1144)
    assert (show(store, job)["state"], show(store, job)["cancelling"]) == ("cancelled", False)


def test_a_promised_output_that_no_report_names_fails_the_job(store):
    (job,) = store.submit("q", [order()])
    take(store)
    assert tell(store, job, status="finished", job_output_report="{}").state == "failed"
    error = show(store, job)["error"]
    assert (error["code"], error["acronym"]) == (1165, "MISSINGOUTPUTFILE")
    assert error["detail"] == "finished without out.txt: the pilot's report does not name them"


def test_a_word_of_nobodys_job(store):
    assert tell(store, 99).command == "tobekilled"


def test_a_failure_stays_with_its_reason_and_advice(store):
    (job,) = store.submit("q", [order()])
    take(store)
    tell(store, job, status="failed", trans_exit_code=3, pilot_error_code=1305, pilot_error_diag="it said no")
    told = show(store, job)
    assert (told["state"], told["exit_code"], told["error"]["detail"]) == ("failed", 3, "it said no")
    assert told["advice"] == "correct the job first; this attempt counts"


def test_an_evicted_job_waits_again_and_loses_no_try(store):
    (job,) = store.submit("q", [order()])
    for attempt in range(1, 6):
        assert take(store) == [(job, attempt)]
        tell(store, job, attempt, "failed", pilot_error_code=1379)
    told = show(store, job)
    assert (told["state"], told["attempt"], told["lost"], told["node"]) == ("activated", 6, 0, "")
    assert [each["error"]["code"] for each in told["attempts"]] == [1379] * 5


def evict(store, attempts) -> None:
    for attempt in attempts:
        ((job, number),) = take(store)
        assert number == attempt
        tell(store, job, attempt, "failed", pilot_error_code=1379, pilot_error_diag="gone")


def test_a_job_that_costs_its_pilots_their_slots_is_put_back_no_more_in_the_end(store):
    (job,) = store.submit("q", [order()])
    evict(store, range(1, 21))
    told = show(store, job)
    assert (told["state"], told["attempt"], told["error"]["code"]) == ("failed", 20, 1379)
    assert told["error"]["detail"] == (
        "gone; it lost its slot in attempt 20 and is put back by itself no more; "
        "look whether the job itself costs its pilots their slots, then retry"
    )
    assert take(store) == []


def test_who_is_put_back_by_hand_has_all_attempts_anew(store):
    (job,) = store.submit("q", [order()])
    evict(store, range(1, 21))
    store.retry([job])
    evict(store, range(21, 41))
    assert (show(store, job)["state"], show(store, job)["attempt"]) == ("failed", 40)


def test_a_lost_job_begins_again_as_often_as_the_queue_says(store, clock):
    (job,) = store.submit("q", [order()])
    for attempt in (1, 2, 3):
        assert take(store) == [(job, attempt)]
        assert finish(store, job, attempt - 1).command == "tobekilled", "another has it now"
        tell(store, job, attempt)
        assert lose(store, clock) == [job]
    assert finish(store, job, 3).command == "tobekilled"
    told = show(store, job)
    assert (told["state"], told["lost"], told["error"]["code"]) == ("failed", 3, 100)
    assert "attempt 3 was running and not heard of for 300 s" in told["error"]["detail"]
    assert told["advice"].startswith("each time its pilot was on n: look at this node first")


def test_a_pilot_that_comes_back_before_anybody_else_has_its_job_goes_on_with_it(store, clock):
    (job,) = store.submit("q", [order()])
    assert take(store) == [(job, 1)]
    tell(store, job, node="n1", job_metrics="cpu=7")
    began = show(store, job)["began"]
    assert lose(store, clock) == [job]
    told = show(store, job)
    assert (told["state"], told["attempt"], told["lost"], told["node"], told["cpu_s"]) == ("activated", 1, 1, "", None)
    assert [(each["state"], each["error"]["code"]) for each in told["attempts"]] == [("failed", 100)]
    assert tell(store, job).state == "running"
    told = show(store, job)
    assert (told["state"], told["lost"], told["error"], told["node"]) == ("running", 0, None, "n1")
    assert (told["began"], told["ended"]) == (began, None)
    assert [(each["state"], each["ended"], each["error"]) for each in told["attempts"]] == [("running", None, None)]
    assert lose(store, clock) == [job], "it is watched as before"
    assert finish(store, job).state == "finished"
    assert [each["state"] for each in show(store, job)["attempts"]] == ["finished"]
    assert take(store) == []


def test_the_most_memory_is_told_of_a_job_and_the_present_one_with_each_sample(store):
    """Found: a job that had taken 2 GB and gave them back was told to have taken 40 MB."""
    (job,) = store.submit("q", [order()])
    take(store)
    for told in ({"max_rss": 100, "job_metrics": "rss=5"}, {"job_metrics": "rss=7"}, {"max_rss": 90}):
        tell(store, job, **told)
    shown = show(store, job)
    assert shown["rss_b"] == 102400
    assert [each["rss_b"] for each in shown["usage"]] == [5, 7, 92160]
    tell(store, job, 1, "failed", pilot_error_code=1379)
    assert show(store, job)["rss_b"] is None
    take(store)
    tell(store, job, 2, job_metrics="rss=6")
    assert show(store, job)["rss_b"] == 6, "of another attempt nothing counts"


def test_storing_a_file_is_a_sign_of_life(store, clock):
    (job,) = store.submit("q", [order()])
    assert not store.holds(job, 1)
    take(store)
    lose(store, clock)
    assert not store.holds(job, 2)
    assert store.holds(job, 1)
    assert (show(store, job)["state"], take(store)) == ("running", [])


def test_what_somebody_ended_or_put_back_is_not_gone_on_with(store, clock):
    cancelled, evicted = store.submit("q", [order(count=2)])
    assert len(take(store, count=2)) == 2
    tell(store, evicted, 1, "failed", pilot_error_code=1379)
    lose(store, clock)
    assert store.cancel([cancelled]) == {}
    for job in (cancelled, evicted):
        assert finish(store, job).command == "tobekilled"
        assert not store.holds(job, 1)
    assert store.retry([cancelled]) == {}
    assert finish(store, cancelled).command == "tobekilled"
    assert sorted(take(store, count=2)) == [(cancelled, 2), (evicted, 2)]


def test_of_what_the_silent_pilot_said_nothing_is_known_of_the_next_attempt(store, clock):
    (job,) = store.submit("q", [order()])
    take(store)
    tell(store, job, batch_id="ce#1", job_metrics="cpu=7 rss=5")
    lose(store, clock)
    assert take(store) == [(job, 2)]
    assert (show(store, job)["cpu_s"], show(store, job)["began"]) == (None, None)
    assert tell(store, job, 2, batch_id="ce#2").state == "running", "and nobody is taken for its second body"
    assert [each["state"] for each in show(store, job)["attempts"]] == ["failed", "running"]


def test_the_attempt_that_is_open_is_as_its_job(store):
    (job,) = store.submit("q", [order()])
    take(store)
    for status in ("starting", "running", "transferring"):
        tell(store, job, status=status)
        assert [each["state"] for each in show(store, job)["attempts"]] == [status]


def test_a_pilot_that_speaks_keeps_its_job(store, clock):
    (job,) = store.submit("q", [order()])
    take(store)
    for status in ("starting", "running", "holding", "holding", "transferring", "running"):
        clock.advance(QUEUE.lost_after_s - 1)
        tell(store, job, status=status)
        assert store.sweep(lambda name: QUEUE) == []


def test_a_restart_takes_no_job_from_a_healthy_pilot(store, clock, path):
    (job,) = store.submit("q", [order()])
    take(store)
    store.close()
    clock.advance(10 * QUEUE.lost_after_s)
    again = Store(path, clock)
    assert again.sweep(lambda name: QUEUE) == []
    assert finish(again, job).state == "finished"
    again.close()


# --- steering ---


def test_a_waiting_job_is_cancelled_at_once_and_put_back_under_a_new_attempt(store):
    (job,) = store.submit("q", [order()])
    assert store.cancel([job, job, 99]) == {99: "there is no such job"}
    assert (show(store, job)["state"], take(store)) == ("cancelled", [])
    assert store.cancel([job]) == {job: "it is cancelled already"}
    assert store.retry([job]) == {}
    assert take(store) == [(job, 2)]


def test_a_held_job_is_cancelled_by_its_pilot(store, clock):
    first, second = store.submit("q", [order(count=2)])
    take(store, count=2)
    store.cancel([first, second])
    assert tell(store, first).command == "tobekilled"
    assert tell(store, first, status="failed", pilot_error_code=1144).state == "cancelled"
    assert lose(store, clock) == [second]
    assert show(store, second)["state"] == "cancelled"


def test_what_runs_or_finished_is_not_put_back(store):
    first, second = store.submit("q", [order(count=2)])
    take(store, count=2)
    finish(store, first)
    told = store.retry([first, second])
    assert told[first] == "it is finished: nothing is left to do"
    assert told[second].startswith("it is sent: only failed")


def test_debug_is_told_with_each_reply_until_it_is_taken_back(store):
    (job,) = store.submit("q", [order()])
    store.debug([job], True)
    assert json.loads(store.acquire(WANTED)[0])["debug"] == "True"
    assert tell(store, job, stdout="newest words").command == "debug"
    assert show(store, job)["log_tail"] == "newest words"
    store.debug([job], False)
    assert tell(store, job).command == "debugoff"
    finish(store, job)
    assert store.debug([job], True) == {job: "it is finished already"}


def test_what_a_command_printed_is_told_apart_from_the_log(store, clock):
    (job,) = store.submit("q", [order()])
    take(store)
    store.debug([job], True, "ls -l")
    assert tell(store, job, stdout="the log").command == "debug,ls -l"
    assert (show(store, job)["log_tail"], show(store, job)["answer"]) == ("the log", None)
    clock.advance(5)
    tell(store, job, stdout="total 0", pilot_log="the pilot's")
    told = show(store, job)
    assert told["answer"] == {"command": "ls -l", "text": "total 0", "at": clock.now()}
    assert (told["command"], told["log_tail"]) == ("ls -l", "the pilot's")


def test_what_nobody_asks_for_any_more_is_no_answer_and_no_log(store):
    (job,) = store.submit("q", [order()])
    take(store)
    store.debug([job], True, "ls -l")
    assert tell(store, job).command == "debug,ls -l"
    store.debug([job], True, "du .")
    assert tell(store, job, stdout="of ls").command == "debug,du ."
    assert (show(store, job)["log_tail"], show(store, job)["answer"]) == ("", None)
    tell(store, job, stdout="of du")
    assert show(store, job)["answer"]["text"] == "of du"
    store.debug([job], True)
    assert tell(store, job, stdout="of du").command == "debug"
    tell(store, job, stdout="the log")
    assert (show(store, job)["log_tail"], show(store, job)["answer"]["text"]) == ("the log", "of du")


def test_a_command_that_was_not_answered_is_asked_of_the_next_attempt(store):
    (job,) = store.submit("q", [order()])
    take(store)
    store.debug([job], True, "ls -l")
    tell(store, job)
    tell(store, job, 1, "failed", pilot_error_code=1379)
    take(store)
    assert tell(store, job, 2, stdout="the log").command == "debug,ls -l"
    assert (show(store, job)["log_tail"], show(store, job)["answer"]) == ("the log", None)


# --- forgetting ---


def test_what_is_over_for_long_enough_is_forgotten_and_nothing_else(store, stored, clock):
    ids = store.submit("q", [order(count=4)])
    shared, failed, held, waiting = ids
    for job in (shared, failed, held):
        assert take(store) == [(job, 1)]
    finish(store, shared)
    tell(store, failed, 1, "failed", pilot_error_code=1305, stdout="the end", job_metrics="cpu=1")
    clock.advance(100)
    last = clock.now()
    assert store.forget_jobs(last - 100, 9) == 0
    assert store.forget_jobs(last - 50, 1) == 1
    assert store.forget_jobs(last - 50, 9) == 1
    with store.reading() as database:
        told = list_jobs(database, Asked(), store.version)
        tables = ("attempts", "usage", "files", "tails", "answers", "descriptions")
        left = {name: database.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in tables}
    assert [job["id"] for job in told["jobs"]] == [waiting, held]
    assert (told["states"], told["total"], told["forgotten"]) == ({"sent": 1, "activated": 1}, 2, 2)
    assert left == {**dict.fromkeys(tables, 0), "attempts": 1, "descriptions": 1}
    assert sorted(stored(store).leftovers(9)) == [(shared, 1), (failed, 1)]
    assert tell(store, shared, 1, "finished").command == "tobekilled"
    assert store.retry([failed]) == {failed: "there is no such job"}
    assert store.submit("q", [order()]) == [waiting + 1]


def test_with_its_last_job_a_description_goes(store, clock):
    store.cancel(store.submit("q", [order()]))
    clock.advance(1)
    store.forget_jobs(clock.now(), 9)
    with store.reading() as database:
        assert database.execute("SELECT count(*) FROM descriptions").fetchone() == (0,)


def test_who_waits_for_a_change_hears_that_jobs_are_forgotten(store, clock):
    store.cancel(store.submit("q", [order()]))
    clock.advance(1)
    seen = store.version
    store.forget_jobs(clock.now(), 9)
    assert store.wait(seen, 0)


# --- versions, indexes, the file ---


def test_the_version_grows_and_tells_what_changed(store):
    (first, second) = store.submit("q", [order(count=2)])
    seen = store.version
    take(store)
    with store.reading() as database:
        told = list_jobs(database, Asked(since=seen, state="activated"), store.version)
    assert [job["id"] for job in told["jobs"]] == [first]
    assert told["version"] == store.version > seen
    assert (told["states"], told["total"]) == ({"activated": 1, "sent": 1}, 1)
    assert second


def test_too_many_changes_come_in_parts_with_none_left_out(store):
    ids = store.submit("q", [order(count=7)])
    seen, found = 0, []
    while len(found) < 7:
        with store.reading() as database:
            told = list_jobs(database, Asked(since=seen, limit=3), store.version)
        seen = told["version"]
        found += sorted(job["id"] for job in told["jobs"])
    assert found == ids


def test_who_waits_for_a_change_hears_of_it(store):
    heard = []
    waiting = threading.Thread(target=lambda: heard.append(store.wait(0, 60)))
    waiting.start()
    store.submit("q", [order()])
    waiting.join()
    store.let_go()
    assert heard == [True]
    assert store.wait(store.version, 60) is False


def test_a_failed_change_leaves_nothing_behind(store):
    store.submit("q", [order()])
    version = store.version
    with pytest.raises(sqlite3.Error):
        store.submit("q", [order(), evolve(order(), name=None)])
    assert (store.version, len(take(store, count=9))) == (version, 1)


SMALL = re.compile("counts|sqlite_sequence")


def test_every_question_has_its_index(store, stored):
    said: list[str] = []
    ids = store.submit("q", [order(count=20)])
    with store.reading() as database:
        database.set_trace_callback(said.append)
    take(store, count=2)
    finish(store, ids[0])
    store.sweep(lambda name: QUEUE)
    stored(store).leftovers(9)
    store.forget_jobs(0.0, 9)
    with store.reading() as database:
        for asked in (Asked(), Asked(state="sent"), Asked(queue="q", before=9), Asked(since=3)):
            list_jobs(database, asked, store.version)
        show_job(database, ids[0])
        database.set_trace_callback(None)
        read = [each for each in said if each.startswith(("SELECT", "UPDATE"))]
        plans = [(each, step[3]) for each in read for step in database.execute(f"EXPLAIN QUERY PLAN {each}")]
    assert len(read) > 10
    full = [(each, step) for each, step in plans if step.startswith("SCAN") and not SMALL.search(step)]
    pages = [each for each, _ in full if "ORDER BY id DESC LIMIT" in each]
    assert [each for each, _ in full if each not in pages] == []
    assert not [step for _, step in plans if "TEMP B-TREE" in step and "GROUP" not in step]


def test_what_must_not_be_lost_is_synced_and_heartbeats_are_not(store, monkeypatch):
    synced: list[int] = []
    monkeypatch.setattr("pilot_core.dispatcher.synced._SYNC", synced.append)

    def syncs() -> int:
        count = len(synced)
        synced.clear()
        return count

    (job,) = store.submit("q", [order()])
    assert syncs() == 1
    take(store)
    assert syncs() == 1
    tell(store, job)
    assert syncs() == 0
    finish(store, job)
    assert syncs() == 1
    finish(store, job)
    assert syncs() == 0


def test_what_is_remembered_of_a_held_job_is_what_the_database_has(store, clock):
    """Whatever is done to it, told of it, or fails while it is done."""
    (job,) = store.submit("q", [order()])
    take(store)

    def lease():
        with store.reading():
            remembered, store._held = store._held, {}
            found = store._find(job)
        assert remembered in ({job: found}, {})
        return found[0]

    for word in ("starting", "running", "transferring"):
        tell(store, job, status=word, batch_id="b.1")
        assert store._held
        assert (lease().state, lease().batch_id) == (word, "b.1")
    store.debug([job], True, "ls -l")
    assert (lease().asked, tell(store, job, status="transferring").command) == ("ls -l", "debug,ls -l")
    assert lease().carried == "ls -l"
    store.cancel([job])
    assert (lease().kill, tell(store, job).command) == (True, "debug,tobekilled")
    with pytest.raises(sqlite3.Error):
        fail(store, job)
    assert lease().state == "transferring"
    assert lose(store, clock) == [job]
    assert not store._held
    assert (lease().state, tell(store, job).command) == ("cancelled", "tobekilled")


def fail(store, job):
    """Change a job, and something that is not there."""
    with store.changing() as database:
        store._set(job, state="holding")
        database.execute("UPDATE nothing SET x = 1")


def test_a_final_word_said_again_waits_for_the_first_to_be_on_the_disk(store, monkeypatch):
    (job,) = store.submit("q", [order()])
    take(store)
    with monkeypatch.context() as broken:
        broken.setattr("pilot_core.dispatcher.synced._SYNC", no_disk)
        with pytest.raises(sqlite3.OperationalError, match="disk I/O error: Input/output error"):
            finish(store, job)
        with pytest.raises(sqlite3.OperationalError, match="disk I/O error"):
            finish(store, job)
    assert finish(store, job).command == KNOWN


def no_disk(fd: int) -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_the_file_is_its_owners_only(store, path):
    assert path.stat().st_mode & 0o777 == 0o600


def test_nobody_else_reads_or_writes_it_meanwhile(store, path, clock):
    """So no change needs a lock of the file system's, and no memory is shared."""
    store.submit("q", [order()])
    assert not path.with_name(f"{path.name}-shm").exists()
    with pytest.raises(WrongDatabase, match="database is locked"):
        Store(path, clock)


def test_a_newer_format_is_refused(store, path, clock):
    with store.reading() as database:
        database.execute("PRAGMA user_version = 6")
    store.close()
    with pytest.raises(WrongDatabase, match="has format 6, written by a newer version; this one reads up to 5: run"):
        Store(path, clock)


UNDO_5 = "DROP TABLE contents;"
UNDO_4 = f"{UNDO_5} ALTER TABLE usage DROP COLUMN more;"
UNDO_3 = f"""
{UNDO_4}
DROP TRIGGER forgotten; DROP TABLE answers; DROP INDEX over_since; DROP INDEX described_by;
ALTER TABLE jobs DROP COLUMN asked; ALTER TABLE jobs DROP COLUMN carried;
"""


def test_the_format_before_is_taken_over(store, path, clock):
    (job,) = store.submit("q", [order()])
    take(store)
    with store.reading() as database:
        database.executescript(f"{UNDO_4} PRAGMA user_version = 3;")
    store.close()
    again = Store(path, clock)
    tell(again, job, job_metrics="rss=5 heat=3.5", cpu_consumption_time=3)
    assert [each["more"] for each in show(again, job)["usage"]] == [{"heat": 3.5}]
    again.close()


def test_the_format_before_that_is_taken_over(store, path, clock):
    (job,) = store.submit("q", [order()])
    take(store)
    with store.reading() as database:
        database.executescript(f"{UNDO_3} PRAGMA user_version = 2;")
    store.close()
    again = Store(path, clock)
    again.debug([job], True, "ls -l")
    assert tell(again, job).command == "debug,ls -l"
    again.close()


def test_an_older_format_is_taken_over(store, stored, path, clock):
    over, held = store.submit("q", [order(count=2)])
    for job in (over, held):
        take(store)
        tell(store, job, 1, "failed", pilot_error_code=1379)
    store.cancel([over])
    with store.reading() as database:
        database.executescript(
            f"{UNDO_3} DROP TRIGGER put_back; DROP TRIGGER over; DROP TABLE leftovers; DROP INDEX waiting;"
            "ALTER TABLE jobs DROP COLUMN spared; PRAGMA user_version = 1;"
            "CREATE INDEX waiting ON jobs(queue, priority DESC, id) WHERE state = 'activated';"
        )
    store.close()
    again = Store(path, clock)
    files = stored(again)
    assert files.leftovers(9) == [(over, 1)]
    assert take(again, count=9) == [(held, 2)]
    finish(again, held, 2)
    assert files.leftovers(9) == [(over, 1), (held, 1)]
    files.remove_leftovers(9)
    assert files.leftovers(9) == []
    again.close()


def test_other_files_are_refused(tmp_path, clock):
    (tmp_path / "text").write_text("no database at all, but long enough to be taken for a header" * 20)
    with pytest.raises(WrongDatabase, match="text cannot be opened as a dispatcher's database"):
        Store(tmp_path / "text", clock)
    other = sqlite3.connect(tmp_path / "other")
    other.execute("CREATE TABLE t(x)")
    other.close()
    with pytest.raises(WrongDatabase, match="other is another program's database"):
        Store(tmp_path / "other", clock)
