"""The payload: what to run, what it used, what happened, and what that counts as."""

from __future__ import annotations

import enum
import signal
from collections.abc import Mapping

from attrs import field, frozen

from pilot_core.model.change import evolve


@frozen(init=False)
class Command:
    """A program with its arguments, never shell text: ``Command("run.sh", "-n", "3", env={"A": "b"})``."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(factory=dict)

    def __init__(self, *argv: str, env: Mapping[str, str] | None = None) -> None:
        self.__attrs_init__(tuple(argv), dict(env or {}))


@frozen(kw_only=True)
class SideProcess:
    """A process before, beside or after the payload; its output goes to ``<name>.stdout`` and ``.stderr``.

    What runs beside the payload is ended with it. What runs before or after it has ``limit_s`` for that.
    It runs in ``image`` if it names one, which need not be the payload's. If not, it runs on the node itself, but where
    payloads are isolated as the payload does.
    """

    name: str
    command: Command
    image: str = ""
    trusted: bool = False
    """It runs on the node also where payloads are isolated, as what watches them must; it holds no word of a job's."""
    limit_s: float = 3600.0
    enough: tuple[int, ...] = ()
    """Exit codes by which a process before the payload says that there is nothing to do: no payload, no outputs."""


@frozen(kw_only=True)
class Sides:
    """All processes that a payload has around it, those before and after it in their order."""

    before: tuple[SideProcess, ...] = ()
    beside: tuple[SideProcess, ...] = ()
    after: tuple[SideProcess, ...] = ()
    outside: tuple[str, ...] = ()
    """Those that are in no container."""


@frozen(kw_only=True)
class Usage:
    """What a payload has used up to a moment; the numbers of its whole process tree."""

    cpu_user_s: float = 0.0
    cpu_system_s: float = 0.0
    rss_b: int = 0
    rss_peak_b: int = 0
    pss_b: int = 0
    """What is shared counts for each its part; measured at a slower pace, 0 until then."""
    pss_peak_b: int = 0
    swap_peak_b: int = 0
    vmem_peak_b: int = 0
    read_b: int = 0
    written_b: int = 0
    rchar_b: int = 0
    """By calls, from files and pipes, whether or not storage was asked."""
    wchar_b: int = 0
    processes: int = 0
    threads: int = 0
    disk_b: int = 0
    more: Mapping[str, float] = field(factory=dict)
    """What monitors measured, under their own names."""

    @property
    def cpu_s(self) -> float:
        """CPU time, the user's and the system's."""
        return self.cpu_user_s + self.cpu_system_s

    def ended(self, told: Usage) -> Usage:
        """These samples at the payload's end, of which CPU time and peak were told as well; the larger counts."""
        names = ("cpu_user_s", "cpu_system_s", "rss_peak_b")
        largest = {name: max(getattr(self, name), getattr(told, name)) for name in names}
        return evolve(self, **largest, more={**self.more, **told.more})


@frozen(kw_only=True)
class Outcome:
    """What happened to the payload: its true exit status, or the signal that ended it."""

    exit_code: int | None = None
    signal: int | None = None
    wall_s: float = 0.0
    usage: Usage = field(factory=Usage)
    note: str = ""
    begun: bool = True
    """Whether it was the payload itself that ended; where not, what runs its container did before there was one."""

    @property
    def clean(self) -> bool:
        """Exit status 0 and no signal."""
        return self.exit_code == 0 and not self.signal

    @property
    def transform_code(self) -> int:
        """The exit status as a shell gives it: 128 + n for signal n."""
        return 128 + self.signal if self.signal else self.exit_code or 0

    def __str__(self) -> str:
        if self.signal:
            return f"ended by {_signal_name(self.signal)}"
        return f"exit code {self.exit_code}" if self.exit_code is not None else self.note or "end unknown"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


class Verdict(enum.StrEnum):
    """What an outcome counts as, after policy."""

    FINISHED = "finished"
    FAILED = "failed"
