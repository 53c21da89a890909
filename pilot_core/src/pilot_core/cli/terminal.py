"""What a terminal shows: texts that fit, a block of lines redrawn in place, and in it what a running pilot does."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, Self, TextIO

from pilot_core.cli.output import count, duration, size

Status = Mapping[str, Any]

EVERY_S: Final = 1.0
BAR: Final = 20
BOLD, DIM, RED, PLAIN = "\x1b[1m", "\x1b[2m", "\x1b[31m", "\x1b[0m"
_NO_TEXT: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


# --- text -----------------------------------------------------------------------------------------------------------


def harmless(text: str) -> str:
    """Text of others with all that could steer a terminal spelt out; newlines and tabs stay."""
    return _NO_TEXT.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def wide(text: str) -> int:
    """How many columns of a terminal a text takes."""
    return len(text) if text.isascii() else sum(map(_columns, text))


def _columns(letter: str) -> int:
    from unicodedata import category, east_asian_width

    if category(letter) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if east_asian_width(letter) in "WF" else 1


def fit(text: str, width: int) -> str:
    """The text in one line of at most so many columns; what is left out leaves three dots behind."""
    text = harmless(" ".join(text.split("\n")).replace("\t", " "))
    if wide(text) <= width:
        return text
    dots = "..."[:width]
    kept, room = "", width - len(dots)
    for letter in text:
        room -= _columns(letter)
        if room < 0:
            break
        kept += letter
    return kept + dots


def padded(text: str, width: int) -> str:
    """The text, and blanks up to so many columns."""
    return text + " " * (width - wide(text))


# --- a block in place -----------------------------------------------------------------------------------------------


def redraws(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Whether a block can be redrawn in place there."""
    return stream.isatty() and environ.get("TERM", "dumb") not in ("", "dumb")


