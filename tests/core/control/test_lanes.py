"""Several things at a time, and how far each has come."""

from __future__ import annotations

import json
import threading

import pytest

from pilot_core.control.lanes import UnderWay, in_lanes


def test_answers_come_in_order_and_lanes_work_side_by_side():
    meet = threading.Barrier(3, timeout=20)

    def work(number):
        meet.wait()
        return number * number

    assert in_lanes(work, range(6), 3, "lane") == [0, 1, 4, 9, 16, 25]
    assert not any(thread.name.startswith("lane") for thread in threading.enumerate())


@pytest.mark.parametrize("threads", [0, 1])
def test_on_a_node_with_too_few_threads_all_is_done_by_those_that_it_has(monkeypatch, threads):
    start, started = threading.Thread.start, []

    def grudging(thread):
        if len(started) == threads:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", grudging)
    assert in_lanes(lambda number: number * number, range(4), 3, "lane") == [0, 1, 4, 9]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_fails_is_no_answer():
    def work(number):
        raise SystemExit

    with pytest.raises(RuntimeError, match="3 of 3 came to no end"):
        in_lanes(work, range(3), 3, "lane")


def test_files_are_under_way_as_long_as_they_move():
    under_way = UnderWay()
    with under_way.move("1", "a", "in", 100) as a, under_way.move("2", "b", "out", None) as b:
        a.tell(60)
        b.tell(7)
        told = json.loads(json.dumps(under_way.told()))
        assert {job: [(each["name"], each["direction"]) for each in moving] for job, moving in told.items()} == {
            "1": [("a", "in")],
            "2": [("b", "out")],
        }
        assert (told["1"][0]["done_b"], told["1"][0]["size_b"]) == (60, 100)
        assert (told["2"][0]["done_b"], told["2"][0]["size_b"]) == (7, None)
        assert told["1"][0]["began"] > 0
        assert told["1"][0]["running_s"] >= 0
    assert under_way.told() == {}


def test_a_move_that_fails_is_over_too():
    under_way = UnderWay()
    with pytest.raises(OSError, match="cut"), under_way.move("1", "a", "in", None):
        raise OSError("cut")
    assert under_way.told() == {}


def test_two_moves_of_one_name_are_two():
    under_way = UnderWay()
    with under_way.move("1", "a", "in", 1) as first, under_way.move("1", "a", "in", 1):
        first.tell(1)
        assert sorted(each["done_b"] for each in under_way.told()["1"]) == [0, 1]
