"""The dispatcher's database: its tables, and how it is opened."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Final

FORMAT: Final = 5
OURS: Final = 0x50444A31
"""Marks the file as a dispatcher's, so that no other program's database is taken for one."""

TABLES: Final = """
CREATE TABLE descriptions (
    id INTEGER PRIMARY KEY,
    described TEXT NOT NULL,
    wire TEXT NOT NULL,
    outputs TEXT NOT NULL,
    required TEXT NOT NULL,
    inputs TEXT NOT NULL
);
CREATE TABLE jobs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    attempt INTEGER NOT NULL DEFAULT 1,
    state TEXT NOT NULL DEFAULT 'activated',
    queue TEXT NOT NULL,
    description INTEGER NOT NULL REFERENCES descriptions(id),
    name TEXT NOT NULL,
    priority INTEGER NOT NULL,
    label TEXT NOT NULL,
    resource TEXT NOT NULL,
    memory_mb INTEGER NOT NULL,
    disk_mb INTEGER NOT NULL,
    wall_s INTEGER NOT NULL,
    outputs INTEGER NOT NULL,
    submitted REAL NOT NULL,
    changed REAL NOT NULL,
    version INTEGER NOT NULL,
    began REAL,
    ended REAL,
    sub TEXT NOT NULL DEFAULT '',
    node TEXT NOT NULL DEFAULT '',
    pilot TEXT NOT NULL DEFAULT '',
    batch_id TEXT NOT NULL DEFAULT '',
    said TEXT NOT NULL DEFAULT '',
    kill INTEGER NOT NULL DEFAULT 0,
    debug INTEGER,
    lost INTEGER NOT NULL DEFAULT 0,
    spared INTEGER NOT NULL DEFAULT 0,
    doubles INTEGER NOT NULL DEFAULT 0,
    cpu_s REAL,
    rss_b INTEGER,
    disk_b INTEGER,
    exit_code INTEGER,
    error TEXT,
    timing TEXT NOT NULL DEFAULT ''
);
CREATE INDEX by_state ON jobs(state, id);
CREATE INDEX by_version ON jobs(version);
CREATE TABLE attempts (
    job INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    node TEXT NOT NULL,
    state TEXT NOT NULL,
    began REAL NOT NULL,
    ended REAL,
    error TEXT,
    PRIMARY KEY (job, attempt)
) WITHOUT ROWID;
CREATE TABLE usage (
    job INTEGER NOT NULL,
    at REAL NOT NULL,
    cpu_s REAL,
    rss_b INTEGER,
    read_b INTEGER,
    written_b INTEGER,
    processes INTEGER,
    disk_b INTEGER
);
CREATE INDEX usage_of ON usage(job);
CREATE TABLE files (
    job INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    name TEXT NOT NULL,
    size_b INTEGER,
    checksum TEXT,
    url TEXT NOT NULL,
    PRIMARY KEY (job, attempt, name)
) WITHOUT ROWID;
CREATE TABLE tails (job INTEGER PRIMARY KEY, text TEXT NOT NULL);
CREATE TABLE counts (
    queue TEXT NOT NULL,
    state TEXT NOT NULL,
    n INTEGER NOT NULL,
    PRIMARY KEY (queue, state)
) WITHOUT ROWID;
CREATE TRIGGER counted_in AFTER INSERT ON jobs BEGIN
    INSERT INTO counts VALUES (new.queue, new.state, 1)
        ON CONFLICT DO UPDATE SET n = n + 1;
END;
CREATE TRIGGER counted_on AFTER UPDATE OF state ON jobs WHEN old.state <> new.state BEGIN
    UPDATE counts SET n = n - 1 WHERE queue = old.queue AND state = old.state;
    INSERT INTO counts VALUES (new.queue, new.state, 1)
        ON CONFLICT DO UPDATE SET n = n + 1;
END;
"""

SINCE_2: Final = """
CREATE INDEX waiting ON jobs(queue, priority DESC, attempt, id) WHERE state = 'activated';
CREATE TABLE leftovers (
    job INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    due INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (job, attempt)
) WITHOUT ROWID;
CREATE INDEX due ON leftovers(due) WHERE due = 1;
CREATE TRIGGER put_back AFTER UPDATE OF attempt ON jobs WHEN old.attempt <> new.attempt BEGIN
    INSERT OR IGNORE INTO leftovers(job, attempt) VALUES (old.id, old.attempt);
END;
CREATE TRIGGER over AFTER UPDATE OF state ON jobs WHEN new.state IN ('finished', 'failed', 'cancelled') BEGIN
    UPDATE leftovers SET due = 1 WHERE job = new.id AND due = 0;
