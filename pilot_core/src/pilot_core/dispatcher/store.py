"""The jobs of a dispatcher on SQLite: one writer, every answer given only when its change is committed.

What a submission, an acquired job or a final word changes is on the disk before its sender hears of it; a heartbeat may
be lost with the machine, never with the process. How long a pilot has been silent is measured in this process only, so
that neither a restart nor a clock that jumps takes a job from a healthy pilot.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from attrs import evolve

from pilot_core.clock import Clock
from pilot_core.dispatcher import leases, rows
from pilot_core.dispatcher.again import request_after
from pilot_core.dispatcher.config import ServedQueue
from pilot_core.dispatcher.leases import Lease, Ruling, Word
from pilot_core.dispatcher.rows import LEASE, TOLD, Found, Wanted, anew, lease_after, lease_of, take_up
from pilot_core.dispatcher.schema import open_database
from pilot_core.dispatcher.synced import Synced
from pilot_core.dispatcher.trouble import Trouble
from pilot_core.dispatcher.updates import Report, read_report, usage_of
from pilot_core.dispatcher.verdict import closed_as, why_failed, why_lost, word_of
from pilot_core.dispatcher.wire import Order, checkpoint_of, leased, with_request

log = logging.getLogger(__name__)
QueueOf = Callable[[str], ServedQueue]
_OVER: Final = ", ".join(f"'{state}'" for state in leases.OVER)
_LEASED: Final = ", ".join(f"'{state}'" for state in leases.LEASED)
_GROWS: Final = {"rss_b": "rss_b = max(ifnull(rss_b, 0), ?)"}
"""A job's memory is the most that it ever had; its samples hold what it had then. Nothing known takes that back."""
_ORDERED: Final = "queue, description, name, priority, label, resource, memory_mb, disk_mb, wall_s, outputs, submitted"


