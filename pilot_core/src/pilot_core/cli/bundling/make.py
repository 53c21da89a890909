"""From what is wished for to a bundle in its place."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from attrs import frozen

from pilot_core.cli.bundling import launcher
from pilot_core.cli.bundling.manifest import NAME, SEAL, Manifest, survey
from pilot_core.cli.bundling.pack import archive, settle, strip
from pilot_core.cli.bundling.pip import Index, check_python, needed, unpack
from pilot_core.cli.bundling.target import Target
from pilot_core.cli.bundling.wheels import CORE, RESERVED, Wheel, canonical, check_extras, find
from pilot_core.cli.mistakes import Usage

ARCHIVE = ".tar.gz"


@frozen
class Order:
    """What is wished for: distributions with their extras, where they shall run, where they and the bundle are."""

    wishes: Mapping[str, Collection[str]]
    target: Target
    index: Index
    to: Path
    folder: str = ""
    """The name of an archive's one folder, if it is not that of its version and machine."""

    @property
    def is_archive(self) -> bool:
        """Whether a packed bundle is wished for, not a tree."""
        return self.to.name.endswith(ARCHIVE)


def make(order: Order) -> Manifest:
    """Make the bundle; it comes to its place whole or not at all."""
    if order.to.exists() and not (order.to.is_dir() and not any(order.to.iterdir())):
        raise Usage(f"{order.to} is there already; remove it or name another place", "bundle")
    if order.folder and not (order.is_archive and order.folder == Path(order.folder).name):
        told = f"--folder {order.folder}: no name for an archive's folder; name one, such as pilot3, for a {ARCHIVE}"
        raise Usage(told, "bundle")
    if not order.to.parent.is_dir():
        raise Usage(f"{order.to.parent}, where the bundle shall go, is no directory", "bundle")
    with tempfile.TemporaryDirectory(prefix=".bundle-", dir=order.to.parent) as folder:
        work = Path(folder)
        manifest = _tree(order, work)
        made = _pack(manifest, work, order.folder) if order.is_archive else work / "tree"
        made.rename(order.to)
    return manifest


def _tree(order: Order, work: Path) -> Manifest:
    root, packages = work / "tree", work / "tree" / launcher.PACKAGES
    packages.parent.mkdir(parents=True)
    packed = unpack(work / packages.name, order.target, choose(order, work), order.index)
    (work / packages.name).rename(packages)
    strip(packages)
    launcher.write(root, order.target.python, NAME)
    manifest = Manifest(order.target, packed, survey(root))
    (root / NAME).write_text(manifest.text(), encoding="utf-8")
    (root / SEAL).write_text(f"{manifest.digest}  {NAME}\n", encoding="ascii")
    settle(root, survey(root))
    return manifest


def _pack(manifest: Manifest, work: Path, folder: str) -> Path:
    core = next(each for each in manifest.distributions if each.name == CORE)
    target = manifest.target
    top = folder or f"pilot-{core.version}-py{target.python}-{target.platform}"
    archive(work / "tree", top, work / f"tree{ARCHIVE}")
    return work / f"tree{ARCHIVE}"


def choose(order: Order, work: Path) -> dict[Wheel, set[str]]:
    """The wheels that are taken by path, with their extras: the wishes, the core, and what of ours they need."""
    wheels: dict[str, Wheel] = {}
    extras: dict[str, set[str]] = {}
    waiting: list[tuple[str, Collection[str]]] = [(CORE, ()), *order.wishes.items()]
    while waiting:
        name, more = waiting.pop(0)
        if name in wheels and extras[name] >= {*more}:
            continue
        if name not in wheels:
            wheels[name] = find(name, order.index.folders, work, _builder(order.index))
            check_python(wheels[name], order.target)
        check_extras(wheels[name], more)
        extras.setdefault(name, set()).update(more)
        waiting += _ours(wheels[name], extras[name], order.target)
    return {wheels[name]: extras[name] for name in sorted(wheels)}


def _ours(wheel: Wheel, extras: Collection[str], target: Target) -> list[tuple[str, Collection[str]]]:
    found = ((canonical(each.name), each) for each in needed(wheel.requires, extras, target))
    return [(name, [*map(canonical, each.extras)]) for name, each in found if name.startswith(RESERVED)]


def _builder(index: Index) -> Sequence[str]:
    """How a wheel is built of a source tree: pip fetches the build tools, as it does for everybody."""
    return ("wheel", *index.arguments())
