"""The manifest of a tree: every file with its size and hash. The same files give the same bytes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from attrs import asdict, frozen

from pilot_core.cli.bundling.target import Target

FORMAT: Final = 1
NAME: Final = "manifest.json"
SEAL: Final = "manifest.sha256"
"""The hash of the manifest itself, in a form that ``sha256sum -c`` reads as well."""
DAWN: Final = 315532800
"""1980, before which no archive format goes."""


@frozen
class Packed:
    """A distribution in the tree, and the hash of the wheel it came in."""

    name: str
    version: str
    sha256: str


@frozen
class Manifest:
    """What is in a tree and where it runs."""

    target: Target
    distributions: Sequence[Packed]
    files: Mapping[str, tuple[int, str]]

    @property
    def size_b(self) -> int:
        """Of all files together."""
        return sum(size_b for size_b, _ in self.files.values())

    def text(self) -> str:
        """As it is written: sorted, a file a line, nothing in it of when or where it was made."""
        facts = {"format": FORMAT, **self.target.as_plain(), "size_b": self.size_b}
        parts = {
            **{key: json.dumps(value) for key, value in facts.items()},
            "distributions": _lines("[]", (json.dumps(asdict(each)) for each in self.distributions)),
            "files": _lines(
                "{}", (f"{json.dumps(path)}: {json.dumps(self.files[path])}" for path in sorted(self.files))
            ),
        }
        return _lines("{}", (f"{json.dumps(key)}: {part}" for key, part in parts.items())) + "\n"

    @property
    def digest(self) -> str:
        """What a bundle is known by: two with one digest are the same."""
        return hashlib.sha256(self.text().encode()).hexdigest()


def survey(root: Path) -> dict[str, tuple[int, str]]:
    """Size and hash of every file below ``root``, by its path from there."""
    return {path.relative_to(root).as_posix(): _measure(path) for path in _files(root)}


def time_of(sha256: str) -> int:
    """The time that a file of this content carries, a fixed one.

    One and the same for all files would be a trap: Python takes a ``.pyc`` for current while size and time of its
    source are what they were, and a newer bundle may be unpacked over an older one.
    """
    return DAWN + int(sha256[:7], 16)


def _measure(path: Path) -> tuple[int, str]:
    with path.open("rb") as file:
        return path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()


def _files(root: Path) -> Iterator[Path]:
    return (path for path in sorted(root.rglob("*")) if path.is_file())


def _lines(brackets: str, lines: Iterator[str]) -> str:
    return brackets[0] + "\n" + ",\n".join(lines) + "\n" + brackets[1]