class Block:
    """Lines at the foot of a terminal, redrawn in place; what is written through ``write`` scrolls above them.

    Stands in for the stream of a log handler; safe in any thread.
    """

    def __init__(self, stream: TextIO, environ: Mapping[str, str]) -> None:
        self._stream = stream
        self._colours = "NO_COLOR" not in environ
        self._lock = threading.Lock()
        self._lines: list[str] = []
        self._shown: list[str] = []

    def measure(self) -> tuple[int, int]:
        """Columns and rows, as they are now; the last column stays free, as some terminals wrap in it."""
        try:
            screen = os.get_terminal_size(self._stream.fileno())
        except OSError:
            return 79, 24
        return max(screen.columns or 80, 2) - 1, max(screen.lines or 24, 2)

    def show(self, lines: Sequence[str]) -> None:
        """Show these lines in place of those that stood there."""
        with self._lock:
            self._lines = list(lines)
            self._put("")

    def write(self, text: str) -> int:
        """Write above the block."""
        with self._lock:
            self._put(text)
        return len(text)

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """Remove the block."""
        self.show(())

    def leave(self) -> None:
        """Let the block stand as it is; what comes next comes below it."""
        with self._lock:
            self._lines, self._shown = [], []

    def _put(self, above: str) -> None:
        width, height = self.measure()
        erase = self._erase(width)
        self._shown = _cut([fit(line, width) for line in self._lines], height - 1)
        block = "".join(f"{self._painted(line)}\n" for line in self._shown)
        text = f"{erase}{above}{block}"
        encoding = self._stream.encoding or "ascii"
        try:
            self._stream.write(text.encode(encoding, "replace").decode(encoding))
            self._stream.flush()
        except OSError:
            self._shown = []  # the terminal is gone; what runs goes on

    def _erase(self, width: int) -> str:
        """Up to where the block begins, and nothing below; a terminal made narrower has wrapped its lines."""
        rows = sum(max(-(-wide(line) // (width + 1)), 1) for line in self._shown)
        return f"\r\x1b[{rows}A\x1b[J" if rows else ""

    def _painted(self, line: str) -> str:
        if not self._colours or not line:
            return line
        colour = RED if line.lstrip().startswith("! ") else DIM if line.startswith("    ") else ""
        colour = colour or (BOLD if not line.startswith(" ") else "")
        return f"{colour}{line}{PLAIN}" if colour else line


def _cut(lines: list[str], height: int) -> list[str]:
    """As many as there is room for, and how many more there are."""
    if len(lines) <= height:
        return lines
    return [*lines[: height - 1], f"  ... {len(lines) - height + 1} more"] if height > 1 else lines[:height]


# --- a running pilot ------------------------------------------------------------------------------------------------


def lines(status: Status, width: int) -> list[str]:
    """What a pilot does, from what it says of itself, in lines of at most so many columns."""
    return [fit(line, width) for line in _lines(status, width)]


def _lines(status: Status, width: int) -> Iterator[str]:
    jobs = status["jobs"]
    yield f"{_pilot(status)}; {_work(status, jobs)}"
    yield f"  slot: {_slot(status['slot'], jobs)}"
    yield f"  {_way_out(status)}"
    names = max((wide(harmless(_name(job))) for job in jobs), default=0)
    names = min(names, max(width // 3, 8))
    phases = max((len(str(job["phase"])) for job in jobs), default=0)
    for job in jobs:
        yield f"  {padded(fit(_name(job), names), names)}  {job['phase']:<{phases}}  {_job(job)}"
        if job["error"]:
            yield f"    ! {job['error']}"
        yield from (f"    {transfer_line(each, width)}" for each in job.get("transfers", ()))


def _pilot(status: Status) -> str:
    queue = f" for queue {status['queue']}" if status.get("queue") else ""
    return f"pilot{queue}: {status['mode']}"


def _work(status: Status, jobs: Sequence[Status]) -> str:
    return f"{count(len(jobs), 'job')} under way, {status['finished']} finished, {status['failed']} failed"


def _slot(slot: Status, jobs: Sequence[Status]) -> str:
    used = sum(job.get("cores") or 0 for job in jobs if not job["waits_for_slot"])
    parts = [f"{used} of {count(slot['cores'], 'core')}" if used else count(slot["cores"], "core")]
    parts += [size(slot["memory_b"])] if slot["memory_b"] else []
    parts += [count(len(slot["gpus"]), "GPU")] if slot["gpus"] else []
    return ", ".join(parts)


def _way_out(status: Status) -> str:
    if status["reason"]:
        return f"ends because of {status['reason']}"
    if status["mode"] == "stopping":
        return "stops; Ctrl-C hurries it"
    if status["mode"] == "draining":
        return "ends after these; Ctrl-C stops it"
    drain = f"pilot drain {status['workdir']}" if status.get("workdir") else "pilot drain"
    return f"Ctrl-C stops it, `{drain}` lets it finish"


def _name(job: Status) -> str:
    return f"{job['id']}.{job['attempt']}" if job["attempt"] > 1 else str(job["id"])


def _job(job: Status) -> str:
    if job["waits_for_slot"]:
        return "waits for the slot"
    parts = [duration(job["running_s"])]
    parts += [f"cpu {duration(job['cpu_s'])}"] if job["cpu_s"] else []
    parts += [f"memory {size(job['rss_b'])}"] if job["rss_b"] else []
    parts += [f"{count(len(job['stored']), 'file')} stored"] if job["stored"] else []
    return ", ".join(parts)


def transfer_line(moving: Status, width: int) -> str:
    """A file on its way: how far it has come, and how fast."""
    done_b, size_b, took_s = moving["done_b"], moving["size_b"], moving["running_s"]
    speed = f", {size(done_b / took_s)}/s" if took_s > 0 and done_b else ""
    arrow, name = "<-" if moving["direction"] == "in" else "->", fit(moving["name"], max(width // 3, 8))
    if not size_b:
        return f"{arrow} {name}  {size(done_b)}{speed}"
    part = min(done_b / size_b, 1.0)
    bar = f"[{'#' * int(part * BAR):-<{BAR}}]"
    return f"{arrow} {name}  {bar} {part:4.0%}  {size(done_b)} of {size(size_b)}{speed}"


class Live:
    """Asks a pilot every second how it is, and shows it until the end of the block; silent while it does not answer.

    ``draw`` makes lines of something else that is asked.
    """

    def __init__(
        self,
        block: Block,
        ask: Callable[[], Any],
        every_s: float = EVERY_S,
        draw: Callable[[Any, int], Sequence[str]] = lines,
    ) -> None:
        self._block = block
        self._ask = ask
        self._draw = draw
        self._every_s = every_s
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="live view", daemon=True)

    def _run(self) -> None:
        while not self._ended.wait(self._every_s):
            status = self._ask()
            if status is not None and not self._ended.is_set():
                self._block.show(self._draw(status, self._block.measure()[0]))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._block.close()
