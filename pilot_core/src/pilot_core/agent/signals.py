"""Signals to the pilot become events: every one of them asks for an orderly end."""

from __future__ import annotations

import signal
from typing import Final

from pilot_core.errors import Code, PilotError
from pilot_core.machine.events import DrainAsked, Event, HaltAsked

HALTS: Final = {
    signal.SIGINT: Code.SIGINT,
    signal.SIGTERM: Code.SIGTERM,
    signal.SIGQUIT: Code.SIGQUIT,
    signal.SIGXCPU: Code.SIGXCPU,
    signal.SIGUSR1: Code.SIGUSR1,
    signal.SIGUSR2: Code.SIGTERM,
    signal.SIGHUP: Code.SIGTERM,
}
DUMP_STACKS: Final = signal.SIGRTMIN + 3
"""On this one the interpreter writes all stacks to a file; the watchdog sends it before it ends a pilot that hangs."""


def as_event(signum: int, hurry_s: float, drains: tuple[str, ...] = ()) -> Event:
    """What this signal asks of the pilot; those named in ``drains`` let the current jobs finish."""
    name = signal.Signals(signum).name
    if name in drains:
        return DrainAsked(why=f"signal {name}")
    return HaltAsked(error=PilotError(HALTS[signal.Signals(signum)], f"the pilot received {name}"), hurry_s=hurry_s)
