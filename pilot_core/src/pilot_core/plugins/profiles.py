"""Experiments that are data: a profile that somebody names, or the one in an experiment's own package.

Such a package needs no Python: its entry point names it, and ``profile.yaml`` lies in it. What a profile cannot say,
its ``__init__.py`` may answer by hooks, which are asked first.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from attrs import evolve

from pilot_core.plugins.discover import EXPERIMENT, Entry, State
from pilot_core.spec.markers import PREFIX, PROJECT

if TYPE_CHECKING:
    from pilot_core.plugins.discover import Discovery

NAME: Final = "profile.yaml"
READER: Final = "generic"
"""The experiment that reads the profile of another."""
MAKES: Final = "of_profile"
"""What an experiment that reads profiles has: it makes a plugin of a path."""


def with_profile(discovery: Discovery, entry: Entry, profile: Path | None) -> list[Entry]:
    """What is to be registered for an experiment; ``BadMessage`` has all that is wrong with its profile."""
    if entry.state is not State.LOADED:
        return [entry]
    if profile is not None:
        return [_made(entry, entry.obj, profile, origin=str(profile))]
    if (own := _own(entry.obj)) is None:
        return [entry]
    (reader,) = discovery.load(EXPERIMENT, [READER])
    made = _made(entry, reader.obj, own, origin=entry.distribution)
    return [made, *([evolve(entry, name=f"{entry.name}.hooks")] if _answers(entry.obj) else [])]


def _made(entry: Entry, reader: object, profile: Path, *, origin: str) -> Entry:
    make = getattr(reader, MAKES, None)
    if make is None:
        reason = f"it reads no profile, and {profile} is one: leave out the profile, or the experiment"
        return evolve(entry, state=State.UNSUITABLE, reason=reason)
    return evolve(entry, obj=make(profile), distribution=origin)


def _own(package: object) -> Path | None:
    """The profile in a package."""
    folders = (Path(folder) for folder in getattr(package, "__path__", ()))
    return next((folder / NAME for folder in folders if (folder / NAME).is_file()), None)


def _answers(package: object) -> bool:
    """Whether there are hooks beside the profile."""
    return any(hasattr(getattr(package, name), f"{PROJECT}_impl") for name in dir(package) if name.startswith(PREFIX))
