"""The end of a run: from whom it is learnt, and how long it lasted."""

from __future__ import annotations

import json
from pathlib import Path

from pilot_core.clock import SystemClock
from pilot_core.control.around import Plan
from pilot_core.control.record import phases_of
from pilot_core.control.running import Running
from pilot_core.errors import Code, PilotError
from pilot_core.io.process import Cleared, Gone, Listed, ProcessSpec, event_of
from pilot_core.keeper import PROCESSES
from pilot_core.machine import events as e
from pilot_core.model.job import Job

DIED = PilotError(Code.INTERNALPILOTPROBLEM, "the pilot died")
PLAN = Plan(payload=ProcessSpec("payload", ("true",), {}, Path(), Path(), Path()))
LINE = {
    "event": "ended",
    "name": "payload",
    "pid": 7,
    "start_ticks": 1,
    "status": 0,
    "signal": None,
    "maxrss_kb": 1,
    **dict.fromkeys(("utime", "stime", "tree_utime", "tree_stime"), 0.0),
    "started_at": 4600.0,
    "at": 1000.0,
    "started_mono": 20.0,
    "mono": 30.0,
}


class Answering:
    """Processes that take every order and say nothing."""

    def __getattr__(self, order):
        return lambda *words: None


def run(processes, job=None):
    posted = []
    return Running(job or Job(id="1"), 1, processes, posted.append, SystemClock(), lambda *_: None), posted


def told(listed, control):
    running, posted = run(Answering())
    running.resume(PLAN, control, DIED, adopt=True)
    running.hear(listed, control)
    running.hear(Cleared(None, (), 0.0, 0.0), control)
    return posted


def test_an_end_that_no_disk_took_is_known_from_the_keeper(tmp_path):
    (done,) = told(Listed((), (event_of({**LINE, "on_disk": False}),)), tmp_path)
    assert isinstance(done, e.WorkDone)
    assert done.result.outcome.exit_code == 0


def test_only_the_end_of_all_is_waited_for(tmp_path):
    """What was ended alone, for its output or its time, is cleared before the rest is."""
    running, posted = run(Answering())
    running.begin(PLAN)
    running.hear(event_of(LINE), tmp_path)
    running.hear(Cleared(("payload",), (), 0.0, 0.0), tmp_path)
    assert posted == []
    running.hear(Cleared(None, (), 0.0, 0.0), tmp_path)
    assert isinstance(posted[0], e.WorkDone)


def test_an_end_on_the_disk_counts_where_only_a_side_is_listed(tmp_path):
    (tmp_path / PROCESSES).write_text(json.dumps(LINE) + "\n")
    (done,) = told(Listed((), (event_of({**LINE, "name": "side", "status": 3}),)), tmp_path)
    assert isinstance(done, e.WorkDone)
    assert done.result.outcome.exit_code == 0


def test_a_clock_that_was_set_back_does_not_shorten_a_run(tmp_path):
    (done,) = told(Listed((), (event_of(LINE),)), tmp_path)
    assert done.result.outcome.wall_s == 10.0


def test_lines_of_an_older_keeper_go_by_the_wall_clock(tmp_path):
    old = {name: value for name, value in LINE.items() if name != "started_mono"}
    running, posted = run(Answering(), Job(id="1", times={"running": 990.0}))
    running.resume(PLAN, tmp_path, DIED, adopt=True)
    running.hear(Listed((), (event_of(old),)), tmp_path)
    running.hear(Cleared(None, (), 0.0, 0.0), tmp_path)
    assert posted[0].result.outcome.wall_s == 10.0


def test_without_a_keeper_nothing_begins(tmp_path):
    running, posted = run(None)
    running.begin(None)
    running.hear(Gone(), tmp_path)
    (failed,) = posted
    assert isinstance(failed, e.WorkFailed)
    assert "keeper" in failed.error.detail


def test_phases_stay_in_their_order_when_the_clock_is_set_back():
    job = Job(id="1", times={"accepted": 5000.0, "running": 5001.0, "stage_out": 1401.0, "finished": 1402.0})
    told_of = phases_of(job, 1403.0)
    assert [phase["phase"] for phase in told_of] == ["accepted", "running", "stage_out", "finished"]
    assert [phase["lasted_s"] for phase in told_of] == [1.0, 0.0, 1.0, 1.0]
