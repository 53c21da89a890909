"""Where a control group of a job's own may be made, and what is to be written there.

Below the pilot's own group, in each hierarchy of version 1 that counts memory or processes and in that of version 2; or
in a group of version 2 that was handed over. One of version 2 has those controllers that the one above lets it have.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from attrs import frozen

from pilot_core.io.cgroup import Groups
from pilot_core.keeper.group import PROCS, remove, write

NONE = "none"
WANTED = ("memory", "pids", "cpu")
MOST_WEIGHT = 10_000
USUAL_WEIGHT = 100

Place = dict[str, object]
"""The path of a group to be made, the home of whoever makes it, and what is set there: as a keeper takes it."""


@frozen(kw_only=True)
class Bounds:
    """What a group may have."""

    memory_b: int | None
    threads: int
    cores: int


def places(name: str, where: str, bounds: Bounds, groups: Groups) -> list[Place]:
    """A place in each hierarchy that lets us; ``where`` is a path from the pilot's own group of version 2, or NONE."""
    return [] if where == NONE else [*_of_version_1(name, bounds, groups), *_of_version_2(name, where, bounds, groups)]


def _of_version_1(name: str, bounds: Bounds, groups: Groups) -> Iterator[Place]:
    limit_b = {} if bounds.memory_b is None else {"memory.limit_in_bytes": str(bounds.memory_b)}
    for group, values in ((groups.memory, limit_b), (groups.pids, {"pids.max": str(bounds.threads)})):
        if group is not None and group.version == 1 and _is_ours(group.path):
            yield _place(group.path / name, group.path, values)


def _of_version_2(name: str, where: str, bounds: Bounds, groups: Groups) -> Iterator[Place]:
    if groups.unified is None:
        return
    above = Path(os.path.normpath(groups.unified.path / where))
    if not _is_ours(above):
        return
    memory = {} if bounds.memory_b is None else {"memory.max": str(bounds.memory_b)}
    weight = str(min(USUAL_WEIGHT * bounds.cores, MOST_WEIGHT))
    values = {"memory": memory, "pids": {"pids.max": str(bounds.threads)}, "cpu": {"cpu.weight": weight}}
    given = [values.get(kind, {}) for kind in _controllers(above, groups.unified.path)]
    yield _place(above / name, groups.unified.path, {file: text for each in given for file, text in each.items()})


def _controllers(above: Path, own: Path) -> list[str]:
    """Those that groups below this one have; one that was handed over, and has no processes, is asked for them.

    All at once, memory among them: some of them alone would change the kind of a group that has processes.
    """
    control = above / "cgroup.subtree_control"
    try:
        there = (above / "cgroup.controllers").read_text().split()
        if above != own and WANTED[0] in there:
            write(str(control), " ".join(f"+{each}" for each in WANTED if each in there))
        return control.read_text().replace("+", "").split()
    except OSError:
        return []


def _is_ours(group: Path) -> bool:
    return os.access(group, os.W_OK) and os.access(group / PROCS, os.W_OK)


def _place(path: Path, home: Path, values: dict[str, str]) -> Place:
    return {"path": str(path), "home": str(home), "set": values}


def kill_group(places: list[Place]) -> None:
    """Kill all who are there, as far as the kernel does that: its keeper is dead."""
    for place in places:
        with suppress(OSError):
            write(f"{place['path']}/cgroup.kill", "1")


def remove_group(places: list[Place]) -> None:
    """Remove it, if nothing is there any more and its keeper has not done so."""
    for place in places:
        remove(str(place["path"]))
