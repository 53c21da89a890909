import os
import signal
import socket
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pilot_core.io.box as box_module
from pilot_core.io.box import Box


@pytest.fixture(params=["eventfd", "pipe"])
def box(request, monkeypatch):
    if request.param == "pipe":
        monkeypatch.setattr(box_module, "_bell_fds", box_module._pipe)
    box = Box()
    yield box
    box.close()


def test_events_come_in_the_order_posted(box):
    for number in range(5):
        box.post(number)
    assert box.wait() == [0, 1, 2, 3, 4]
    assert box.wait(0) == []


def test_waiting_ends_with_the_time(box):
    start = time.monotonic()
    assert box.wait(0.05) == []
    assert 0.045 <= time.monotonic() - start < 1


def test_a_post_from_a_thread_ends_a_wait_without_end(box):
    for text in ("hello", "again"):
        threading.Timer(0.05, box.post, [text]).start()
        assert box.wait() == [text]


def test_many_posts_wake_once(box):
    for number in range(1000):
        box.post(number)
    assert len(box.wait()) == 1000
    start = time.monotonic()
    assert box.wait(0.03) == []
    assert time.monotonic() - start >= 0.025


def test_waiting_costs_no_cpu(box):
    start = time.process_time()
    box.wait(0.3)
    assert time.process_time() - start < 0.05


@given(counts=st.lists(st.integers(0, 300), min_size=1, max_size=6))
@settings(max_examples=20, deadline=None)
def test_nothing_is_lost_or_reordered_whatever_threads_do(counts):
    box = Box()

    def feed(thread, count):
        for number in range(count):
            box.post((thread, number))

    threads = [threading.Thread(target=feed, args=pair) for pair in enumerate(counts)]
    for thread in threads:
        thread.start()
    heard = []
    while len(heard) < sum(counts):
        events = box.wait(5)
        assert events or any(thread.is_alive() for thread in threads)
        heard += events
    for thread in threads:
        thread.join()
    box.close()
    for thread, count in enumerate(counts):
        assert [number for who, number in heard if who == thread] == list(range(count))


def test_a_lent_socket_brings_its_events(box):
    here, there = socket.socketpair()
    with here, there:
        box.lend(here, lambda: here.recv(100).decode().split())
        there.send(b"one two")
        assert box.wait() == ["one", "two"]
        box.take_back(here)
        there.send(b"three")
        assert box.wait(0.02) == []
        with pytest.raises(KeyError):
            box.take_back(here)


def test_a_source_that_is_never_quiet_does_not_keep_posts_out_nor_the_reverse(box):
    here, there = socket.socketpair()
    with here, there:
        there.send(b"x")
        box.lend(here, lambda: ["ready"])
        box.post("posted")
        assert sorted(box.wait()) == ["posted", "ready"]


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="the platform has no pidfd")
def test_a_pidfd_tells_the_end_of_a_process_and_is_taken_back_while_it_is_told(box):
    pid = os.posix_spawn("/bin/sh", ["sh", "-c", "exit 3"], {})
    pidfd = os.pidfd_open(pid)

    def ended():
        box.take_back(pidfd)
        return [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])]

    box.lend(pidfd, ended)
    assert box.wait(10) == [3]
    os.close(pidfd)


def test_a_source_taken_back_by_another_in_the_same_wait_is_not_asked(box):
    first, second = socket.socketpair()
    asked = []

    def told(own, other):
        asked.append(own)
        box.take_back(other)
        return []

    with first, second:
        first.send(b"x")
        second.send(b"x")
        box.lend(first, lambda: told(first, second))
        box.lend(second, lambda: told(second, first))
        assert box.wait() == []
        assert len(asked) == 1


def test_a_signal_that_was_blocked_before_is_heard_all_the_same():
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    box = Box()
    try:
        box.watch_signals([signal.SIGUSR1], lambda signum: ("signal", signum))
        os.kill(os.getpid(), signal.SIGUSR1)
        assert box.wait(5) == [("signal", signal.SIGUSR1)]
    finally:
        box.close()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def test_signals_become_events_and_are_given_back():
    before = signal.getsignal(signal.SIGUSR1)
    box = Box()
    box.watch_signals([signal.SIGUSR1], lambda signum: ("signal", signum))
    box.watch_signals([signal.SIGUSR2], lambda signum: ("signal", signum))
    os.kill(os.getpid(), signal.SIGUSR1)
    assert box.wait(5) == [("signal", signal.SIGUSR1)]
    threading.Timer(0.05, os.kill, [os.getpid(), signal.SIGUSR2]).start()
    assert heard(box) == [("signal", signal.SIGUSR2)]
    box.close()
    assert signal.getsignal(signal.SIGUSR1) is before
    assert signal.set_wakeup_fd(-1) == -1


def heard(box):
    """The first events; a signal may end the wait before its number is read."""
    return next(events for _ in range(3) if (events := box.wait(5)))


def test_after_the_last_box_the_signals_that_it_watched_change_nothing_any_more():
    before = signal.getsignal(signal.SIGUSR1)
    box = Box(last=True)
    box.watch_signals([signal.SIGUSR1], lambda signum: signum)
    box.close()
    try:
        os.kill(os.getpid(), signal.SIGUSR1)
        assert signal.getsignal(signal.SIGUSR1) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_signals_that_are_not_watched_are_no_events(box):
    before = signal.signal(signal.SIGUSR2, lambda *_: None)
    try:
        box.watch_signals([signal.SIGUSR1], lambda signum: signum)
        os.kill(os.getpid(), signal.SIGUSR2)
        assert box.wait(0.05) == []
    finally:
        signal.signal(signal.SIGUSR2, before)


def test_a_late_post_to_a_closed_box_touches_no_descriptor():
    box = Box()
    box.close()
    taken = os.open(os.devnull, os.O_RDONLY)  # the number that the bell had, or near it
    box.post("late")
    os.close(taken)
