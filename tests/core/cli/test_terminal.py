"""What a terminal shows of a running pilot: the lines, the block they stand in, and all of it on a real terminal."""

from __future__ import annotations

import fcntl
import io
import json
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import threading
import time

import pytest

from pilot_core.cli.terminal import Block, Live, fit, harmless, lines, padded, redraws, wide

JOB = {
    "id": "4711",
    "attempt": 1,
    "phase": "running",
    "waits_for_slot": False,
    "cores": 2,
    "running_s": 75.0,
    "cpu_s": 70.0,
    "rss_b": 1_500_000_000,
    "stored": [],
    "error": None,
    "transfers": [],
}
STATUS = {
    "mode": "open",
    "queue": "local",
    "workdir": "/w",
    "slot": {"cores": 8, "memory_b": 16_000_000_000, "gpus": ["0"]},
    "finished": 1,
    "failed": 0,
    "reason": None,
    "jobs": [JOB],
}
MOVING = {"name": "a.txt", "direction": "in", "done_b": 1_000_000_000, "size_b": 4_000_000_000, "running_s": 10.0}
KEPT = {name: os.environ[name] for name in ("PATH", "HOME", "PYTHONPATH") if name in os.environ}
TAKE_TERMINAL = """
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


def set_columns(terminal, columns):
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))


class Screen:
    """A terminal of so many columns, as far as the codes go that are used here; what scrolls out of it is kept."""

    TOKEN = re.compile(r"\x1b\[(\d*)([A-Za-z])|([\r\n])|([^\x1b\r\n])")

    def __init__(self, columns=80):
        self.columns = columns
        self.rows = [""]
        self.row = self.column = 0
        self.styles = set()

    def feed(self, text):
        """Take all of the text but an escape sequence that is not complete."""
        at = 0
        for found in self.TOKEN.finditer(text):
            assert found.start() == at, f"what is {text[at : found.start()]!r}?"
            at = found.end()
            number, order, move, letter = found.groups()
            self._order(order, number) if order else self._move(move) if move else self._write(letter)
        return text[at:]

    def _order(self, order, number):
        match order:
            case "A":
                self.row -= int(number)
                assert self.row >= 0
            case "J":
                assert (number, self.column) == ("", 0)
                self.rows[self.row :] = [""]
            case "m":
                self.styles.add(number)
            case _:
                raise AssertionError(order)

    def _move(self, move):
        if move == "\r":
            self.column = 0
            return
        self.row += 1
        while len(self.rows) <= self.row:
            self.rows.append("")

    def _write(self, letter):
        if self.column + wide(letter) > self.columns:
            self.column = 0
            self._move("\n")
        line = self.rows[self.row].ljust(self.column)
        self.rows[self.row] = line[: self.column] + letter + line[self.column + 1 :]
        self.column += 1

    @property
    def text(self):
        return "\n".join(self.rows)


class Paper(io.StringIO):
    """A terminal without a size, in an encoding."""

    def __init__(self, encoding="utf-8", tty=True):
        super().__init__()
        self._encoding, self._tty = encoding, tty

    @property
    def encoding(self):
        return self._encoding

    def isatty(self):
        return self._tty

    def shown(self):
        screen = Screen()
        assert screen.feed(self.getvalue().replace("\n", "\r\n")) == ""
        return screen


# --- lines ----------------------------------------------------------------------------------------------------------


def test_a_pilot_with_three_jobs():
    waits = {**JOB, "id": "日本", "phase": "stage_in", "waits_for_slot": True}
    moving = [MOVING, {**MOVING, "name": "b.txt", "direction": "out", "done_b": 0, "size_b": None, "running_s": 0.0}]
    fails = {**JOB, "id": "4712", "attempt": 2, "stored": ["x"], "cpu_s": 0.0, "rss_b": 0, "transfers": moving}
    jobs = [JOB, {**fails, "error": "1099 STAGEINFAILED: \x1b[2Jno\nway"}, waits]
    assert lines({**STATUS, "jobs": jobs}, 100) == [
        "pilot for queue local: open; 3 jobs under way, 1 finished, 0 failed",
        "  slot: 4 of 8 cores, 16.0 GB, 1 GPU",
        "  Ctrl-C stops it, `pilot drain /w` lets it finish",
        "  4711    running   1 min 15 s, cpu 1 min 10 s, memory 1.5 GB",
        "  4712.2  running   1 min 15 s, 1 file stored",
        "    ! 1099 STAGEINFAILED: \\x1b[2Jno way",
        "    <- a.txt  [#####---------------]  25%  1.0 GB of 4.0 GB, 100.0 MB/s",
        "    -> b.txt  0 B",
        "  日本    stage_in  waits for the slot",
    ]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"mode": "draining"}, "  ends after these; Ctrl-C stops it"),
        ({"mode": "stopping"}, "  stops; Ctrl-C hurries it"),
        ({"reason": "1200 SIGTERM"}, "  ends because of 1200 SIGTERM"),
        ({"workdir": ""}, "  Ctrl-C stops it, `pilot drain` lets it finish"),
    ],
)
def test_how_it_can_be_ended(more, said):
    assert lines({**STATUS, **more}, 100)[2] == said


def test_what_an_older_pilot_does_not_say_is_left_out():
    job = {name: value for name, value in JOB.items() if name not in ("cores", "transfers")}
    told = {name: value for name, value in STATUS.items() if name not in ("queue", "workdir")}
    said = lines({**told, "jobs": [job]}, 100)
    assert said[0] == "pilot: open; 1 job under way, 1 finished, 0 failed"
    assert said[1] == "  slot: 8 cores, 16.0 GB, 1 GPU"


@pytest.mark.parametrize("width", [1, 2, 3, 5, 20, 33, 40, 79])
def test_no_line_is_wider_than_the_terminal(width):
    job = {**JOB, "id": "日本" * 30, "error": "日本語" * 40, "transfers": [{**MOVING, "name": "語" * 90}]}
    said = lines({**STATUS, "jobs": [job]}, width)
    assert len(said) == 6
    assert max(map(wide, said)) <= width
    assert width < 20 or "..." in said[3]


def test_widths():
    assert [wide(text) for text in ("abc", "日本", "e\u0301", "")] == [3, 4, 1, 0]
    assert [fit("日本語", width) for width in (6, 5, 4, 3)] == ["日本語", "日...", "...", "..."]
    assert padded("日本", 6) == "日本  "
    assert harmless("a\x1b[1m\u202eb\n\tc") == "a\\x1b[1m\\u202eb\n\tc"


# --- the block ------------------------------------------------------------------------------------------------------


def test_what_is_written_scrolls_above_the_block():
    paper = Paper()
    block = Block(paper, {})
    for text in ("one", "two"):
        block.show([f"state {text}", "  more"])
        block.write(f"log {text}\n")
    assert paper.shown().text == "log one\nlog two\nstate two\n  more\n"
    block.show(["short"])
    assert paper.shown().text == "log one\nlog two\nshort\n"
    block.close()
    block.write("after\n")
    assert paper.shown().text == "log one\nlog two\nafter\n"


def test_a_block_that_is_left_stays():
    paper = Paper()
    block = Block(paper, {})
    block.show(["state"])
    block.leave()
    block.write("after\n")
    assert paper.shown().text == "state\nafter\n"


def test_more_lines_than_rows_are_counted():
    paper = Paper()
    Block(paper, {}).show([f"  {number}" for number in range(40)])
    shown = paper.shown().rows
    assert shown[21:] == ["  21", "  ... 18 more", ""]


def test_colours_are_for_who_wants_them():
    for environ, styles in (({}, {"1", "2", "31", "0"}), ({"NO_COLOR": ""}, set())):
        paper = Paper()
        Block(paper, environ).show(["head", "  job", "    ! error", "    <- file"])
        assert paper.shown().styles == styles


def test_letters_that_a_terminal_has_not():
    paper = Paper("latin-1")
    Block(paper, {}).show(["日本 é"])
    assert paper.shown().text == "?? é\n"


def test_lines_that_a_narrower_terminal_has_wrapped_are_erased_whole():
    master, slave = pty.openpty()
    set_columns(master, 100)
    with os.fdopen(slave, "w", encoding="utf-8") as stream:
        block = Block(stream, {})
        block.show(["x" * 60, "y"])
        set_columns(master, 30)
        block.show([])
        shown = ""
        while not shown.endswith("\x1b[J"):
            shown += os.read(master, 1000).decode()
        assert shown.endswith("\r\x1b[3A\x1b[J")
    os.close(master)


def test_where_a_block_can_be():
    assert redraws(Paper(), {"TERM": "xterm"})
    assert not redraws(Paper(), {"TERM": "dumb"})
    assert not redraws(Paper(), {})
    assert not redraws(Paper(tty=False), {"TERM": "xterm"})


def test_a_terminal_that_is_gone_disturbs_nobody():
    master, slave = pty.openpty()
    stream = os.fdopen(slave, "w", encoding="utf-8")
    block = Block(stream, {})
    block.show(["state"])
    os.close(master)
    assert block.write("log\n") == 4
    block.close()
    with pytest.raises(OSError, match="Input/output"):
        stream.close()


def test_a_live_view_asks_until_it_is_left_and_shows_nothing_where_nobody_answers():
    paper, asked = Paper(), threading.Semaphore(0)
    answers = iter([None, STATUS])

    def ask():
        asked.release()
        return next(answers, STATUS)

    with Live(Block(paper, {}), ask, every_s=0.001):
        for _ in range(4):
            assert asked.acquire(timeout=20)
    assert "pilot for queue local: open" in paper.getvalue()
    assert paper.shown().text == ""
    assert not any(thread.name == "live view" for thread in threading.enumerate())


# --- a pilot on a terminal ------------------------------------------------------------------------------------------


class Terminal:
    """A pseudo-terminal with a pilot on it, whose answer goes elsewhere."""

    def __init__(self, root, *words, columns=80, workdir="work", **environ):
        self.master, slave = pty.openpty()
        set_columns(self.master, columns)
        self.screen, self.rest, self.raw = Screen(columns), "", ""
        command = [sys.executable, "-m", "pilot_core", "run", "--job", "job.yaml", "--workdir", workdir, *words]
        streams = {"stdin": slave, "stdout": subprocess.PIPE, "stderr": slave, "text": True}
        self.pilot = subprocess.Popen(
            [sys.executable, "-c", TAKE_TERMINAL, *command], cwd=root, env={**KEPT, **environ}, **streams
        )
        os.close(slave)

    def read(self):
        """Whether there was more to read."""
        assert select.select([self.master], [], [], 30)[0], f"nothing came after {self.raw!r}"
        try:
            data = os.read(self.master, 65536).decode()
        except OSError:
            return False
        self.raw += data
        self.rest = self.screen.feed(self.rest + data)
        return True

    def await_text(self, pattern):
        until = time.monotonic() + 30
        while not re.search(pattern, self.screen.text, re.MULTILINE):
            came = self.read() and time.monotonic() < until
            assert came, f"{pattern} never came:\n{self.screen.text}"

    def finish(self):
        while self.read():
            pass
        out, _ = self.pilot.communicate(timeout=30)
        return self.pilot.returncode, out

    def close(self):
        if self.pilot.poll() is None:
            self.pilot.kill()
        self.pilot.communicate()
        os.close(self.master)


@pytest.fixture
def terminal(tmp_path):
    """Starts a pilot with a job that waits for a line in ``work/PanDA_Pilot-waits/gate``."""
    (tmp_path / "job.yaml").write_text("id: waits\nscript: 'mkfifo made && mv made gate && read line < gate'\n")
    started = []

    def start(*words, **more):
        started.append(Terminal(tmp_path, *words, **more))
        return started[-1]

    yield start
    for each in started:
        each.close()


def open_gate(root):
    (root / "work/PanDA_Pilot-waits/gate").write_text("go\n")


def test_a_pilot_on_a_terminal(terminal, tmp_path):
    seen = terminal(TERM="xterm", columns=400)
    seen.await_text(r"^pilot.*: draining; 1 job under way, 0 finished, 0 failed$")
    seen.await_text(r"^  waits  running +\d")
    block = seen.screen.rows[-5:]
    assert block[1].startswith("  slot: ")
    assert block[2] == "  ends after these; Ctrl-C stops it"
    assert "job waits: running" in "\n".join(seen.screen.rows[:-5])
    open_gate(tmp_path)
    code, out = seen.finish()
    assert (code, out.startswith("job waits finished")) == (0, True)
    log = (tmp_path / "work/pilotlog.txt").read_text()
    assert seen.screen.text == log, "the terminal holds the log, whole, and nothing else"


def test_a_pilot_that_is_stopped_from_its_keyboard(terminal, tmp_path):
    seen = terminal(TERM="xterm", columns=400)
    seen.await_text(r"^  waits  running +\d")
    os.write(seen.master, b"\x03")
    code, out = seen.finish()
    assert (code != 0, out.startswith("job waits failed")) == (True, True)
    assert seen.screen.text.replace("^C", "") == (tmp_path / "work/pilotlog.txt").read_text()


def test_a_terminal_that_becomes_narrow(terminal, tmp_path):
    seen = terminal(TERM="xterm", columns=100, NO_COLOR="1")
    seen.await_text(r"^  waits  running +\d")
    set_columns(seen.master, 30)
    seen.await_text(r"^pilot.{0,24}\.\.\.$")
    assert all(len(row) < 30 for row in seen.screen.rows[-5:])
    assert seen.screen.styles == set()
    open_gate(tmp_path)
    assert seen.finish()[0] == 0


def test_plain_lines_where_they_are_wanted(terminal, tmp_path):
    """The job lasts longer than a live view takes to appear."""
    (tmp_path / "job.yaml").write_text("id: plain\nscript: sleep 1.5\n")
    plain = terminal("--plain", TERM="xterm", workdir="plain")
    dumb = terminal(TERM="dumb", workdir="dumb")
    as_json = terminal("--set", "log.json=true", TERM="xterm", workdir="json")
    for seen in (plain, dumb, as_json):
        assert seen.finish()[0] == 0
        assert "\x1b" not in seen.raw
        assert "job plain: running" in seen.raw
    assert all(json.loads(line)["message"] for line in as_json.raw.splitlines())