END;
"""
"""``leftovers`` are the attempts that cannot win any more; once their jobs are over what they stored is due to go."""

SINCE_3: Final = """
ALTER TABLE jobs ADD COLUMN asked TEXT NOT NULL DEFAULT '';
ALTER TABLE jobs ADD COLUMN carried TEXT NOT NULL DEFAULT '';
CREATE TABLE answers (job INTEGER PRIMARY KEY, command TEXT NOT NULL, text TEXT NOT NULL, at REAL NOT NULL);
CREATE INDEX over_since ON jobs(ended) WHERE state IN ('finished', 'failed', 'cancelled');
CREATE INDEX described_by ON jobs(description);
CREATE TRIGGER forgotten AFTER DELETE ON jobs BEGIN
    UPDATE counts SET n = n - 1 WHERE queue = old.queue AND state = old.state;
    INSERT OR REPLACE INTO leftovers SELECT job, attempt, 1 FROM attempts WHERE job = old.id;
    DELETE FROM attempts WHERE job = old.id;
    DELETE FROM usage WHERE job = old.id;
    DELETE FROM files WHERE job = old.id;
    DELETE FROM tails WHERE job = old.id;
    DELETE FROM answers WHERE job = old.id;
    DELETE FROM descriptions WHERE id = old.description
        AND NOT EXISTS (SELECT 1 FROM jobs WHERE description = old.description);
END;
"""
"""``asked`` is the command by which somebody looks at a job, ``carried`` the one that its pilot's last reply carried.
Of a job that is deleted nothing stays but its attempts, as leftovers, until what they stored is gone."""

SINCE_4: Final = "ALTER TABLE usage ADD COLUMN more TEXT NOT NULL DEFAULT '{}';"
"""What monitors measured, by name, as JSON."""

SINCE_5: Final = """
CREATE TABLE contents (
    job INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    name TEXT NOT NULL,
    adler32 TEXT NOT NULL,
    bytes BLOB NOT NULL,
    PRIMARY KEY (job, attempt, name)
);
"""
"""The small files that attempts stored; they go with what else their attempts stored."""

BEFORE_2: Final = """
ALTER TABLE jobs ADD COLUMN spared INTEGER NOT NULL DEFAULT 0;
DROP INDEX waiting;
"""
LEFT_BEFORE_2: Final = """
INSERT INTO leftovers SELECT attempts.job, attempts.attempt, jobs.state IN ('finished', 'failed', 'cancelled')
    FROM attempts JOIN jobs ON jobs.id = attempts.job WHERE attempts.attempt < jobs.attempt;
"""


class WrongDatabase(RuntimeError):
    """The file cannot be this dispatcher's database; the message says why and what to do."""


def open_database(path: Path) -> sqlite3.Connection:
    """The database in a file of mode 0600, made if it is not there; ``WrongDatabase`` if it is none of ours."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        _prepare(path, database)
    except sqlite3.DatabaseError as error:
        database.close()
        told = f"{path} cannot be opened as a dispatcher's database: {error}"
        raise WrongDatabase(f"{told}; {_way_out(error)}") from None
    except WrongDatabase:
        database.close()
        raise
    return database


def _way_out(error: sqlite3.Error) -> str:
    number = getattr(error, "sqlite_errorcode", None) or sqlite3.SQLITE_CORRUPT
    return "make room on its disk" if number == sqlite3.SQLITE_FULL else "move it away, or choose another home"


def _prepare(path: Path, database: sqlite3.Connection) -> None:
    mark, number = (database.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version"))
    made = database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if made and mark != OURS:
        raise WrongDatabase(f"{path} is another program's database; choose another home for the dispatcher")
    if number > FORMAT:
        told = f"{path} has format {number}, written by a newer version; this one reads up to {FORMAT}"
        raise WrongDatabase(f"{told}: run the newer version, or choose another home")
    database.execute("PRAGMA locking_mode = EXCLUSIVE")
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = NORMAL")
    if not made:
        _change(database, f"PRAGMA application_id = {OURS}; {TABLES} {SINCE_2} {SINCE_3} {SINCE_4} {SINCE_5}")
        return
    database.execute("SELECT max(version) FROM jobs").fetchone()
    if number < FORMAT:
        older = f"{BEFORE_2} {SINCE_2} {LEFT_BEFORE_2}" if number < 2 else ""
        _change(database, f"{older} {SINCE_3 if number < 3 else ''} {SINCE_4 if number < 4 else ''} {SINCE_5}")


def _change(database: sqlite3.Connection, script: str) -> None:
    """All of a script or nothing; the format is the present one then."""
    database.executescript(f"BEGIN; {script} PRAGMA user_version = {FORMAT}; COMMIT;")
