"""The Environment API: what this node, batch slot and allocation are, each value with who tells it.

``look()`` looks once; ``await alook()`` does so without holding up a loop. No pilot needs to run.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from attrs import asdict, field, frozen

from pilot_core.model.allotment import Allotment, Told

LIMITS: Final = {
    "address_space_b": "RLIMIT_AS",
    "core_file_b": "RLIMIT_CORE",
    "cpu_s": "RLIMIT_CPU",
    "file_b": "RLIMIT_FSIZE",
    "locked_b": "RLIMIT_MEMLOCK",
    "open_files": "RLIMIT_NOFILE",
    "processes": "RLIMIT_NPROC",
    "stack_b": "RLIMIT_STACK",
}


@frozen(kw_only=True)
class Environment:
    """All that was found. ``slot`` is what is ours, ``node`` is there for all, ``limits`` bind each process."""

    slot: Allotment
    node: Mapping[str, Told[Any]] = field(factory=dict)
    limits: Mapping[str, Told[int]] = field(factory=dict)
    features: Mapping[str, Told[str]] = field(factory=dict)

    def rows(self) -> Iterator[tuple[str, Told[Any]]]:
        """Every value under its full name, as ``slot.cores``."""
        known = asdict(self.slot, recurse=False)
        parts = {"slot": known, "node": self.node, "limits": self.limits, "features": self.features}
        for part, values in parts.items():
            yield from ((f"{part}.{name}", value) for name, value in values.items() if value is not None)


def look(workdir: Path | str = ".", *, resource: str = "auto") -> Environment:
    """Look at the node, and at the slot as this resource driver tells; raises ``NoSuchDriver`` for none of that name.

    ``workdir`` is where the disk is looked at. Programs of the batch system and of GPUs' makers may be asked, for 10 s
    at most each.
    """
    from pilot_core.io.granted import read_features

    workdir = Path(workdir)
    return Environment(
        slot=_slot(workdir, resource),
        node=_node(workdir),
        limits=_limits(),
        features=read_features(os.environ),
    )


async def alook(workdir: Path | str = ".", *, resource: str = "auto") -> Environment:
    """``look()`` in a thread of its own."""
    import asyncio

    return await asyncio.to_thread(look, workdir, resource=resource)


def _slot(workdir: Path, name: str) -> Allotment:
    """As the driver tells, found and guarded like any pilot's."""
    from pilot_core.config.layers import Schema
    from pilot_core.config.schema import CORE
    from pilot_core.plugins.discover import Discovery
    from pilot_core.plugins.drivers import Drivers, one_resource
    from pilot_core.plugins.guard import Guard

    guard = Guard()
    usable = one_resource(Drivers(Discovery(), guard), name)
    sections = (*CORE, usable.driver.options) if usable.driver.options else CORE
    driver: Any = guard.call(usable.plugin, "making", usable.driver, Schema(sections).merge())
    allotted: Allotment = guard.call(usable.plugin, "allotted", driver.allotted, workdir)
    return allotted


def _node(workdir: Path) -> dict[str, Told[Any]]:
    import socket

    from pilot_core.io.node import NodeFacts

    facts = NodeFacts(workdir)
    processors = {name: value for name, value in asdict(facts.cpu).items() if value not in (None, "")}
    found: dict[str, Told[Any]] = {"host": Told(socket.gethostname(), "kernel")}
    found |= {name: Told(value, "kernel") for name, value in processors.items()}
    if facts.memory_b is not None:
        found["memory_b"] = Told(facts.memory_b, "kernel")
    if facts.disk_b is not None:
        found["disk_b"] = Told(facts.disk_b, f"file system of {workdir.absolute()}")
    for number, gpu in enumerate(facts.gpus):
        told = {name: value for name, value in asdict(gpu).items() if value not in (None, "")}
        found[f"gpus.{number}"] = Told(told, f"{gpu.vendor}'s program")
    return found


def _limits() -> dict[str, Told[int]]:
    """The soft ones, which a process meets first; those that are unlimited bind nobody."""
    import resource

    found = {}
    for name, constant in LIMITS.items():
        if (soft := resource.getrlimit(getattr(resource, constant))[0]) != resource.RLIM_INFINITY:
            found[name] = Told(soft, constant)
    return found
