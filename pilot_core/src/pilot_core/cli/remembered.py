"""The command line of the pilot that works in a directory, kept there so that ``pilot recover`` needs none."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from attrs import evolve

from pilot_core.cli import OWN
from pilot_core.cli.mistakes import Usage
from pilot_core.io.files import NotJson, read_json, write_atomic

if TYPE_CHECKING:
    from pilot_core.agent.setup import Sources

FILE: Final = f"{OWN}/command.json"
FORMAT: Final = 1


def remember(root: Path, sources: Sources) -> None:
    """Keep what was said on the command line; of the environment nothing is kept."""
    said = {
        "format": FORMAT,
        "config": str(sources.site) if sources.site else None,
        "set": sources.assignments,
        "flags": dict(sources.flags),
        "blocked": sources.blocked,
    }
    write_atomic(root / FILE, json.dumps(said, indent=1))


def recall(root: Path, now: Sources) -> Sources:
    """What was kept, under what is said now."""
    said = _read(root / FILE)
    site = said.get("config")
    return evolve(
        now,
        site=now.site or (Path(site) if site else None),
        assignments=(*said.get("set", ()), *now.assignments),
        flags={**said.get("flags", {}), **now.flags},
        blocked=(*said.get("blocked", ()), *now.blocked),
    )


def _read(path: Path) -> Mapping[str, Any]:
    try:
        said: Mapping[str, Any] = read_json(path)
    except FileNotFoundError:
        return {}
    except NotJson as broken:
        raise Usage(f"{broken}; remove it, and give recover the options of the pilot", "recover") from None
    if said.get("format") != FORMAT:
        raise Usage(f"{path} is of format {said.get('format')}, this pilot reads {FORMAT}", "recover")
    return said
