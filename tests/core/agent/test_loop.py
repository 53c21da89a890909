"""The loop: every event once and in order, timers when they are due, and nothing in between."""

from __future__ import annotations

import threading
import time

from pilot_core.agent.loop import Loop
from pilot_core.clock import SystemClock
from pilot_core.io.box import Box


def a_loop(step):
    box = Box()
    return box, Loop((), step, box, SystemClock())


def collect(state, event):
    return (*state, event), (event,)


def test_events_become_commands_in_order():
    box, loop = a_loop(collect)
    done = []

    def perform(command):
        done.append(command)
        if command == "last":
            loop.end()

    for event in ("first", "second", "last"):
        box.post(event)
    assert loop.run(perform) == ("first", "second", "last")
    assert done == ["first", "second", "last"]


def test_a_call_from_another_thread_is_made_in_the_loops_own():
    _, loop = a_loop(collect)
    seen = []

    def call():
        seen.append(threading.get_ident())
        loop.end()

    threading.Timer(0.02, loop.soon, args=(call,)).start()
    loop.run(lambda _: None)
    assert seen == [threading.get_ident()]


def test_timers_go_off_in_the_order_of_their_times_whatever_the_order_of_setting():
    _, loop = a_loop(collect)
    rung = []
    loop.after("late", 0.03, lambda: (rung.append("late"), loop.end()))
    loop.after("soon", 0.01, lambda: rung.append("soon"))
    loop.run(lambda _: None)
    assert rung == ["soon", "late"]


def test_a_timer_of_the_same_key_replaces_and_a_dropped_one_is_silent():
    _, loop = a_loop(collect)
    rung = []
    loop.after("key", 0.01, lambda: rung.append("old"))
    loop.after("key", 0.02, lambda: rung.append("new"))
    loop.after("gone", 0.01, lambda: rung.append("gone"))
    loop.drop("gone")
    loop.after("end", 0.05, loop.end)
    loop.run(lambda _: None)
    assert rung == ["new"]


def test_an_idle_loop_does_not_wake_up():
    turns = []

    class Counting(Box):
        def wait(self, timeout_s=None):
            turns.append(timeout_s)
            return super().wait(timeout_s)

    box = Counting()
    loop = Loop((), collect, box, SystemClock())
    loop.after("end", 0.3, loop.end)
    began = time.process_time()
    loop.run(lambda _: None)
    assert len(turns) <= 2
    assert time.process_time() - began < 0.1
