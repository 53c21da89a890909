"""Calls in a child: results, errors, crashes, hang-ups; and nothing is left behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from pilot_core.errors import PilotError
from pilot_core.io import helper
from pilot_core.io.cancel import CancelFlag, Cancelled
from pilot_core.io.helper import ChildDied, ChildRaised, call_in_child

TOOL = '''
import json, os, signal, subprocess, sys, threading, time
from pilot_core.errors import PilotError, code

def echo(payload, report):
    return payload

def where(payload, report):
    fds = len(os.listdir("/proc/self/fd"))
    return {"pid": os.getpid(), "group": os.getpgrp(), "env": dict(os.environ), "fds": fds}

def count(payload, report):
    for number in range(payload):
        report({"done": number})
    return "counted"

def chatter(payload, report):
    for _ in range(payload):
        os.write(1, b"noise " * 10000)
    print("the last line")
    raise ValueError("too loud")

def print_and_die(payload, report):
    print("before the crash")
    os.kill(os.getpid(), 9)

def fail_as_a_pilot(payload, report):
    raise PilotError(code(1137), "nothing there", url="root://x")

class Tools:
    @staticmethod
    def nested(payload, report):
        return "found"

def die(payload, report):
    os.kill(os.getpid(), payload)

def leave(payload, report):
    sys.exit(payload)

def no_json(payload, report):
    return object()

def hang(payload, report):
    """Ignore what can be ignored, with a program below that does so too."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    below = subprocess.Popen([sys.executable, "-c",
        "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(600)"])
    report([os.getpid(), below.pid])
    threading.Lock().acquire() or time.sleep(600)
    time.sleep(600)

def result_and_hanging_exit(payload, report):
    import atexit
    atexit.register(time.sleep, 600)
    subprocess.Popen(["sleep", "600"])
    return os.getpgrp()
