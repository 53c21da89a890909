"""``pilot jobs``: the table, the story of one, and what a watcher sees."""

from __future__ import annotations

import io
import json
import runpy
import time
from pathlib import Path

import pytest

from pilot_core.cli.jobs import story, table

loopback = runpy.run_path(str(Path(__file__).with_name("loopback.py")))
dispatcher, job_of = loopback["dispatcher"], loopback["job_of"]

ERROR = {
    "code": 1305,
    "acronym": "PAYLOADEXECUTIONFAILURE",
    "sentence": "The payload failed",
    "detail": "exit 3\x1b[2J\nno geometry",
}


def test_the_table():
    jobs = [
        job_of(12, state="failed", attempt=2, began=100.0, ended=165.0, node="n1", error=ERROR, cpu_s=60.0),
        job_of(11, name="日本" * 20, state="running", began=190.0, node="n2", rss_b=2_000_000_000),
        job_of(10, submitted=None),
    ]
    lines = table(jobs, {"failed": 1, "running": 1, "activated": 3}, 200.0)
    assert lines[0] == "3 activated, 1 running, 1 failed"
    assert lines[1].split() == ["JOB", "NAME", "STATE", "NODE", "FOR", "CPU", "MEMORY", "ERROR"]
    assert lines[2].split()[:8] == ["12.2", "job-12", "failed", "n1", "1", "min", "5", "s"]
    assert lines[2].endswith("1305 PAYLOADEXECUTIONFAILURE exit 3\\x1b[2J no geometry")
    assert lines[3].split()[1] == "日本" * 7 + "..."
    assert lines[3].split()[2:7] == ["running", "n2", "10.0", "s", "-"]
    assert lines[4].split() == ["10", "job-10", "activated", "-", "-", "-", "-", "-"]
    assert len(lines) == 5
    assert table([], {}, 0.0) == ["no jobs"]


def test_filters_are_those_of_the_dispatcher(pilot, dispatcher):
    for number, state in enumerate(("failed", "finished", "failed"), 1):
        dispatcher.put(number, state=state)
    said = pilot("jobs", "--state", "failed", "--limit", 1, "--home", dispatcher.home)
    lines = said.out.splitlines()
    assert lines[0] == "1 finished, 2 failed"
    assert (lines[2].split()[0], lines[3:]) == ("3", ["and 1 more"])
    told = json.loads(pilot("jobs", "--json", "--home", dispatcher.home).out)
    assert [job["id"] for job in told["jobs"]] == [3, 2, 1]
    said = pilot("jobs", "--state", "faild", "--home", dispatcher.home)
    assert (said.code, "did you mean 'failed'?" in said.err) == (2, True)


def test_the_story_of_a_job(pilot, dispatcher):
    attempts = [
        {"attempt": 1, "node": "n1", "state": "failed", "began": 1.0, "ended": 2.0, "error": ERROR},
        {"attempt": 2, "node": "n2", "state": "failed", "began": 3.0, "ended": 4.0, "error": ERROR},
    ]
    usage = [{"at": 1.0, "cpu_s": 2.0, "rss_b": 5_000_000, "read_b": 10, "written_b": None}]
    file = {"name": "a.txt", "direction": "out", "size_b": 3, "checksum": "adler32:00000001", "url": "/storage/x"}
    dispatcher.put(
        1,
        state="failed",
        attempt=2,
        began=100.0,
        ended=160.0,
        node="n2",
        lost=1,
        error=ERROR,
        advice="look into its log",
        attempts=attempts,
        usage=usage,
        rss_b=5_000_000,
        files=[file],
        log_tail="first\nlast \x1b]0;evil\x07words\n",
        timing={"stage_in": 1.5, "payload": 0},
    )
    said = pilot("jobs", 1, "--home", dispatcher.home)
    lines = said.out.splitlines()
    assert lines[0] == "job 1 (job-1): failed on n2, 1 min 0 s, attempt 2, local"
    assert lines[1].startswith("  1305 PAYLOADEXECUTIONFAILURE, The payload failed: exit 3")
    assert "    what to do: look into its log" in lines
    assert "  1 attempt lost: the pilot fell silent" in lines
    assert "  cpu 2.0 s, memory up to 5.0 MB, read 10 B, written 0 B" in lines
    assert "  stage_in 1.5 s" in lines
    assert lines[-3:] == ["  the last it said:", "    | first", "    | last \\x1b]0;evil\\x07words"]
    assert any(line.split()[:4] == ["a.txt", "out", "3", "B"] for line in lines)
    assert "\x1b" not in said.out


