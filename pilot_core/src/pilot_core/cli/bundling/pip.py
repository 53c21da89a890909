"""pip as a program: it resolves, downloads and unpacks; what it says when it can't is made one sentence."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from importlib import import_module
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from attrs import frozen

from pilot_core.cli.bundling.manifest import Packed
from pilot_core.cli.bundling.run import NO_PIP, run_pip
from pilot_core.cli.bundling.target import Target
from pilot_core.cli.bundling.wheels import RESERVED, Wheel, canonical
from pilot_core.cli.mistakes import Usage

ROUNDS = 5


@frozen
class Index:
    """Where pip finds what is not given by path."""

    folders: Sequence[Path]
    online: bool = True

    def arguments(self) -> list[str]:
        """As pip wants them."""
        return [*(f"--find-links={folder}" for folder in self.folders), *([] if self.online else ["--no-index"])]


def check_python(wheel: Wheel, target: Target) -> None:
    """Refuse a wheel that is not for the target's Python; of one that is given by path pip does not look at that."""
    if not _packaging("specifiers").SpecifierSet(wheel.python).contains(f"{target.python}.0"):
        raise Usage(f"--python {target.python}: {wheel.name} needs Python {wheel.python}", "bundle")


def needed(requires: Sequence[str], extras: Collection[str], target: Target) -> Iterator[Any]:
    """The requirements that hold for these extras on the target, as ``packaging`` reads them."""
    read = _packaging("requirements").Requirement
    for requirement in map(read, requires):
        cases = [{**target.environment(), "extra": extra} for extra in (*extras, "")]
        if requirement.marker is None or any(requirement.marker.evaluate(case) for case in cases):
            yield requirement


def _packaging(module: str) -> Any:
    """A module of ``packaging``, which every pip brings along."""
    try:
        return import_module(f"pip._vendor.packaging.{module}")
    except ImportError:
        raise Usage(NO_PIP, "bundle") from None


def unpack(folder: Path, target: Target, chosen: Mapping[Wheel, Collection[str]], index: Index) -> list[Packed]:
    """Have pip put wheels and all they need into ``folder``, which is not there yet; say what is in it now.

    pip evaluates markers for the Python it runs under, whatever ``--python-version`` says. So what the target needs
    beyond that is looked up afterwards, and pip is asked for it by name.
    """
    also: set[str] = set()
    for number in range(ROUNDS):
        place = folder.with_name(f"{folder.name}-{number}")
        packed = _install(place, target, chosen, sorted(also), index)
        lacking = _lacking(place, target, {wheel.name: {*extras} for wheel, extras in chosen.items()})
        if not lacking:
            place.rename(folder)
            return packed
        also |= lacking
    raise Usage(f"pip does not bring {', '.join(sorted(lacking))}, which Python {target.python} needs", "bundle")


def _install(
    place: Path, target: Target, chosen: Mapping[Wheel, Collection[str]], also: Sequence[str], index: Index
) -> list[Packed]:
    report = place.with_suffix(".json")
    wheels = [f"{wheel.path.absolute()}{_brackets(extras)}" for wheel, extras in chosen.items()]
    platforms = [f"--platform={tag}" for tag in target.tags()]
    fixed = ("--only-binary=:all:", "--no-compile", "--implementation=cp", f"--python-version={target.python}")
    where = (f"--target={place}", f"--report={report}")
    run_pip("install", *where, *fixed, *platforms, *index.arguments(), *wheels, *also)
    entries = json.loads(report.read_text(encoding="utf-8"))["install"]
    return sorted(map(_packed, entries), key=lambda each: each.name)


def _packed(entry: Mapping[str, Any]) -> Packed:
    name = canonical(entry["metadata"]["name"])
    if name.startswith(RESERVED) and not entry["is_direct"]:
        raise Usage(f"something needs {name}, which is taken by path only; name its wheel by --from", "bundle")
    sha256 = entry["download_info"]["archive_info"]["hashes"]["sha256"]
    return Packed(name, entry["metadata"]["version"], sha256)


def _brackets(extras: Collection[str]) -> str:
    return f"[{','.join(sorted(extras))}]" if extras else ""


def _lacking(folder: Path, target: Target, roots: Mapping[str, set[str]]) -> set[str]:
    """The requirements, without their markers, that nothing in the folder answers."""
    there = {canonical(each.name): each for each in distributions(path=[str(folder)])}
    waiting, seen, lacking = [(name, frozenset(extras)) for name, extras in roots.items()], set(), set()
    while waiting:
        name, extras = each = waiting.pop()
        seen.add(each)
        for requirement in needed(there[name].requires or [], extras, target):
            more = (canonical(requirement.name), frozenset(map(canonical, requirement.extras)))
            if more[0] not in there:
                lacking.add(f"{requirement.name}{_brackets(requirement.extras)}{requirement.specifier}")
            elif more not in seen:
                waiting.append(more)
    return lacking