'''


@pytest.fixture(autouse=True)
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a_tool.py").write_text(TOOL)
    monkeypatch.syspath_prepend(str(tmp_path))


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()


def wait_until_gone(*pids: int) -> None:
    end = time.monotonic() + 5
    while not all(map(gone, pids)):
        assert time.monotonic() < end, f"{pids} live on"
        time.sleep(0.01)


def no_group(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.parametrize("payload", [None, {"ä": [1, 2.5, True, "\n\0"]}, "x" * 3_000_000])
def test_what_goes_in_comes_out(payload: Any) -> None:
    assert call_in_child("a_tool:echo", payload, 20) == payload


def test_a_callable_inside_a_class_is_found() -> None:
    assert call_in_child("a_tool:Tools.nested", None, 20) == "found"


def test_the_child_has_its_own_group_environment_and_no_file_of_ours(tmp_path: Path) -> None:
    with (tmp_path / "ours").open("w") as ours:
        os.set_inheritable(ours.fileno(), True)
        child = call_in_child("a_tool:where", None, 20, env={"PROXY": "/x"})
    assert child["group"] == child["pid"] != os.getpid()
    assert child["env"]["PROXY"] == "/x"
    assert "PATH" not in child["env"]
    assert child["fds"] == 5, "0, 1, 2, the channel, and the listing itself"


def test_progress_comes_in_order_before_the_result() -> None:
    seen: list[Any] = []
    assert call_in_child("a_tool:count", 500, 20, seen.append) == "counted"
    assert seen == [{"done": number} for number in range(500)]


def test_an_exception_comes_with_its_name_and_the_end_of_a_flood_of_output() -> None:
    with pytest.raises(ChildRaised, match=r"^a_tool:chatter raised ValueError: too loud$") as caught:
        call_in_child("a_tool:chatter", 100, 20)
    assert caught.value.type == "ValueError"
    assert "the last line" in caught.value.output
    assert len(caught.value.output) <= 4096


def test_a_pilot_error_stays_one() -> None:
    with pytest.raises(PilotError) as caught:
        call_in_child("a_tool:fail_as_a_pilot", None, 20)
    assert (caught.value.code.number, caught.value.detail) == (1137, "nothing there")
    assert caught.value.facts == {"url": "root://x"}


@pytest.mark.parametrize(
    ("target", "type"),
    [
        ("a_tool:absent", "AttributeError"),
        ("no_tool:x", "ModuleNotFoundError"),
        ("a_tool:no_json", "TypeError"),
    ],
)
def test_a_wrong_target_or_result_is_an_error_in_its_name(target: str, type: str) -> None:
    with pytest.raises(ChildRaised, match=f"^{target} raised {type}"):
        call_in_child(target, None, 20)


@pytest.mark.parametrize("signum", [signal.SIGSEGV, signal.SIGKILL, signal.SIGTERM, signal.SIGABRT])
def test_a_crash_names_target_and_signal(signum: signal.Signals) -> None:
    with pytest.raises(ChildDied, match=f"^a_tool:die died of {signum.name} before it answered$") as caught:
        call_in_child("a_tool:die", int(signum), 20)
    assert caught.value.status == -signum
    if signum == signal.SIGSEGV:
        assert "in die" in caught.value.output, "the stack of the crash is kept"


def test_what_was_printed_before_a_crash_is_kept() -> None:
    with pytest.raises(ChildDied) as caught:
        call_in_child("a_tool:print_and_die", None, 20)
    assert caught.value.output == "before the crash\n"


@pytest.mark.parametrize("status", [0, 3])
def test_an_exit_without_an_answer_is_told_apart(status: int) -> None:
    with pytest.raises(ChildDied, match=f"exited with {status} before"):
        call_in_child("a_tool:leave", status, 20)


def test_the_deadline_kills_the_whole_group() -> None:
    pids: list[int] = []
    began = time.monotonic()
    with pytest.raises(TimeoutError, match=r"a_tool:hang did not end within 1 s"):
        call_in_child("a_tool:hang", None, 1, pids.extend)
    assert time.monotonic() - began < 3
    assert len(pids) == 2
    wait_until_gone(*pids)


def test_a_request_that_is_never_taken_meets_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pilot_core.io.helper._BOOT", "import time; time.sleep(600)")
    with pytest.raises(TimeoutError):
        call_in_child("a_tool:echo", "x" * 5_000_000, 0.3)


def test_a_cancel_ends_the_call_at_once() -> None:
    cancel, pids = CancelFlag(), list[int]()

    def progress(now: list[int]) -> None:
        pids.extend(now)
        threading.Timer(0.05, cancel.set).start()

    began = time.monotonic()
    with pytest.raises(Cancelled):
        call_in_child("a_tool:hang", None, 60, progress, cancel)
    assert time.monotonic() - began < 3
    wait_until_gone(*pids)


def test_a_cancel_asked_before_the_call_counts() -> None:
    cancel = CancelFlag()
    cancel.set()
    with pytest.raises(Cancelled):
        call_in_child("a_tool:hang", None, 60, None, cancel)


def test_an_error_of_the_listener_ends_the_child() -> None:
    pids: list[int] = []

    def refuse(now: list[int]) -> None:
        pids.extend(now)
        raise LookupError("not wanted")

    with pytest.raises(LookupError):
        call_in_child("a_tool:hang", None, 60, refuse)
    wait_until_gone(*pids)


def test_after_the_result_nothing_is_waited_for_and_nothing_left() -> None:
    began = time.monotonic()
    group = call_in_child("a_tool:result_and_hanging_exit", None, 60)
    assert time.monotonic() - began < 5
    end = time.monotonic() + 5
    while not no_group(group):
        assert time.monotonic() < end, "a program of the child lives on"
        time.sleep(0.01)


def test_the_child_leaves_without_exit_handlers_even_if_nobody_ends_it() -> None:
    ours, theirs = socket.socketpair()
    with ours, helper._start(theirs, None) as child:
        ours.sendall(b'{"target": "a_tool:result_and_hanging_exit", "payload": null}\n')
        try:
            assert child.wait(10) == 0
        finally:
            os.killpg(child.pid, signal.SIGKILL)


def test_the_child_ends_with_its_caller(tmp_path: Path) -> None:
    program = (
        f"import sys; sys.path[:] = {sys.path!r}; from pilot_core.io.helper import call_in_child;"
        "call_in_child('a_tool:hang', None, 600, lambda pids: print(*pids, flush=True))"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as caller:
        assert caller.stdout is not None
        pids = [int(pid) for pid in caller.stdout.readline().split()]
        caller.kill()
    assert len(pids) == 2
    wait_until_gone(*pids)


def test_many_calls_leave_no_descriptor_and_no_zombie() -> None:
    before, children = os.listdir("/proc/self/fd"), {*psutil.Process().children()}
    threads = [threading.Thread(target=call_in_child, args=("a_tool:echo", n, 20)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(os.listdir("/proc/self/fd")) == len(before)
    assert {*psutil.Process().children()} <= children