def test_the_story_of_a_job_of_which_little_is_known():
    assert story(job_of(1, submitted=None), 0.0) == "job 1 (job-1): activated, attempt 1, local"


def test_a_job_that_is_to_be_cancelled_is_told_as_such_and_blamed_on_nobody():
    held = job_of(1, state="running", cancelling=True, submitted=None)
    assert table([held], {}, 0.0)[2].split()[2] == "cancelling"
    ended = {**held, "state": "cancelled", "cancelling": False, "error": ERROR}
    assert story(ended, 0.0).splitlines()[1:] == ["  it was cancelled while it ran"]


def test_times_are_told_by_the_dispatchers_clock(pilot, dispatcher):
    dispatcher.ahead_s = 7200
    dispatcher.put(1, state="running", began=time.time() + 7200 - 90)
    assert " 1 min " in pilot("jobs", "--home", dispatcher.home).out


def test_a_watcher_outlives_a_dispatcher_that_is_away_for_a_while(pilot, dispatcher):
    dispatcher.put(1, state="running")
    faults = iter([*[ConnectionResetError] * 5, None])

    def away_or_done():
        if fault := next(faults):
            raise fault
        dispatcher.put(1, state="finished")

    dispatcher.on_wait = away_or_done
    said = pilot("jobs", "--until-done", "--home", dispatcher.home)
    assert (said.code, "asking again in 1 s" in said.err) == (0, True), (said.err, said.out)
    assert "finished" in said.out


def test_a_watcher_who_never_reached_one_is_told_so(pilot, tmp_path):
    said = pilot("jobs", "--until-done", "--home", tmp_path)
    assert (said.code, "no dispatcher runs in" in said.err) == (69, True)


def test_a_watcher_sees_each_change_once_and_ends_when_all_is_done(pilot, dispatcher):
    dispatcher.put(1)
    dispatcher.put(2, state="finished")
    steps = iter([{"state": "running", "node": "n1"}, {"cpu_s": 3.0}, {"state": "finished"}])
    dispatcher.on_wait = lambda: dispatcher.put(1, **next(steps))
    said = pilot("jobs", "--until-done", "--home", dispatcher.home)
    assert said.code == 0, said.err
    assert [line.partition(" ")[2] for line in said.out.splitlines()] == [
        "job 1 (job-1): activated",
        "job 2 (job-2): finished",
        "job 1 (job-1): running on n1",
        "job 1 (job-1): finished on n1",
    ]


def test_a_watcher_begins_anew_when_jobs_are_forgotten(pilot, dispatcher):
    dispatcher.put(1, state="running")
    dispatcher.put(2, state="running")

    def forget():
        dispatcher.put(2, state="finished")
        del dispatcher.jobs[1]
        dispatcher.forgotten += 1

    dispatcher.on_wait = forget
    said = pilot("jobs", "--until-done", "--home", dispatcher.home)
    assert (said.code, [line.split()[-1] for line in said.out.splitlines()]) == (0, ["running", "running", "finished"])


def test_one_that_failed_fails_the_watch(pilot, dispatcher):
    dispatcher.put(1)
    dispatcher.on_wait = lambda: dispatcher.put(1, state="failed", error=ERROR)
    said = pilot("jobs", "--until-done", "--json", "--home", dispatcher.home)
    assert said.code == 1
    assert [json.loads(line)["state"] for line in said.out.splitlines()] == ["activated", "failed"]


def test_only_the_jobs_that_were_named_are_waited_for(pilot, dispatcher):
    dispatcher.put(1)
    dispatcher.put(2)
    dispatcher.put(3)
    steps = iter([3, 2, 1])
    dispatcher.on_wait = lambda: dispatcher.put(next(steps), state="cancelled")
    said = pilot("jobs", 1, 2, "--until-done", "--home", dispatcher.home)
    assert said.code == 1
    assert [line.split()[2] for line in said.out.splitlines()] == ["1", "2", "2", "1"]


