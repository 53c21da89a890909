"""A wheel of a distribution that is installed here, from the list of its files; of an editable one, from its source."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import Distribution, PackagePath
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from pilot_core.cli.mistakes import Usage

INSTALLERS: Final = {"INSTALLER", "REQUESTED", "RECORD", "direct_url.json"}
"""What is in no wheel: notes of whoever installed it."""


def wheel_of(found: Distribution, work: Path, pip: Sequence[str]) -> Path:
    """Make the wheel in ``work``; ``pip`` begins a command that builds one."""
    source = _editable(found)
    return _build(found, source, work, pip) if source else _repack(found, work)


def _editable(found: Distribution) -> Path | None:
    direct = json.loads(found.read_text("direct_url.json") or "{}")
    editable = direct.get("dir_info", {}).get("editable", False)
    return Path(unquote(urlsplit(direct["url"]).path)) if editable else None


def _build(found: Distribution, source: Path, work: Path, pip: Sequence[str]) -> Path:
    from pilot_core.cli.bundling.run import run_pip

    if not source.is_dir():
        raise Usage(f"{found.name} is installed from {source}, which is gone; name its wheel by --from", "bundle")
    place = work / f"built-{found.name}"
    run_pip(*pip, "--no-deps", f"--wheel-dir={place}", str(source))
    return next(place.glob("*.whl"))


def _repack(found: Distribution, work: Path) -> Path:
    stem = f"{re.sub(r'[-_.]+', '_', found.name)}-{found.version}"
    target = work / f"{stem}-{_tag(found)}.whl"
    paths = list(_packed(found))
    info = next(path.parts[0] for path in paths if path.parts[0].endswith(".dist-info"))
    with ZipFile(target, "w", ZIP_DEFLATED) as archive:
        lines = [_add(archive, path.as_posix(), _intact(found, path), runs=_runs(path)) for path in paths]
        record = f"{info}/RECORD"
        _add(archive, record, "".join([*lines, f"{record},,\n"]).encode())
    return target


def _tag(found: Distribution) -> str:
    """The tags of its wheel, in the short form that a file name has."""
    lines = (found.read_text("WHEEL") or "").splitlines()
    tags = [line.removeprefix("Tag:").strip().split("-") for line in lines if line.startswith("Tag:")]
    if not tags:
        raise Usage(f"{found.name} was not installed from a wheel; name its wheel by --from", "bundle")
    return "-".join(".".join(dict.fromkeys(parts)) for parts in zip(*tags, strict=True))


def _packed(found: Distribution) -> Iterator[PackagePath]:
    for path in sorted(found.files or ()):
        outside = [part for part in path.parts if part != ".."]
        if outside != [*path.parts]:
            if outside[0] not in {"bin", "Scripts"}:
                text = f"{found.name} has {path} outside its packages; name its wheel by --from"
                raise Usage(text, "bundle")
        elif path.suffix != ".pyc" and not (path.name in INSTALLERS and ".dist-info" in path.parts[0]):
            yield path


def _intact(found: Distribution, path: PackagePath) -> bytes:
    """The content of a file, provided it is what was installed."""
    try:
        content = Path(str(path.locate())).read_bytes()
    except OSError as error:
        raise Usage(f"{path.locate()} of {found.name} cannot be read: {error.strerror}", "bundle") from error
    if path.hash and path.hash.value != _digest(content, path.hash.mode):
        changed = f"{path.locate()} was changed after {found.name} was installed"
        raise Usage(f"{changed}; install it anew, or name its wheel by --from", "bundle")
    return content


def _runs(path: PackagePath) -> bool:
    return os.access(str(path.locate()), os.X_OK)


def _add(archive: ZipFile, name: str, content: bytes, *, runs: bool = False) -> str:
    """Add a file, without a time, and return its line for the record."""
    entry = ZipInfo(name)
    entry.compress_type, entry.external_attr = ZIP_DEFLATED, (0o100755 if runs else 0o100644) << 16
    archive.writestr(entry, content)
    return f"{_quoted(name)},sha256={_digest(content)},{len(content)}\n"


def _quoted(name: str) -> str:
    return f'"{name}"' if "," in name else name


def _digest(content: bytes, mode: str = "sha256") -> str:
    digest: Iterable[int] = hashlib.new(mode, content).digest()
    return base64.urlsafe_b64encode(bytes(digest)).rstrip(b"=").decode()
