"""A warning reaches those who listen, and ends nobody."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from pilot_core.io.listening import signal_listeners

HEARS = """
import signal, sys
def hear(*_):
    print("heard", flush=True)
    sys.exit(3)
signal.signal(signal.SIGUSR1, hear)
print("ready", flush=True)
while True:
    signal.pause()
"""


@pytest.fixture
def started():
    processes = []

    def start(*words):
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE}
        processes.append(subprocess.Popen(words, **pipes, text=True, start_new_session=True))
        return processes[-1]

    yield start
    for each in processes:
        each.kill()
        each.communicate()


def test_who_listens_hears_it_and_the_shell_around_it_does_not(started):
    shell = started("/bin/sh", "-c", f"{sys.executable} -c '{HEARS}'; echo it ended with $?")
    assert shell.stdout.readline() == "ready\n"
    assert signal_listeners(shell.pid, signal.SIGUSR1) == 1
    assert shell.stdout.readline() == "heard\n"
    assert shell.stdout.readline() == "it ended with 3\n"
    assert shell.wait(10) == 0


def test_nobody_listens(started):
    shell = started("/bin/sh", "-c", "echo ready; exec sleep 60")
    assert shell.stdout.readline() == "ready\n"
    assert signal_listeners(shell.pid, signal.SIGUSR1) == 0
    shell.kill()
    shell.wait(10)
    assert signal_listeners(shell.pid, signal.SIGUSR1) == 0