class Store:
    """Every job, and what was said of it."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._clock = clock
        self._database = open_database(path)
        self._lock = threading.Lock()
        self._changed = threading.Condition()
        self._heard: dict[int, float] = {}
        self._used: dict[int, tuple[object, ...]] = {}
        self._held: dict[int, Found] = {}
        """What was found of jobs that pilots hold; each change of one changes it here too."""
        self._opened = clock.mono()
        self._version = int(self._database.execute("SELECT ifnull(max(version), 0) FROM jobs").fetchone()[0])
        self._next = self._version
        self._ending = False
        self.trouble = Trouble()
        self._log = Synced(path.with_name(f"{path.name}-wal"))

    @property
    def version(self) -> int:
        """Grows with each change of a job."""
        return self._version

    def let_go(self) -> None:
        """Let those who wait for a change go, now and from now on."""
        with self._changed:
            self._ending = True
            self._changed.notify_all()

    def close(self) -> None:
        """Leave the file."""
        self.let_go()
        with self._lock:
            self._log.close()
            self._database.close()

    def wait(self, since: int, wait_s: float) -> bool:
        """Whether anything has changed after ``since``; if not, wait for it for so long."""
        with self._changed:
            self._changed.wait_for(lambda: self._version > since or self._ending, wait_s)
            return self._version > since

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """The database, as it stands between two changes."""
        with self._lock:
            yield self._database

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """One change, whole or not at all, that ``_keep`` brings to the disk. The lock is held already."""
        database = self._database
        database.execute("BEGIN IMMEDIATE")
        try:
            yield database
            database.execute("COMMIT")
            self._version = self._next
        finally:
            if self._next > self._version:
                self._held.clear()
                self._next = self._version
            if database.in_transaction:
                database.execute("ROLLBACK")
        self.trouble.end()
        self._log.written()
        with self._changed:
            self._changed.notify_all()

    @contextmanager
    def changing(self) -> Iterator[sqlite3.Connection]:
        """The database, for one change that the disk holds in the end."""
        with self._lock, self._writing() as database:
            yield database
        self._keep()

    def _keep(self) -> None:
        """Return when the disk holds all changes so far. Without the lock, so that one sync serves all who wait."""
        try:
            self._log.sync()
        except OSError as error:
            raise sqlite3.OperationalError(f"disk I/O error: {error.strerror}") from None

    def _set(self, job: int, **values: object) -> None:
        """Change a job. Names of columns come from this module only."""
        self._next += 1
        if found := self._held.pop(job, None):
            self._hold(job, (lease_after(found[0], values), *found[1:]))
        values |= {"changed": self._clock.now(), "version": self._next}
        columns = ", ".join([_GROWS.get(name) or f"{name} = ?" for name in values])
        self._database.execute(f"UPDATE jobs SET {columns} WHERE id = ?", (*values.values(), job))  # noqa: S608

    # --- submitting and handing out ---

    def submit(self, queue: str, orders: Iterable[Order]) -> list[int]:
        """New jobs, all or none; their numbers."""
        with self.changing():
            return [job for order in orders for job in self._insert(queue, order)]

    def _insert(self, queue: str, order: Order) -> Iterator[int]:
        texts = [json.dumps(each) for each in (order.outputs, order.required, order.inputs)]
        insert = "INSERT INTO descriptions(described, wire, outputs, required, inputs) VALUES (?, ?, ?, ?, ?)"
        description = self._database.execute(insert, (order.description, order.wire, *texts)).lastrowid
        now = self._clock.now()
        row: tuple[object, ...] = (queue, description, order.name, order.priority, order.label, order.resource)
        row += (order.memory_mb, order.disk_mb, order.wall_s, len(order.outputs), now)
        insert = f"INSERT INTO jobs({_ORDERED}, changed, version) VALUES ({'?,' * 12} ?)"  # noqa: S608
        for _ in range(order.count):
            self._next += 1
            yield int(self._database.execute(insert, (*row, now, self._next)).lastrowid or 0)

    def acquire(self, wanted: Wanted) -> list[str]:
        """Jobs for a pilot as it gets them; each is its own from now on.

        The most urgent come first, then those that had the fewest attempts, then the oldest.
        """
        with self._lock:
            found = self._database.execute(*wanted.query()).fetchall()
            if not found:
                return []
            with self._writing():
                jobs = [self._lease(wanted, *row) for row in found]
        self._keep()
        return jobs

    def _lease(self, wanted: Wanted, job: int, attempt: int, outputs: int, debug: int | None, *asked: Any) -> str:
        memory_mb, wall_s, wire = asked
        if attempt > 1:
            wire = with_request(wire, memory_mb, wall_s)
        now = self._clock.now()
        before = anew(attempt) if attempt > 1 else {}
        self._set(job, **(before | {"state": leases.SENT, "node": wanted.node}))
        insert = "INSERT INTO attempts(job, attempt, node, state, began) VALUES (?, ?, ?, 'sent', ?)"
        self._database.execute(insert, (job, attempt, wanted.node, now))
        self._heard[job] = self._clock.mono()
        saved = rows.saved_in(self._database, job, checkpoint_of(wire)) if attempt > 1 else ""
        return leased(wire, job, attempt, outputs, debug=bool(debug), heartbeat_s=wanted.heartbeat_s, saved=saved)

    # --- what pilots say ---

    def tell(self, update: Mapping[str, Any], queue_of: QueueOf | None = None) -> tuple[Ruling, str]:
        """What a pilot's update does, and the job's queue; it has ``job_id`` and ``job_status``.

        A job that failed begins again only if ``queue_of`` says by which rules.
        """
        job = update["job_id"]
        with self._lock:
            lease, queue, description = self._find(job)
            if lease is None:
                return Ruling(command=leases.STOP), ""
            word = word_of(update)
            report = read_report(update.get("job_output_report", "")) if word.final else Report()
            there = report.tells_of
            if word.status == leases.FINISHED and (missing := rows.missing_in(self._database, description, there)):
                word = evolve(word, missing=missing)
            rules = queue_of(queue) if queue_of is not None and word.status == leases.FAILED else None
            request = request_after(self._database, job, lease, rules, update) if rules else None
            if request is not None:
                word = evolve(word, again=True)
            ruling = leases.rule(lease, word)
            if ruling.heard:
                self._heard[job] = self._clock.mono()
            if ruling.double or ruling.state is not None:
                with self._writing():
                    self._apply(job, lease, word, ruling, update, report)
                    if request is not None and ruling.state == leases.WAITING:
                        self._set(job, memory_mb=request.memory_mb, wall_s=request.wall_s)
        if word.final:
            self._keep()
        return ruling, queue

    def _find(self, job: int) -> Found | tuple[None, str, int]:
        if found := self._held.get(job):
            return found
        row = self._database.execute(f"SELECT {LEASE}, queue, description FROM jobs WHERE id = ?", (job,)).fetchone()  # noqa: S608
        return self._hold(job, (lease_of(row[:-2]), *row[-2:])) if row else (None, "", 0)

    def _hold(self, job: int, found: Found) -> Found:
        """Keep what was found of a job, if a pilot holds it."""
        if found[0].state in leases.LEASED:
            self._held[job] = found
        return found

    def _apply(
        self, job: int, lease: Lease, word: Word, ruling: Ruling, update: Mapping[str, Any], report: Report
    ) -> None:
        if ruling.state is None:
            self._database.execute("UPDATE jobs SET doubles = doubles + 1 WHERE id = ?", (job,))
            return
        if lease.adrift:
            take_up(self._database, job, lease.attempt, self._clock.now())
        values = self._told(job, lease, ruling.state, update)
        if not word.final:
            self._set(job, state=ruling.state, **values)
            return
        rows.register(self._database, job, lease.attempt, report.files)
        error = None if ruling.state == leases.FINISHED else why_failed(lease, word, update, report)
        self._end(job, lease, ruling.state, error, said=word.status, **values)

    def _told(self, job: int, lease: Lease, state: str, update: Mapping[str, Any]) -> dict[str, object]:
        """The columns that an update sets, whatever else it does; its usage and log are kept beside."""
        values: dict[str, object] = {name: update[key] for name, key in TOLD.items() if key in update}
        usage, now = usage_of(update), self._clock.now()
        values |= {
            name: value
            for name, value in (("cpu_s", usage.cpu_s), ("rss_b", usage.rss_peak_b), ("disk_b", usage.disk_b))
            if value is not None
        }
        if (usage.cpu_s is not None or usage.rss_b is not None) and self._used.get(job) != (row := usage.row()):
            self._used[job] = row  # pilots say it with each heartbeat, and measure more seldom
            self._database.execute("INSERT INTO usage VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", (job, now, *row))
        rows.keep_text(self._database, job, lease, update, now)
        if lease.carried != lease.asked:
            values["carried"] = lease.asked
        if lease.state in (leases.SENT, leases.STARTING) and state not in (leases.SENT, leases.STARTING):
            values["began"] = now
        return values

    def _end(self, job: int, lease: Lease, state: str, error: dict[str, Any] | None, **values: object) -> None:
        """End an attempt by its pilot's word, and with it the job or not."""
        values |= self._close(job, lease, state, error)
        self._set(job, **(values | anew(lease.attempt + 1) if state == leases.WAITING else values))

    def _close(self, job: int, lease: Lease, state: str, error: dict[str, Any] | None) -> dict[str, object]:
        """Close an attempt; the columns of its job then."""
        now = self._clock.now()
        text = json.dumps(error) if error else None
        closed = closed_as(state, error)
        update = "UPDATE attempts SET state = ?, ended = ?, error = ? WHERE job = ? AND attempt = ?"
        self._database.execute(update, (closed, now, text, job, lease.attempt))
        self._heard.pop(job, None)
        self._used.pop(job, None)
        values: dict[str, object] = {"state": state, "sub": "", "error": text, "ended": now, "kill": 0}
        return values | ({"error": None, "spared": lease.attempt} if closed == leases.CHECKPOINTED else {})

    # --- what becomes of leases ---

    def sweep(self, queue_of: QueueOf) -> list[int]:
        """Take the jobs whose pilots are lost away from them; which those were."""
        with self._lock:
            select = f"SELECT id, queue, {LEASE} FROM jobs WHERE state IN ({_LEASED})"  # noqa: S608
            held = [(job, queue_of(queue), lease_of(row)) for job, queue, *row in self._database.execute(select)]
            lost = [each for each in held if leases.is_lost(self._silent_s(each[0]), each[1].lost_after_s)]
            if lost:
                with self._writing():
                    for job, queue, lease in lost:
                        self._lose(job, queue, lease)
        self._keep()
        return [job for job, _, _ in lost]

    def _silent_s(self, job: int) -> float:
        return self._clock.mono() - self._heard.get(job, self._opened)

    def _lose(self, job: int, queue: ServedQueue, lease: Lease) -> None:
        again, error = leases.after_loss(lease, queue.retries), why_lost(lease, queue.lost_after_s)
        what_now = "waits for a pilot" if again == leases.WAITING else f"is {again}"
        log.warning("job %d: %s; it %s", job, error["detail"], what_now)
        values = self._close(job, lease, again, error)
        ended = None if again == leases.WAITING else values["ended"]
        self._set(job, **(values | {"lost": lease.lost + 1, "ended": ended}))

    def cancel(self, jobs: Iterable[int]) -> dict[int, str]:
        """End waiting jobs now, held ones by their pilots; which were not, and why."""
        return self._steer(jobs, self._cancel)

    def retry(self, jobs: Iterable[int]) -> dict[int, str]:
        """Put jobs back that failed or were cancelled; which were not, and why."""
        return self._steer(jobs, self._retry)

    def debug(self, jobs: Iterable[int], on: bool, command: str = "") -> dict[int, str]:
        """Have jobs' pilots speak often and send what the payload says, or no more; which not, and why.

        With a command they send what that prints, as long as it is asked for.
        """

        def turn(job: int, lease: Lease) -> str:
            if lease.state in leases.OVER:
                return f"it is {lease.state} already"
            self._set(job, debug=int(on), asked=command if on else "")
            return ""

        return self._steer(jobs, turn)

    def _steer(self, jobs: Iterable[int], turn: Callable[[int, Lease], str]) -> dict[int, str]:
        refused = {}
        with self.changing():
            for job in dict.fromkeys(jobs):
                lease, _, _ = self._find(job)
                if why := turn(job, lease) if lease else "there is no such job":
                    refused[job] = why
        return refused

    def _cancel(self, job: int, lease: Lease) -> str:
        if why := leases.why_not_cancelled(lease.state):
            return why
        waits = lease.state == leases.WAITING
        self._set(job, **({"state": leases.CANCELLED, "ended": self._clock.now()} if waits else {"kill": 1}))
        return ""

    def _retry(self, job: int, lease: Lease) -> str:
        if why := leases.why_not_retried(lease.state):
            return why
        self._set(job, error=None, kill=0, lost=0, spared=lease.attempt, **anew(lease.attempt + 1))
        return ""

    def heartbeat_s(self, queue: ServedQueue) -> float:
        """How often the pilots of a queue are to speak now."""
        return leases.heartbeat_s(len(self._heard), queue.heartbeat_s)

    def holds(self, job: int, attempt: int) -> bool:
        """Whether this attempt holds the job's lease, or takes it up again. It is asked twice for each file."""
        with self._lock:
            lease, _, _ = self._find(job)
            if lease is None or lease.attempt != attempt or not lease.held:
                return False
            if lease.adrift:
                with self._writing():
                    take_up(self._database, job, attempt, self._clock.now())
                    self._set(job, state=leases.RUNNING)
                self._heard[job] = self._clock.mono()
            return True

    def forget_jobs(self, ended_before: float, most: int) -> int:
        """Forget some jobs that were over before then; how many. What their attempts stored are leftovers now."""
        old = f"SELECT id FROM jobs INDEXED BY over_since WHERE state IN ({_OVER}) AND ended < ? ORDER BY ended LIMIT ?"  # noqa: S608
        with self._lock:
            if not (found := self._database.execute(old, (ended_before, most)).fetchall()):
                return 0
            with self._writing() as database:
                database.executemany("DELETE FROM jobs WHERE id = ?", found)
                self._next += 1
        return len(found)

    def inputs_named(self) -> set[str]:
        """The uploaded contents that jobs name as inputs."""
        with self._lock:
            return rows.inputs_in(self._database)

    def states(self, jobs: Sequence[int]) -> list[tuple[int, str, int]]:
        """Each job with its state and attempt; ``not found`` and 0 of one that is not there."""
        with self._lock:
            found = [(job, self._find(job)[0]) for job in jobs]
        return [(job, lease.state, lease.attempt) if lease else (job, "not found", 0) for job, lease in found]
