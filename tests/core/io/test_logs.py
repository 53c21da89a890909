import contextvars
import io
import json
import logging
import os
import re
import subprocess
import sys
import threading

import pytest

from pilot_core.io import logs
from pilot_core.io.logs import bound, job_log, setup
from pilot_core.redact import Redactor

log = logging.getLogger("pilot_core.some.module")


@pytest.fixture
def start():
    """``setup`` into a text, undone afterwards."""
    root = logging.getLogger()
    before = root.handlers[:], root.level, logging.raiseExceptions

    def begin(level="INFO", **options):
        stream = io.StringIO()
        setup(level, Redactor(["hunter2"]), stream=stream, **options)
        return stream

    yield begin
    for handler in set(root.handlers) - set(before[0]):
        root.removeHandler(handler)
        handler.close()
    root.setLevel(before[1])
    logging.raiseExceptions = before[2]


def test_text_is_time_level_message(start):
    stream = start()
    log.info("took %d files", 3)
    log.debug("not shown")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} \| INFO     \| took 3 files\n", stream.getvalue())


def test_times_are_utc(start):
    stream, as_json = start(), start(as_json=True)
    record = log.makeRecord(log.name, logging.INFO, "f", 1, "m", (), None)
    record.created, record.msecs = 1.25, 250.0
    log.handle(record)
    assert stream.getvalue().startswith("1970-01-01 00:00:01,250 |")
    assert json.loads(as_json.getvalue())["time"] == "1970-01-01T00:00:01.250Z"


def test_while_debugging_it_also_says_who(start):
    stream = start("DEBUG")
    log.debug("x")
    assert stream.getvalue().endswith(
        "| DEBUG    | pilot_core.some.module | test_while_debugging_it_also_says_who | x\n"
    )


def test_bound_fields_nest_and_end(start):
    stream = start()
    with bound(job="1"):
        with bound(plugin="p"):
            log.info("both")
        log.info("job")
    log.info("none")
    assert [line.split(" | ")[2] for line in stream.getvalue().splitlines()] == [
        "both [job=1 plugin=p]",
        "job [job=1]",
        "none",
    ]


def test_a_thread_has_the_fields_that_it_was_handed(start):
    stream = start()
    with bound(job="1"):
        context = contextvars.copy_context()
        for target in (log.info, lambda text: context.run(log.info, text)):
            thread = threading.Thread(target=target, args=["said"])
            thread.start()
            thread.join()
    assert [line.split(" | ")[2] for line in stream.getvalue().splitlines()] == ["said", "said [job=1]"]


def test_json_has_the_fields_and_the_trace(start):
    stream = start(as_json=True)
    try:
        raise KeyError("k\n")
    except KeyError:
        with bound(job="1", level="not this one"):
            log.exception("failed:\nbadly")
    (line,) = stream.getvalue().splitlines()
    said = json.loads(line)
    assert said.pop("trace").endswith("KeyError: 'k\\n'")
    assert said.pop("time").endswith("Z")
    assert said == {"job": "1", "level": "ERROR", "logger": log.name, "message": "failed:\nbadly"}


@pytest.mark.parametrize("as_json", [False, True])
def test_no_secret_is_written_anywhere(start, tmp_path, as_json):
    stream = start(as_json=as_json, file=tmp_path / "pilot.log")
    with job_log(tmp_path / "job.log", "1", Redactor(["hunter2"]), as_json=as_json), bound(job="1"):
        try:
            raise ValueError("hunter2 in an error")
        except ValueError:
            log.exception("with %s", {"password": "hunter2"}, stack_info=True)
    for text in (stream.getvalue(), (tmp_path / "pilot.log").read_text(), (tmp_path / "job.log").read_text()):
        assert "hunter2" not in text
        assert "ValueError: *** in an error" in text
        assert "Stack (most recent call last)" in text


def test_only_a_record_begins_at_the_margin_and_controls_are_spelt_out(start):
    stream = start()
    log.info("payload said:\n2026-01-01 00:00:00,000 | ERROR    | forged\r\x1b[2J\u2028ä\ttab")
    first, second = stream.getvalue().splitlines()
    assert first.endswith("| payload said:")
    assert second == "    2026-01-01 00:00:00,000 | ERROR    | forged\\r\\x1b[2J\\u2028ä\ttab"


def test_a_job_s_log_has_its_records_only_and_ends_with_it(start, tmp_path):
    start()
    path = tmp_path / "job.log"
    with job_log(path, "1", Redactor()):
        log.info("pilot")
        for job in ("1", "2"):
            with bound(job=job):
                log.info("of job")
    with bound(job="1"):
        log.info("late")
    assert [line.split(" | ")[2] for line in path.read_text().splitlines()] == ["of job [job=1]"]


def test_what_utf8_cannot_say_is_written_all_the_same(start, tmp_path):
    start(file=tmp_path / "pilot.log")
    log.info("name \udcff")
    assert "name \\udcff" in (tmp_path / "pilot.log").read_text()


def run(code):
    """Run this in a process of its own; what it wrote to standard error."""
    core = logs.__file__.removesuffix("/pilot_core/io/logs.py")
    code = f"import sys; sys.path.insert(0, {core!r})\n{code}"
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stderr


def test_a_log_that_cannot_be_written_stops_nothing():
    said = run("""
import logging
from pathlib import Path
from pilot_core.io.logs import bound, job_log, setup
from pilot_core.redact import Redactor
setup("INFO", Redactor(), file=Path("/dev/full"))
with job_log(Path("/dev/full"), "1", Redactor()), bound(job="1"):
    logging.info("first")
logging.info("second")
""")
    assert [line.split(" | ")[2] for line in said.splitlines()] == ["first [job=1]", "second"]


def test_nobody_waits_for_a_reader_who_has_gone_to_sleep(start):
    """Found: a full pipe on standard error stood the loop still until the watchdog ended the pilot."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    with open(writing, "w") as stream, open(reading, "rb") as reader:
        handler = logs.Shy(stream)
        record = logging.LogRecord("a", logging.INFO, "", 0, "x" * 3000, (), None)
        for _ in range(100):
            handler.emit(record)
        assert reader.read()
        handler.emit(logging.LogRecord("a", logging.INFO, "", 0, "awake", (), None))
        said = reader.read().decode()
    assert "awake" in said
    assert "records were left out: nobody read them" in said


def test_importing_configures_nothing():
    assert not run("""
import logging
before = dict(vars(logging.getLogger()))
import pilot_core.io.logs
assert vars(logging.getLogger()) == before
assert logging.raiseExceptions
""")
