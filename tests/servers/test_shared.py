"""A shared server is one for all, and ends with its last user, however that ends."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

from .shared import ROOT, shared

USER = """
import signal, sys
from pathlib import Path
from tests.servers.shared import shared
with shared("pki", Path(sys.argv[1])) as pki:
    print(pki.home, flush=True)
    signal.pause()
"""


def user(meeting: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", USER, str(meeting)]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env)


def landlord_of(meeting: Path) -> int:
    """Its pid; the folder where it meets its users is its last word."""
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().rstrip(b"\0").split(b"\0")
        except OSError:
            continue
        if words[-1] == bytes(meeting) and b"tests.servers.shared" in words:
            return int(entry.parent.name)
    raise AssertionError("no landlord")


def await_end(door: int) -> None:
    ended, _, _ = select.select([door], [], [], 30)
    assert ended, "the landlord stays"
    os.close(door)


def test_all_have_the_same_and_it_ends_after_the_last(tmp_path):
    with shared("pki", tmp_path) as one, shared("pki", tmp_path) as other:
        assert one == other
        landlord = os.pidfd_open(landlord_of(tmp_path))
    await_end(landlord)
    assert not one.home.exists()
    with shared("pki", tmp_path) as new:
        assert new.home != one.home
        landlord = os.pidfd_open(landlord_of(tmp_path))
    await_end(landlord)


def test_a_killed_user_keeps_nothing_up(tmp_path):
    with user(tmp_path) as killed:
        home = Path(killed.stdout.readline().strip())
        landlord = os.pidfd_open(landlord_of(tmp_path))
        assert home.exists()
        killed.send_signal(signal.SIGKILL)
    await_end(landlord)
    assert not home.exists()
