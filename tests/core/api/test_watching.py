"""Real commands, watched."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading

import pytest

from pilot_core.api.services import Watch, awatch, watch

MIB = 1 << 20


def python(text: str) -> list[str]:
    return [sys.executable, "-IS", "-c", text]


@pytest.fixture
def gate(tmp_path):
    """A pipe that a command opens when it is ready, and that ends when all who have it open are gone."""
    path = tmp_path / "gate"
    os.mkfifo(path)
    return path


@pytest.mark.parametrize("code", [0, 1, 127, 255])
def test_an_exit_code_is_verbatim(code):
    watched = watch(["sh", "-c", f"exit {code}"])
    assert (watched.exit_code, watched.signal, watched.over_limit_b) == (code, None, None)


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM, signal.SIGUSR1, signal.SIGPIPE])
def test_a_signal_is_verbatim(signum):
    watched = watch(["sh", "-c", f"kill -{signum.value} $$"])
    assert (watched.exit_code, watched.signal) == (None, signum)


def test_a_command_that_is_not_there_is_an_error_of_the_system():
    with pytest.raises(FileNotFoundError) as missing:
        watch(["no-such-command"])
    assert missing.value.filename == "no-such-command"


def test_memory_is_that_of_the_whole_tree_and_each_point_is_told():
    child = "import subprocess, sys; b = bytearray(40 << 20); subprocess.run([sys.executable, '-c', sys.argv[1]])"
    told = []
    enough = threading.Event()

    def see(point):
        told.append(point)
        if point.processes > 1 and point.rss_b > 80 * MIB:
            enough.set()
            watching.stop()

    watching = Watch(
        [*python(child), "b = bytearray(40 << 20); import time; time.sleep(60)"], interval_s=0.05, grace_s=5, seen=see
    )
    watching.start()
    watched = watching.wait()
    assert enough.is_set()
    assert watched.peak_b > 80 * MIB
    assert list(watched.points) == told
    assert [point.at_s for point in told] == sorted(point.at_s for point in told)
    assert watched.signal == signal.SIGTERM


def test_what_uses_too_much_is_ended_with_all_it_started(gate):
    """A child that is deaf to SIGTERM holds the pipe open as long as it lives."""
    deaf = f"import signal, time; signal.signal(15, signal.SIG_IGN); f = open({str(gate)!r}, 'w'); time.sleep(60)"
    greedy = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {deaf!r}])\n"
    greedy += f"open({str(gate)!r}).close(); b = bytearray(90 << 20); time.sleep(60)"
    with open(os.open(gate, os.O_RDONLY | os.O_NONBLOCK)) as held:
        watched = watch(python(greedy), interval_s=0.05, memory_limit_b=80 * MIB, grace_s=0.2)
        assert watched.over_limit_b > 80 * MIB
        assert watched.signal in {signal.SIGTERM, signal.SIGKILL}
        os.set_blocking(held.fileno(), True)
        assert held.read() == ""


def test_memory_that_is_shared_counts_once(gate):
    """Four processes share 40 MiB: by the sum of what each has they would be over, and they are not."""
    text = f"import os; b = bytearray(b'x') * (40 << 20); held = os.open({str(gate)!r}, os.O_RDONLY)\n"
    text += "for _ in range(3): os.fork() or (os.read(held, 1), os._exit(0))\n"
    text += "[os.wait() for _ in range(3)]"
    with open(os.open(gate, os.O_RDWR), "wb", buffering=0) as letting:
        over = iter([0, 3])  # looked at once more after the first time

        def seen(point):
            if point.rss_b > 100 * MIB:
                letting.write(bytes(next(over, 0)))

        watched = watch(python(text), interval_s=0.05, memory_limit_b=100 * MIB, seen=seen)
    assert watched.exit_code == 0
    assert watched.over_limit_b is None
    assert watched.peak_b > 100 * MIB


def test_stop_ends_it_and_a_second_time_changes_nothing():
    watching = Watch(["sleep", "60"], grace_s=5)
    watching.start()
    watching.stop()
    watching.stop()
    assert watching.wait().signal == signal.SIGTERM
    watching.signal(signal.SIGKILL)


def test_as_a_coroutine_it_lets_the_loop_go_on_and_ends_the_command_when_cancelled(gate):
    async def both():
        quick = await awatch(["true"])
        slow = asyncio.create_task(awatch(["sh", "-c", f"exec 3> {gate}; exec sleep 60"], grace_s=5))
        door = await asyncio.to_thread(gate.open)
        slow.cancel()
        with pytest.raises(asyncio.CancelledError):
            await slow
        return quick, door

    quick, door = asyncio.run(both())
    with door:
        assert (quick.exit_code, door.read()) == (0, "")


def test_our_own_memory_is_not_taken_for_the_commands(tmp_path):
    """A process that forks from a big one is told as big; ours is, here."""
    text = "b = bytearray(b'x') * (150 << 20)\nfrom pilot_core.api.services import watch\nprint(watch(['true']).peak_b)"
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 50 * MIB
