"""Sums over real process trees: threads that fork, orphans, zombies, the dead, and other platforms' way."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from pilot_core.io import proctree
from pilot_core.io.proctree import Identity, Sample, Tree, identity

MIB = 1 << 20


@contextmanager
def running(program: str) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """A Python program that prints a line of numbers when it is ready and ends when its input does."""
    argv = [sys.executable, "-I", "-S", "-c", "import os, subprocess, sys, threading, time\n" + program]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process, [int(word) for word in process.stdout.readline().split()]
        finally:
            if process.poll() is None:
                children = psutil.Process(process.pid).children(recursive=True)
                process.kill()
                for child in children:
                    with suppress(psutil.NoSuchProcess):
                        child.kill()


CHILDREN = """
def child():
    pid = os.fork()
    if not pid:
        time.sleep(600)
    return pid
"""
READY = "print(*pids, flush=True); sys.stdin.read()"
NESTED = (
    CHILDREN
    + """
out, into = os.pipe()
pids = [child()]
if not (pid := os.fork()):
    os.write(into, b"%d" % child())
    time.sleep(600)
pids += [pid, int(os.read(out, 20))]
"""
    + READY
)
BY_THREAD = (
    CHILDREN
    + """
pids = []
def start():
    pids.append(subprocess.Popen(["sleep", "600"]).pid)
    time.sleep(600)
for _ in range(3):
    threading.Thread(target=start, daemon=True).start()
while len(pids) < 3:
    time.sleep(0.01)
"""
    + READY
)


def until(holds: Callable[[], bool]) -> None:
    while not holds():
        time.sleep(0.01)


def pids(sample: Sample) -> set[int]:
    return {member.pid for member in sample.members}


READ_ALL = proctree._read_all


def _uncounted(fd: int) -> bytes:
    """As kernels say it that do not count how often a process ran."""
    return b"0 0 0\n" if os.readlink(f"/proc/self/fd/{fd}").endswith("/schedstat") else READ_ALL(fd)


WAYS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "children": lambda _: None,
    "scan": lambda patch: patch.setattr(proctree, "_has_children_files", lambda: False),
    "psutil": lambda patch: patch.setattr(proctree, "_has_proc", lambda: False),
    "unkept": lambda patch: patch.setattr(proctree, "_most_kept", lambda: 0),
    "uncounted": lambda patch: patch.setattr(proctree, "_read_all", _uncounted),
}


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    WAYS[request.param](monkeypatch)
    return str(request.param)


@pytest.mark.parametrize("program", [NESTED, BY_THREAD])
@pytest.mark.usefixtures("way")
def test_every_descendant_is_found(program: str) -> None:
    with running(program) as (process, started), Tree(process.pid) as tree:
        for _ in range(2):
            assert pids(tree.sample()) == {process.pid, *started}
        with Tree(process.pid, with_root=False) as below:
            assert pids(below.sample()) == set(started)


def test_sums_agree_with_an_independent_reader(way: str) -> None:
    program = "a = bytearray(64 << 20); pids = []\n" + NESTED
    with running(program) as (process, started), Tree(process.pid) as tree:
        sample = tree.sample(pss=True)
        others = [psutil.Process(pid) for pid in (process.pid, *started)]
        assert sample.rss_b == pytest.approx(sum(p.memory_info().rss for p in others), rel=0.02)
        assert sample.vmem_b == pytest.approx(sum(p.memory_info().vms for p in others), rel=0.02)
        assert sample.threads == 4
        assert sample.pss_b is not None
        if way != "psutil":
            full = sum(p.memory_full_info().pss for p in others)
            assert sample.pss_b == pytest.approx(full, rel=0.1)
            assert 64 * MIB < sample.pss_b < 90 * MIB < sample.rss_b - 150 * MIB, "shared pages count once"


def test_pss_is_left_out_unless_asked_for() -> None:
    with Tree(os.getpid()) as tree:
        assert tree.sample().pss_b is None
        assert tree.sample().swap_b is None


BUSY_CHILD = """
pids = [1]
if not (pid := os.fork()):
    end = time.process_time() + 0.4
    while time.process_time() < end:
        pass
    data = b"x" * 1000
    with open("/dev/null", "wb", buffering=0) as null:
        for _ in range(3000):
            null.write(data)
    os._exit(0)
"""


@pytest.mark.parametrize("reaped", [True, False])
@pytest.mark.parametrize("with_root", [True, False])
def test_what_the_dead_used_stays_in_the_sums(reaped: bool, with_root: bool) -> None:
    wait = "os.waitpid(pid, 0)" if reaped else "os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)"
    with (
        running(BUSY_CHILD + wait + "\n" + READY) as (process, _),
        Tree(process.pid, with_root=with_root) as tree,
    ):
        sample = tree.sample()
    assert sample.utime_s + sample.stime_s == pytest.approx(0.45, abs=0.15)
    assert sample.wchar_b >= 3_000_000
    assert pids(sample) == ({process.pid} if with_root else set())


REAPER = """
import ctypes
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
"""


def test_orphans_are_found_where_the_root_is_their_reaper() -> None:
    program = (
        REAPER
        + """
out, into = os.pipe()
if not (pid := os.fork()):
    if not (below := os.fork()):
        os.setsid()
        time.sleep(600)
    os.write(into, b"%d" % below)
    os._exit(0)
