"""The command lines of the pilots that worked in a directory, kept there so that ``pilot recover`` needs none.

The last one is kept, and while there are jobs that an earlier pilot left, so are the earlier ones.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from attrs import evolve

from pilot_core.cli import OWN
from pilot_core.cli.mistakes import Usage
from pilot_core.errors import PilotError
from pilot_core.io.files import NotJson, read_json, write_atomic

if TYPE_CHECKING:
    from pilot_core.agent.setup import Sources

FILE: Final = f"{OWN}/command.json"
FORMAT: Final = 1
Said = Mapping[str, Any]


def remember(root: Path, sources: Sources) -> None:
    """Keep what was said on the command line; of the environment nothing is kept."""
    said = {
        "cwd": sources.cwd,
        "config": str(sources.site) if sources.site else None,
        "set": [*sources.assignments],
        "flags": dict(sources.flags),
        "blocked": [*sources.blocked],
    }
    before = [each for each in _before(root) if not _replaces(said, each)]
    write_atomic(root / FILE, json.dumps({"format": FORMAT, **said, "before": before}, indent=1))


def _before(root: Path) -> list[Said]:
    """What was said before, the latest first, if anything that was left may need it."""
    with suppress(Usage):
        return _all(_read(root / FILE)) if _awaited(root) else []
    return []


def recall(root: Path, now: Sources) -> Sources:
    """What was kept, under what is said now."""
    from pilot_core.agent.setup import Sources

    said = _of_who_left_jobs(root, _all(_read(root / FILE)))
    site = said.get("config")
    earlier = Sources(assignments=tuple(said.get("set", ())), flags=said.get("flags", {}), cwd=said.get("cwd", ""))
    return evolve(
        now,
        site=now.site or (Path(site) if site else None),
        blocked=(*said.get("blocked", ()), *now.blocked),
        before=earlier if said else None,
    )


def _of_who_left_jobs(root: Path, all_said: list[Said]) -> Said:
    """The last command line whose pilot spoke with somebody who waits for a left job, as far as that can be seen."""
    awaited = _awaited(root) - {""} if len(all_said) > 1 else set()
    known = [said for said in all_said if _communicator(said) in awaited]
    unknown = [said for said in all_said if awaited and not _communicator(said)]
    return (*known, *unknown, *all_said, {})[0]


def _awaited(root: Path) -> set[str]:
    """The communicators by which something of what was left is to be told; "" is one that is not known."""
    from pilot_core.agent.recover import left_jobs
    from pilot_core.control.outbox import read_letter, waiting_below

    names = {left.communicator for left in left_jobs(root)}
    for path in waiting_below(root):
        with suppress(OSError, NotJson, PilotError):
            names.add(read_letter(path).communicator)
    return names


def _replaces(said: Said, earlier: Said) -> bool:
    return earlier == said or _communicator(earlier) == _communicator(said) != ""


def _communicator(said: Said) -> str:
    """As far as the command line says so, and no file does."""
    assigned = (words.partition("=") for words in said.get("set", ()))
    named = {path.strip(): value.strip() for path, _, value in assigned} | said.get("flags", {})
    return str(named.get("pilot.communicator", ""))


def _all(told: Said) -> list[Said]:
    """Every command line in the file, the latest first."""
    latest = {name: value for name, value in told.items() if name not in ("format", "before")}
    return [latest, *told.get("before", ())] if latest else []


def _read(path: Path) -> Said:
    try:
        said: Said = read_json(path)
    except FileNotFoundError:
        return {}
    except NotJson as broken:
        raise Usage(f"{broken}; remove it, and give recover the options of the pilot", "recover") from None
    if said.get("format") != FORMAT:
        raise Usage(f"{path} is of format {said.get('format')}, this pilot reads {FORMAT}", "recover")
    return said
