"""Ending what carries a mark, wherever it went, and nothing else."""

from __future__ import annotations

import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pilot_core.io.process import MARK
from pilot_core.io.strays import end_strays
from pilot_core.keeper.process import look

SLEEP = [sys.executable, "-I", "-S", "-c", "import time; print(flush=True); time.sleep(60)"]
PARENT = [
    *SLEEP[:-1],
    f"import subprocess; subprocess.Popen({SLEEP!r}, env={{}}, start_new_session=True).wait()",
]


@pytest.fixture
def begin():
    begun = []

    def start(argv, **env):
        begun.append(subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, start_new_session=True))
        assert begun[-1].stdout.readline()
        return begun[-1]

    yield start
    for each in begun:
        each.kill()
        each.wait()
        each.stdout.close()


def test_what_is_marked_ends_and_nothing_else(begin):
    mark = secrets.token_hex(16)
    ours, others, plain = begin(SLEEP, **{MARK: mark}), begin(SLEEP, **{MARK: secrets.token_hex(16)}), begin(SLEEP)
    end_strays(mark)
    assert ours.wait(5) == -signal.SIGKILL
    assert (others.poll(), plain.poll()) == (None, None)


def test_what_threw_its_environment_away_ends_with_its_parent(begin):
    mark = secrets.token_hex(16)
    parent = begin(PARENT, **{MARK: mark})
    (child,) = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()
    end_strays(mark)
    assert parent.wait(5) == -signal.SIGKILL
    until = time.monotonic() + 5
    while (seen := look(int(child))) and not seen.over:
        assert time.monotonic() < until
        time.sleep(0.01)


def test_the_leader_is_known_by_its_start_and_not_only_by_its_number(begin):
    leader = begin(SLEEP)
    seen = look(leader.pid)
    end_strays("", (seen.pid, seen.start + 1))
    assert leader.poll() is None
    end_strays("", seen.identity)
    assert leader.wait(5) == -signal.SIGKILL


def test_no_mark_is_nobodys(begin):
    empty = begin(SLEEP, **{MARK: ""})
    end_strays("")
    assert empty.poll() is None