os.waitpid(pid, 0)
pids = [int(os.read(out, 20))]
"""
    )
    with running(program + READY) as (process, started), Tree(process.pid, with_root=False) as tree:
        assert pids(tree.sample()) == set(started)


def reads_of(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> int:
    """How often the next sample reads a file."""
    read: list[int] = []
    with monkeypatch.context() as patch:
        patch.setattr(proctree, "_read_all", lambda fd: read.append(fd) or READ_ALL(fd))
        tree.sample()
    return len(read)


def test_of_who_sleeps_one_file_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    program = CHILDREN + "pids = [child() for _ in range(100)]\n" + READY
    with running(program) as (process, started), Tree(process.pid, with_root=False) as tree:
        assert reads_of(tree, monkeypatch) == 4 * (1 + len(started))
        until(lambda: reads_of(tree, monkeypatch) == 3 + len(started))
        before = tree.sample()
        assert pids(before) == set(started)
        assert before == tree.sample()


def test_who_sleeps_may_be_given_an_orphan() -> None:
    """A reaper that sleeps on is its new parent."""
    program = """
out, into = os.pipe()
if not (pid := os.fork()):
    sys.stdin.readline()
    if not (pid := os.fork()):
        if not (orphan := os.fork()):
            time.sleep(600)
        os.write(into, b"%d\\n" % orphan)
        os._exit(0)
    os.waitpid(pid, 0)
    print(os.read(out, 20).decode(), end="", flush=True)
    time.sleep(600)
pids = [pid]
print(*pids, flush=True)
time.sleep(600)
"""
    with running(REAPER + program) as (process, started), Tree(process.pid) as tree:
        assert process.stdin is not None
        assert process.stdout is not None
        until(lambda: tree.sample() == tree.sample())
        process.stdin.write("\n")
        process.stdin.flush()
        orphan = int(process.stdout.readline())
        assert pids(tree.sample()) == {process.pid, *started, orphan}


def test_what_who_slept_does_next_is_in_the_sums() -> None:
    program = "print(1, flush=True)\nfor _ in sys.stdin:\n    data = bytearray(40 << 20)\n    print(1, flush=True)"
    with running(program) as (process, _), Tree(process.pid) as tree:
        assert process.stdin is not None
        assert process.stdout is not None
        until(lambda: tree.sample() == tree.sample())
        before = tree.sample()
        process.stdin.write("x\n")
        process.stdin.flush()
        process.stdout.readline()
        after = tree.sample()
    assert after.rss_b > before.rss_b + 30 * MIB
    assert after.rchar_b == before.rchar_b + 2


def test_a_process_that_ends_leaves_and_gives_back_its_descriptors(way: str) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with running(NESTED) as (process, started), Tree(process.pid) as tree:
        tree.sample()
        if way == "children":
            assert len(os.listdir("/proc/self/fd")) > before + 8
        os.kill(started[0], 9)
        while psutil.Process(started[0]).status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.01)
        assert pids(tree.sample()) == {process.pid, *started[1:]}, "a zombie lives no more"
        process.kill()
        process.wait()
        assert tree.sample() == Sample()
        for pid in started[1:]:
            os.kill(pid, 9)
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.usefixtures("way")
def test_a_root_that_never_was_gives_an_empty_sample() -> None:
    with subprocess.Popen(["true"]) as ended:
        pass
    assert identity(ended.pid) is None
    with Tree(ended.pid) as tree:
        assert tree.sample() == Sample()


def test_another_process_of_the_same_number_is_not_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    me = identity(os.getpid())
    assert me is not None
    monkeypatch.setattr(proctree, "identity", lambda pid: Identity(pid, me.start_ticks - 1))
    with Tree(os.getpid()) as tree:
        assert tree.sample() == Sample()


def test_who_has_given_back_its_memory_lives_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between that and being a zombie lies a moment that a look may hit."""
    read = proctree._Process.stat

    def stat(process: proctree._Process, parent: int, anew: bool) -> proctree._Stat | None:
        told = read(process, parent, anew)
        return told and told._replace(vmem_b=0, rss_pages=0)

    with Tree(os.getpid()) as tree:
        assert os.getpid() in pids(tree.sample())
        monkeypatch.setattr(proctree._Process, "stat", stat)
        assert os.getpid() not in pids(tree.sample(pss=True))


def test_who_ends_while_it_is_looked_at_shares_nothing() -> None:
    with subprocess.Popen(["true"]) as ending:
        os.waitid(os.P_PID, ending.pid, os.WEXITED | os.WNOWAIT)
        assert proctree._Process(ending.pid, kept=False).pss() == (0, 0)
    assert proctree._Process(ending.pid, kept=False).pss() == (0, 0)


def test_a_name_with_blanks_and_parentheses_is_read(tmp_path: Path) -> None:
    program = tmp_path / "a) R (9 9"
    program.symlink_to("/bin/sleep")
    with subprocess.Popen([str(program), "600"]) as process:
        try:
            me, found = identity(os.getpid()), identity(process.pid)
            assert me is not None
            assert found is not None
            assert found.start_ticks > me.start_ticks
        finally:
            process.kill()


def test_a_tree_that_forks_and_dies_all_the_time_is_no_trouble() -> None:
    storm = "print(1, flush=True)\nwhile True:\n    subprocess.Popen(['true']).wait()"
    with running(storm) as (process, _), Tree(process.pid) as tree:
        end = time.monotonic() + 1
        while time.monotonic() < end:
            assert process.pid in pids(tree.sample(pss=True))
    assert len(tree._known) == 0


def test_hundreds_of_children_are_all_seen() -> None:
    program = CHILDREN + "pids = [child() for _ in range(700)]\n" + READY
    with running(program) as (process, started), Tree(process.pid, with_root=False) as tree:
        assert pids(tree.sample()) == set(started)
        assert len(started) == 700
