"""For those who write plugins, drivers and workflows: a whole pilot in process, fakes, and contracts to inherit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pilot_core.testing.fakes import FakeClock, FakeCopyTool, FakeProcesses, KitCommunicator
    from pilot_core.testing.kit import PilotKit, Run, a_job
    from pilot_core.testing.server import Fault, PilotServer
    from pilot_core.testing.world import World

__all__ = [
    "FakeClock",
    "FakeCopyTool",
    "FakeProcesses",
    "Fault",
    "KitCommunicator",
    "PilotKit",
    "PilotServer",
    "Run",
    "World",
    "a_job",
]

_HOMES = {
    "Fault": "server",
    "PilotKit": "kit",
    "PilotServer": "server",
    "Run": "kit",
    "World": "world",
    "a_job": "kit",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES.get(name, 'fakes')}"), name)
