"""Workers: one answer for each piece of work, whatever it does; and who hangs is named."""

from __future__ import annotations

import queue
import threading
from asyncio import CancelledError

import pytest

from pilot_core.agent.workers import Lane, Workers, answer
from pilot_core.errors import Code, PilotError
from pilot_core.plugins.guard import PluginFailed, PluginRef
from pilot_core.plugins.hands import Hands
from pilot_core.plugins.patience import Patience


@pytest.fixture
def calls():
    return queue.SimpleQueue()


@pytest.fixture
def workers(calls):
    return Workers(calls.put, Hands())


def come_home(calls):
    calls.get(timeout=5)()


def test_an_answer_comes_home_once(workers, calls):
    answers = []
    workers.begin("k", "work", lambda: 7, answers.append)
    assert workers.busy("k")
    come_home(calls)
    assert answers == [7]
    assert not workers.busy("k")


@pytest.mark.parametrize(
    ("failure", "code", "said"),
    [
        (PilotError(Code.NOLOCALSPACE, "full"), Code.NOLOCALSPACE, "full"),
        (
            PluginFailed(PluginRef("belt", "pilot-belt", "1.2"), "pilot_job_verify", KeyError("x")),
            Code.PLUGINFAILED,
            "pilot-belt 1.2",
        ),
        (CancelledError("late"), Code.INTERNALPILOTPROBLEM, "CancelledError: late"),
        (ZeroDivisionError("division by zero"), Code.INTERNALPILOTPROBLEM, "ZeroDivisionError: division by zero"),
    ],
)
def test_whatever_is_raised_becomes_an_error_with_a_code(failure, code, said):
    def fail():
        raise failure

    error = answer(fail)
    assert isinstance(error, PilotError)
    assert error.code == code
    assert said in str(error)


def test_work_left_behind_is_named_and_its_late_answer_dropped(workers, calls):
    entered, held, answers = threading.Event(), threading.Event(), []

    def hangs():
        entered.set()
        held.wait(10)

    workers.begin("k", "stage_in/1", hangs, answers.append)
    entered.wait(10)
    assert ":" in workers.abandon("k")
    assert workers.left_behind()[0].startswith("stage_in/1 in ")
    held.set()
    come_home(calls)
    assert answers == []
    assert not workers.busy("k")
    assert workers.left_behind() == ()


def test_who_was_left_behind_and_came_home_is_no_longer_blamed(workers, calls):
    held, again = threading.Event(), threading.Event()
    workers.begin("k", "late", lambda: held.wait(10), lambda _: None)
    workers.abandon("k")
    held.set()
    come_home(calls)
    workers.begin("l", "healthy", lambda: again.wait(10), lambda _: None)
    assert workers.left_behind() == ()
    again.set()
    come_home(calls)


def test_threads_are_used_again_and_all_end_at_the_close(workers, calls):
    before = threading.active_count()
    for number in range(5):
        workers.begin(number, "work", lambda: None, lambda _: None)
        come_home(calls)
    assert threading.active_count() == before + 1
    workers.close()
    assert threading.active_count() == before


def test_a_lane_keeps_the_order_and_survives_a_failure():
    told = []
    lane = Lane("news")
    lane.put(lambda: told.append(1))
    lane.put(lambda: 1 / 0)
    lane.put(lambda: told.append(2))
    assert lane.close(5)
    assert told == [1, 2]


def test_a_lane_that_hangs_is_not_awaited_for_ever():
    held = threading.Event()
    lane = Lane("news")
    lane.put(lambda: held.wait(10))
    assert not lane.close(0.05)
    held.set()


@pytest.fixture
def node_without_threads(monkeypatch):
    """As `threading` says it."""

    def refuse(_):
        raise RuntimeError("can't start new thread")

    return lambda: monkeypatch.setattr(threading.Thread, "start", refuse)


def test_where_no_thread_is_to_be_had_work_waits_for_one_that_comes_home(calls, node_without_threads, caplog):
    hands, answers, held = Hands(), [], threading.Event()
    hands.prepare(1)
    node_without_threads()
    workers = Workers(calls.put, hands)
    workers.begin("first", "look", lambda: held.wait(10), answers.append)
    workers.begin("second", "report", lambda: 2, answers.append)
    assert workers.busy("second")
    assert "report waits for a thread: can't start new thread" in caplog.text
    held.set()
    come_home(calls)
    come_home(calls)
    assert answers == [True, 2]


def test_work_that_waited_in_vain_is_left_behind(calls, node_without_threads):
    node_without_threads()
    workers, answers = Workers(calls.put, Hands()), []
    workers.begin("k", "look", lambda: 7, answers.append)
    assert workers.abandon("k") == "nowhere: no thread was to be had"
    assert workers.left_behind() == ()
    assert not workers.busy("k")
    workers.close()


def test_a_call_that_finds_no_thread_has_failed(node_without_threads):
    node_without_threads()
    call = Patience(lambda: 7, "monitor disk", Hands())
    assert not call.hangs
    with pytest.raises(PilotError, match="monitor disk has no thread to run in: can't start new thread"):
        call.wait(5)
