"""The facts of the queue are asked for again: later jobs go by them, and a closed queue drains the pilot."""

from __future__ import annotations

import logging
import threading
from types import SimpleNamespace

import pytest

from pilot_core.agent.refresh import Refresh
from pilot_core.agent.setup import Known
from pilot_core.errors import Code, PilotError
from pilot_core.machine import events as e
from pilot_core.model.queue import Queue
from pilot_core.sdk import InfoSource
from pilot_core.testing import PilotKit, a_job
from pilot_core.testing.fakes import FakeClock, Payload

AWAY = PilotError(Code.COMMUNICATIONFAILURE, "nobody answers")
OFFLINE = {"maxrss": 1, "status": "offline"}
LONG_S = 60.0


class Source(InfoSource):
    """Tells what a test says, answer by answer; the last is repeated. ``heard[n]`` is set at the n-th question."""

    name = "made"

    def queue(self, name):
        answer = self.answers[min(len(self.asked), len(self.answers) - 1)]
        self.asked.append(name)
        if len(self.asked) == len(self.answers) + 1:
            self.heard.set()
        if isinstance(answer, PilotError):
            raise answer
        return answer


def kit(tmp_path, *answers, does=None, **settings):
    source = type("Made", (Source,), {"answers": answers, "asked": [], "heard": threading.Event()})
    payload = Payload(does=lambda *_: (does or source.heard.wait)(LONG_S) and None)
    usual = {"connection.info_sources": ["made"], "pilot.queue_again_s": 0.01, "pilot.prefetch_jobs": 0}
    more = {"tmp": tmp_path, "drivers": {"info_source": {"made": source}}, "outcome": payload}
    return PilotKit(settings={**usual, "slot.cores": 1, **settings}, **more)


def seen(run):
    """The memory that the queue has, as it was told with each job."""
    told = [call.given for call in run.hook_calls if {"job", "queue"} <= call.given.keys()]
    return {job: {each["queue"].memory_b for each in told if each["job"].id == job} for job in run.jobs}


def test_a_job_goes_by_what_is_known_when_it_comes(tmp_path):
    run = kit(tmp_path, {"maxrss": 1}, {"maxrss": 2}).run(a_job("1"), a_job("2"))
    assert seen(run) == {"1": {10**6}, "2": {2 * 10**6}}


def test_what_cannot_be_read_anew_stays(tmp_path):
    run = kit(tmp_path, {"maxrss": 1}, AWAY, None).run(a_job("1"), a_job("2"))
    assert seen(run) == {"1": {10**6}, "2": {10**6}}
    assert "queue local: what is known of it stays, and is 0 s old: 1318" in run.log
    assert "no source tells of it any more" in run.log


@pytest.mark.parametrize("closed", [OFFLINE, {"state": "DISABLED"}])
def test_a_queue_that_is_closed_meanwhile_gets_no_more_work(tmp_path, closed):
    told = threading.Event()
    hears = logging.Handler()
    hears.emit = lambda record: "no more work is taken" in record.getMessage() and told.set()
    logging.getLogger("pilot_core").addHandler(hears)
    try:
        made = kit(tmp_path, {"maxrss": 1}, closed, does=told.wait)
        run = made.run(a_job("1"), a_job("2"))
    finally:
        logging.getLogger("pilot_core").removeHandler(hears)
    assert run["1"].trail[-1] == "finished"
    assert (run.ending.exit_code, run.ending.finished, len(made.communicator.offers)) == (0, 1, 1)


def test_options_of_jobs_follow_and_what_drivers_were_chosen_by_stays(tmp_path):
    before = {"copytools": ["kit", "other"], "container_type": "none:pilot", "params": {"pilot_rss_grace": 10}}
    after = {"copytools": ["x"], "container_type": "y:pilot", "params": {"pilot_walltime_grace": 20}}
    setup = kit(tmp_path, before, after, **{"monitor.monitors": ["memory", "walltime"]}).set_up(tmp_path)
    values = {row.path: row.value for row in setup.ask_again().settings.explain()}
    usual = {row.path: row.value for row in setup.settings.explain()}
    assert (usual["memory.grace"], values["walltime.grace"]) == ("1.1", "1.2")
    assert values["memory.grace"] != "1.1"
    assert (values["data.copytools"], values["payload.container"]) == ("kit,other", "none")


class Desk:
    """A refresh by a clock that stands still, with all around it."""

    def __init__(self, *answers, every_s=10800.0):
        self.clock, self.posted, self.due, self.answers = FakeClock(), [], {}, list(answers)
        section = SimpleNamespace(queue_again_s=every_s, info_s=60.0)
        of = SimpleNamespace(of=lambda _: section)
        self.setup = SimpleNamespace(settings=of, queue=Queue(name="q"), known=None, ask_again=None)
        loop = SimpleNamespace(after=lambda key, after_s, call: self.due.update({key: (after_s, call)}))
        Refresh(self.setup, loop, self.clock, SimpleNamespace(post=self.posted.append)).begin(self)

    def within(self, budget_s, key, name, work, end):
        end(self.answers.pop(0))

    def pass_time(self):
        """Until it is due the next time; after how long that was."""
        after_s, call = self.due.pop("queue")
        self.clock.advance(after_s)
        call()
        return after_s


def known(name="q"):
    return Known(Queue(name=name), (), None)


def test_every_three_hours_by_the_pilots_clock():
    one, two = known(), known()
    desk = Desk(one, two)
    assert (desk.pass_time(), desk.setup.known) == (10800.0, one)
    assert (desk.pass_time(), desk.setup.known) == (10800.0, two)
    assert desk.posted == []


def test_what_is_old_says_how_old(caplog):
    desk = Desk(AWAY, AWAY, known(), AWAY)
    for _ in range(4):
        desk.pass_time()
    told = [record.getMessage() for record in caplog.records]
    ages = [text.partition("stays, and is ")[2].partition(":")[0] for text in told]
    assert ages == ["3 h old", "6 h old", "3 h old"]


def test_a_closed_queue_is_asked_for_no_more():
    desk = Desk(PilotError(Code.PANDAQUEUENOTONLINE, "queue q is offline"))
    desk.pass_time()
    assert (desk.posted, desk.due) == ([e.DrainAsked(why="queue q is offline")], {})


def test_a_site_may_have_it_never_asked_again():
    assert Desk(every_s=0.0).due == {}
