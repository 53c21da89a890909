"""``pilot watch``: real processes, because it ends as its command did."""

from __future__ import annotations

import csv
import json
import os
import pty
import signal
import subprocess
import sys

import pytest

PILOT = [sys.executable, "-m", "pilot_core", "watch"]


def watch(*words, **how):
    return subprocess.run([*PILOT, *map(str, words)], capture_output=True, text=True, **how)


@pytest.mark.parametrize("code", [0, 3, 255])
def test_it_ends_with_the_commands_exit_code_and_leaves_its_output_alone(code):
    done = watch("--", "sh", "-c", f"cat; exit {code}", input="as it is\n")
    assert (done.returncode, done.stdout) == (code, "as it is\n")
    assert f"pilot watch: ended:     exit code {code}" in done.stderr


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM, signal.SIGPIPE])
def test_it_ends_by_the_commands_signal(signum):
    done = watch("--", "sh", "-c", f"kill -{signum.value} $$")
    assert done.returncode == -signum
    assert f"signal {signum.value}\n" in done.stderr


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGRTMIN + 3])
def test_signals_are_passed_on(signum):
    trap = f"trap 'echo got it; exit 5' {int(signum)}; echo ready; while :; do read line; done"
    words = ["env", "--default-signal", *PILOT, "--", "bash", "-c", trap]  # a shell's background job ignores some
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout.readline() == b"ready\n"
        running.send_signal(signum)
        assert running.stdout.readline() == b"got it\n"
        running.communicate()
        assert running.returncode == 5


def test_what_a_terminal_sends_to_both_comes_once():
    """Ctrl-C goes to all in the foreground; the command counts how often it came."""
    count = "import signal, sys, time\nseen = []\nsignal.signal(2, lambda *_: seen.append(1))\n"
    count += "print('ready', flush=True)\nwhile not seen: time.sleep(0.05)\ntime.sleep(0.5); sys.exit(len(seen))"
    pid, terminal = pty.fork()
    if not pid:
        os.execv(sys.executable, [*PILOT, "--", sys.executable, "-c", count])
    with open(terminal, "r+b", buffering=0) as there:
        assert there.readline().strip() == b"ready"
        there.write(b"\x03")
        _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 1


def test_the_series_and_the_summary_are_written(tmp_path):
    series, summary = tmp_path / "series.csv", tmp_path / "summary.json"
    done = watch("--interval", "50 ms", "--pss", "--series", series, "--to", summary, "--json", "--", "sleep", "0.5")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    rows = list(csv.DictReader(series.read_text().splitlines()))
    told = json.loads(summary.read_text())
    assert told["points"] == len(rows) > 1
    assert int(rows[-1]["rss_b"]) >= int(rows[-1]["pss_b"]) > 0
    assert (told["exit_code"], told["signal"], told["over_limit_b"]) == (0, None, None)
    assert told["growth"].keys() == {"b_per_s", "error_b_per_s", "points"}


def test_what_is_ended_for_its_memory_did_not_succeed():
    text = "import signal, sys, time; signal.signal(15, lambda *_: sys.exit(0))\n"
    text += "b = bytearray(80 << 20); time.sleep(60)"
    done = watch("--memory-limit", "60 MB", "--interval", "50 ms", "--", sys.executable, "-c", text)
    assert done.returncode == 1
    assert "MB: the limit is 60.0 MB" in done.stderr


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--", "no-such-command"), 127, "pilot: no-such-command: No such file or directory\n"),
        (("--", "/"), 126, "pilot: /: Permission denied\n"),
        (("--memory-limit", "2 lots", "--", "true"), 2, "wants a number of bytes, or as '2 GB', not '2 lots'"),
        (("--interval", "0", "--", "true"), 2, "interval: wants at least 0.01, not '0'"),
        (("--series", "/no/where", "--", "true"), 1, "pilot: /no/where: No such file or directory\n"),
        ((), 2, "COMMAND"),
    ],
    ids=["no command", "a folder", "no size", "no interval", "no place", "nothing"],
)
def test_mistakes_are_told_in_one_sentence(words, code, said):
    done = watch(*words)
    assert done.returncode == code
    assert said in done.stderr
