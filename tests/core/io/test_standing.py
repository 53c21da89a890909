"""Where real processes stand."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from pilot_core.io.standing import Standing, in_words, standing_of, write_stacks


@contextmanager
def waiting(program: str) -> Iterator[subprocess.Popen[bytes]]:
    """A Python program that has said that it is ready and then waits for its input."""
    argv = [sys.executable, "-I", "-S", "-c", f"{program}\nprint(flush=True)\ninput()"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield process
        finally:
            process.kill()


def test_a_process_that_is_gone_stands_nowhere() -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    assert standing_of(process.pid) is None


def test_a_process_that_woke_up_often_is_seen_to() -> None:
    program = "import time\nfor _ in range(50): time.sleep(0.0001)"
    with waiting("") as quiet, waiting(program) as often:
        still, moved = standing_of(quiet.pid), standing_of(often.pid)
    assert still is not None
    assert moved is not None
    assert moved.switches >= still.switches + 40
    assert moved.pid == often.pid


def test_many_that_stand_alike_are_counted() -> None:
    each = [Standing(pid=n, name="sh", state="S", waits_in="do_wait") for n in (1, 2)]
    other = Standing(pid=3, name="cat", state="D")
    assert in_words([*each, other]) == "2 of sh sleeps in do_wait, cat waits uninterruptibly"
    assert in_words([*each, other], most=1) == "2 of sh sleeps in do_wait, others"
    assert in_words([]) == ""


def test_without_time_or_programs_the_kernel_tells_the_stacks() -> None:
    with waiting("import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()") as process:
        (told,) = write_stacks([process.pid], 0, os.environ)
        assert list(write_stacks([process.pid], 0, {"PATH": "/nowhere"})) != []
        tasks = os.listdir(f"/proc/{process.pid}/task")
    assert told.startswith(f"== process {process.pid}: ")
    assert [task in told for task in tasks] == [True, True]
    assert "wchan: " in told
