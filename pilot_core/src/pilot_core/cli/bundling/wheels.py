"""Wheels of the chosen distributions by path: given ones, or made anew of what is installed here.

No index is asked for them nor for any name that begins like ours, so that a stranger's upload can't get in.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from email.parser import HeaderParser
from pathlib import Path
from zipfile import BadZipFile, ZipFile

from attrs import frozen

from pilot_core.cli.mistakes import Usage
from pilot_core.config.spelling import meant

CORE = "pilot-core"
RESERVED = "pilot-"


@frozen
class Wheel:
    """A wheel file and what its metadata say."""

    path: Path
    name: str
    python: str
    requires: tuple[str, ...]
    offers: frozenset[str]

    @classmethod
    def read(cls, path: Path) -> Wheel:
        """Look into a wheel."""
        try:
            with ZipFile(path) as archive:
                inside = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
                said = HeaderParser().parsestr(archive.read(inside).decode())
        except (OSError, BadZipFile, StopIteration) as error:
            raise Usage(f"{path} is no wheel that can be read", "bundle") from error
        offers = frozenset(canonical(extra) for extra in said.get_all("Provides-Extra", []))
        requires = tuple(said.get_all("Requires-Dist", []))
        return cls(path, canonical(said["Name"]), said.get("Requires-Python", ""), requires, offers)


def canonical(name: str) -> str:
    """A name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def wished(word: str) -> tuple[str, frozenset[str]]:
    """``name[extra,extra]`` as name and extras."""
    parts = re.fullmatch(r"([A-Za-z0-9][\w.-]*)(?:\[([\w.,\s-]+)\])?", word)
    if parts is None:
        raise Usage(f"{word!r} is not the name of a distribution, with extras in brackets or without", "bundle")
    extras = (canonical(each.strip()) for each in (parts[2] or "").split(","))
    return canonical(parts[1]), frozenset(filter(None, extras))


def installed() -> list[str]:
    """The distributions here that add anything to a pilot."""
    from pilot_core.plugins.discover import Discovery

    discovery = Discovery()
    owners = {entry.distribution for group in discovery.groups() for entry in discovery.find(group)}
    return sorted(map(canonical, owners))


def find(name: str, folders: Sequence[Path], work: Path, pip: Sequence[str]) -> Wheel:
    """The wheel of a distribution, out of the folders or else of what is installed; ``work`` takes what is made."""
    given = [path for folder in folders for path in sorted(folder.glob("*.whl")) if _name(path) == name]
    if len(given) > 1:
        several = " and ".join(str(path) for path in given)
        raise Usage(f"there are {len(given)} wheels of {name}: {several}; leave the one that is meant", "bundle")
    return Wheel.read(given[0] if given else _of_installed(name, folders, work, pip))


def check_extras(wheel: Wheel, extras: Iterable[str]) -> None:
    """Refuse an extra that a distribution does not have; pip would only warn."""
    for extra in sorted({*extras} - wheel.offers):
        known = ", ".join(sorted(wheel.offers)) or "none"
        text = f"{wheel.name} has no extra {extra!r}{meant(extra, wheel.offers)}; its extras: {known}"
        raise Usage(text, "bundle")


def _name(path: Path) -> str:
    return canonical(path.name.partition("-")[0])


def _of_installed(name: str, folders: Sequence[Path], work: Path, pip: Sequence[str]) -> Path:
    from importlib.metadata import PackageNotFoundError, distribution

    from pilot_core.cli.bundling.rebuild import wheel_of

    try:
        found = distribution(name)
    except PackageNotFoundError:
        places = f"neither in {' nor '.join(map(str, folders))} nor" if folders else "not"
        way_out = "name a folder with its wheel by --from (no index is asked for it)"
        raise Usage(f"{name} is {places} installed here; {way_out}", "bundle") from None
    return wheel_of(found, work, pip)