def test_a_watched_state_takes_in_who_comes_to_it_later(pilot, dispatcher):
    dispatcher.put(1, state="running")
    dispatcher.put(2)
    steps = iter([(2, "running"), (1, "finished"), (2, "finished")])

    def move():
        number, state = next(steps)
        dispatcher.put(number, state=state)

    dispatcher.on_wait = move
    said = pilot("jobs", "--state", "running", "--until-done", "--home", dispatcher.home)
    assert [line.partition(" ")[2] for line in said.out.splitlines()] == [
        "job 1 (job-1): running",
        "job 2 (job-2): running",
        "job 1 (job-1): finished",
        "job 2 (job-2): finished",
    ]


def pages_of(dispatcher, monkeypatch, most):
    """Have it tell no more than so many jobs at a time."""
    whole = dispatcher.page
    monkeypatch.setattr(dispatcher, "page", lambda query: whole(query | {"limit": min(int(query["limit"]), most)}))


def test_all_are_waited_for_and_count_also_those_beyond_the_limit(pilot, dispatcher):
    for number, state in enumerate(("failed", "running", "finished"), 1):
        dispatcher.put(number, state=state)
    dispatcher.on_wait = lambda: dispatcher.put(2, state="finished")
    said = pilot("jobs", "--until-done", "--limit", 1, "--home", dispatcher.home)
    assert said.code == 1
    assert [line.split()[2:] for line in said.out.splitlines()] == [
        ["3", "(job-3):", "finished"],
        ["2", "(job-2):", "finished"],
    ]


def test_jobs_of_another_queue_do_not_count(pilot, dispatcher):
    dispatcher.put(1, state="failed", queue="other")
    dispatcher.put(2, state="running", queue="other")
    dispatcher.put(3, state="finished")
    assert pilot("jobs", "--until-done", "--queue", "local", "--home", dispatcher.home).code == 0


def test_one_that_was_put_back_and_then_finished_fails_no_watch(pilot, dispatcher):
    dispatcher.put(1)
    dispatcher.put(2)
    steps = iter([(1, "failed"), (1, "activated"), (1, "finished"), (2, "finished")])

    def move():
        number, state = next(steps)
        dispatcher.put(number, state=state)

    dispatcher.on_wait = move
    assert pilot("jobs", "--until-done", "--home", dispatcher.home).code == 0


@pytest.mark.parametrize(("limit", "shown"), [(9, 7), (7, 7), (5, 5), (3, 3), (2, 2)])
def test_more_jobs_than_a_page_holds(pilot, dispatcher, monkeypatch, limit, shown):
    for number in range(1, 8):
        dispatcher.put(number, state="finished")
    pages_of(dispatcher, monkeypatch, 3)
    told = json.loads(pilot("jobs", "--json", "--limit", limit, "--home", dispatcher.home).out)
    assert [job["id"] for job in told["jobs"]] == list(range(7, 7 - shown, -1))
    said = pilot("jobs", "--until-done", "--limit", limit, "--home", dispatcher.home)
    assert len(said.out.splitlines()) == shown


class Tty(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True


def test_a_watcher_on_a_terminal_sees_a_table_that_changes_in_place(pilot, dispatcher, monkeypatch):
    dispatcher.put(1)
    dispatcher.on_wait = lambda: dispatcher.put(1, state="finished", node="n1")
    monkeypatch.setattr("sys.stdout", paper := Tty())
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    assert pilot("jobs", "--until-done", "--home", dispatcher.home).code == 0
    first, second = paper.getvalue().split("\r\x1b[3A\x1b[J")
    assert [line.split()[:3] for line in first.splitlines()][::2] == [["1", "activated"], ["1", "job-1", "activated"]]
    assert [line.split()[:4] for line in second.splitlines()][2] == ["1", "job-1", "finished", "n1"]
    assert second.splitlines()[0] == "1 finished"


@pytest.mark.parametrize("words", [[1, "--state", "failed"], ["--limit", "0"], ["x"]])
def test_words_that_are_wrong(pilot, dispatcher, words):
    assert pilot("jobs", *words, "--home", dispatcher.home).code == 2
    assert dispatcher.asked == []
