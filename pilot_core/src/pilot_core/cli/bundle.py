"""``pilot bundle``: a pilot that runs on a node with an interpreter and no pip."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from pilot_core.cli.output import answer, count, size
from pilot_core.cli.parser import Parser, add_json

if TYPE_CHECKING:
    from pilot_core.cli.bundling.make import Order
    from pilot_core.cli.bundling.manifest import Manifest

TEXT = """Take these distributions, by default all with drivers or plugins that are installed here. No index is asked
for them, nor for any name that begins with pilot-: their wheels come from --from, or are made of what is installed."""


def describe(parser: Parser) -> None:
    """Add the arguments of ``pilot bundle``."""
    parser.add_argument("dists", nargs="*", metavar="DIST[EXTRA,...]", help=TEXT)
    text = "Write a tree there, or an archive if the name ends with .tar.gz."
    parser.add_argument("--to", type=Path, required=True, metavar="PATH", help=text)
    text = "Name the archive's one folder so; wrappers that call pilot3/pilot.py want pilot3."
    parser.add_argument("--folder", default="", metavar="NAME", help=text)
    parser.add_argument("--python", metavar="3.N", help="Make it for this Python; by default for this one.")
    text = "Make it for machines of this kind; by default for all like this one: manylinux2014_x86_64, for instance."
    parser.add_argument("--platform", metavar="TAG", help=text)
    text = "Look for wheels in this folder first. May be given several times."
    parser.add_argument("--from", dest="folders", action="append", type=Path, default=[], metavar="DIR", help=text)
    parser.add_argument("--no-index", action="store_true", help="Take everything from --from; ask no index at all.")
    add_json(parser)


def run(arguments: Namespace) -> int:
    """Make the bundle and say what is in it."""
    from pilot_core.cli.bundling.make import make

    order = _order(arguments)
    manifest = make(order)
    packed_b = order.to.stat().st_size if order.to.is_file() else None
    answer(arguments.json, _plain(manifest, order.to, packed_b), _told(manifest, order.to, packed_b))
    return 0


def _order(arguments: Namespace) -> Order:
    from pilot_core.cli.bundling.make import Order
    from pilot_core.cli.bundling.pip import Index
    from pilot_core.cli.bundling.target import Target, here
    from pilot_core.cli.bundling.wheels import installed, wished
    from pilot_core.cli.mistakes import Usage

    python, platform = here()
    target = Target.read(arguments.python or python, arguments.platform or platform)
    for folder in arguments.folders:
        if not folder.is_dir():
            raise Usage(f"--from {folder}: no such directory", "bundle")
    wishes: dict[str, set[str]] = {}
    for name, extras in map(wished, arguments.dists or installed()):
        wishes.setdefault(name, set()).update(extras)
    folders = [folder.absolute() for folder in arguments.folders]
    return Order(wishes, target, Index(folders, not arguments.no_index), arguments.to.absolute(), arguments.folder)


def _plain(manifest: Manifest, to: Path, packed_b: int | None) -> dict[str, object]:
    import attrs

    return {
        "to": str(to),
        "bundle": manifest.digest,
        "python": manifest.target.python,
        "platform": manifest.target.platform,
        "files": len(manifest.files),
        "size_b": manifest.size_b,
        "packed_b": packed_b,
        "distributions": [attrs.asdict(each) for each in manifest.distributions],
    }


def _told(manifest: Manifest, to: Path, packed_b: int | None) -> str:
    packed = f", {size(packed_b)} packed" if packed_b else ""
    return "\n".join(
        [
            *(f"{each.name} {each.version}" for each in manifest.distributions),
            f"for Python {manifest.target.python} on {manifest.target.platform}",
            f"{count(len(manifest.files), 'file')}, {size(manifest.size_b)}{packed}, in {to}",
            f"bundle {manifest.digest}",
        ]
    )
