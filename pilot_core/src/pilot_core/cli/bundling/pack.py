"""Making the tree bare and the same at every making, and an archive of it."""

from __future__ import annotations

import csv
import gzip
import os
import shutil
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pilot_core.cli.bundling.manifest import DAWN, time_of

NOTES: Final = {"INSTALLER", "REQUESTED", "direct_url.json"}
"""What pip leaves beside a distribution; the last one tells a path of the machine where the bundle was made."""


def strip(packages: Path) -> None:
    """Remove what has no place on a node: pip's notes and scripts, which name this machine, tests, compiled files."""
    shutil.rmtree(packages / "bin", ignore_errors=True)
    for path in sorted(packages.rglob("*")):
        if path.name == "__pycache__" or (path.name == "tests" and (path / "__init__.py").exists()):
            shutil.rmtree(path)
        elif path.suffix == ".pyc" or (path.name in NOTES and path.parent.suffix == ".dist-info"):
            path.unlink(missing_ok=True)
    for record in packages.glob("*.dist-info/RECORD"):
        _correct(record, packages)


def _correct(record: Path, packages: Path) -> None:
    """Keep of a distribution's list of files what is still there."""
    with record.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.reader(file) if row and (packages / row[0]).exists()]
    with record.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(sorted(rows))


def settle(root: Path, files: Mapping[str, tuple[int, str]]) -> None:
    """Give everything the same modes and times wherever and whenever it is made."""
    for path, (_, sha256) in files.items():
        runs = (root / path).stat().st_mode & 0o100
        (root / path).chmod(0o755 if runs else 0o644)
        os.utime(root / path, (time_of(sha256),) * 2)
    for folder in sorted({root, *(path for path in root.rglob("*") if path.is_dir())}, reverse=True):
        folder.chmod(0o755)
        os.utime(folder, (DAWN, DAWN))


def archive(root: Path, top: str, to: Path) -> None:
    """Write a tree as a compressed archive whose only top folder is ``top``."""
    with (
        to.open("wb") as file,
        gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for path in [root, *sorted(root.rglob("*"))]:
            tar.add(path, Path(top) / path.relative_to(root), recursive=False, filter=_nobodys)


def _nobodys(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member
