"""The monitor "prmon": the program of that name watches the payload, and what it writes is read.

Without it the monitor "memory" and the pilot's own samples bring the same numbers under the same names.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from attrs import frozen

from pilot_core.sdk import Monitor, Reading, Settings, View, option

if TYPE_CHECKING:
    import subprocess

TEXT: Final = "memory_monitor_output.txt"
SUMMARY: Final = "memory_monitor_summary.json"
ENDS_S: Final = 5.0
LARGEST_B: Final = 1 << 20
SIZES: Final = ("rss", "pss", "vmem", "swap")
MOVED: Final = {"rchar": "rchar", "wchar": "wchar", "read_bytes": "rbytes", "write_bytes": "wbytes"}
"""Its names and the server's; sizes have one name in both, and are kilobytes in both."""


@frozen(kw_only=True)
class PrmonOptions:
    """The monitor "prmon"."""

    section = "prmon"

    interval_s: float = option(60.0, help="It samples this often.", unit="s", least=1.0)


class Prmon(Monitor):
    """Starts the program beside the payload, its files in the job's control directory, and reads its summary."""

    name = "prmon"
    options = PrmonOptions
    interval_s = 60.0

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    def probe(cls) -> str | None:
        """The program is on the PATH."""
        return None if shutil.which("prmon") else "there is no program prmon on the PATH; the site installs it"

    def look(self, view: View) -> Reading:
        """Start it, or read what it has written since."""
        pid = str(view.job.notes.get("pid", ""))
        if view.control is None or not pid.isdecimal():
            return Reading()
        if self._process is None:
            self._process = _started(pid, view.control, self.settings.of(PrmonOptions).interval_s)
        return Reading(measures=summary_in(view.control))

    def close(self) -> None:
        """Ask it to write its last word; it ends by itself with the payload."""
        if self._process is None:
            return
        import signal
        import subprocess

        self._process.send_signal(signal.SIGUSR1)
        try:
            self._process.wait(ENDS_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _started(pid: str, control: Path, interval_s: float) -> subprocess.Popen[bytes]:
    import subprocess

    files = ("--filename", TEXT, "--json-summary", SUMMARY, "--interval", str(round(interval_s)))
    return subprocess.Popen(
        ("prmon", "--pid", pid, *files),
        cwd=control,
        env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def summary_in(control: Path) -> dict[str, float]:
    """What it has written so far: its summary at the end, a snapshot before, or else the lines of its text."""
    for name in (SUMMARY, f"{SUMMARY}_snapshot"):
        if told := read_summary(_text(control / name)):
            return told
    return read_lines(_text(control / TEXT))


def read_summary(text: str) -> dict[str, float]:
    """Its JSON, by the server's names; nothing if it is none."""
    try:
        told = json.loads(text)
    except ValueError:
        return {}
    if not isinstance(told, Mapping):
        return {}
    most, mean = _table(told.get("Max")), _table(told.get("Avg"))
    named = {f"max_{name}": most.get(name) for name in SIZES} | {f"avg_{name}": mean.get(name) for name in SIZES}
    named |= {f"tot_{ours}": most.get(name) for name, ours in MOVED.items()}
    named |= {f"rate_{ours}": mean.get(name) for name, ours in MOVED.items()}
    return {name: float(number) for name, number in named.items() if isinstance(number, (int, float))}


def _table(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def read_lines(text: str) -> dict[str, float]:
    """Its table, one line a sample; a line that is torn is passed over."""
    head, *lines = [line.split("\t") for line in text.splitlines()] or [[]]
    rows = [dict(zip(head, map(float, line), strict=True)) for line in lines if _is_whole(line, head)]
    if not rows:
        return {}
    told: dict[str, float] = {}
    for name in SIZES:
        if name in head:
            values = [row[name] for row in rows]
            told |= {f"max_{name}": max(values), f"avg_{name}": sum(values) / len(values)}
    return told | {f"tot_{ours}": rows[-1][name] for name, ours in MOVED.items() if name in head}


def _is_whole(line: list[str], head: list[str]) -> bool:
    return len(line) == len(head) and all(each.replace(".", "", 1).isdecimal() for each in line)


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(LARGEST_B).decode(errors="replace")
    except OSError:
        return ""
