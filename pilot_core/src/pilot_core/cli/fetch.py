"""``pilot fetch``: the outputs and the log of a job, brought here from its dispatcher and verified."""

from __future__ import annotations

import os
import sys
import time
from argparse import Namespace
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

from pilot_core.cli.cancel import job_id
from pilot_core.cli.client import Client, Refused, add_dispatcher, reach
from pilot_core.cli.output import answer, size
from pilot_core.cli.parser import Parser, add_json
from pilot_core.cli.terminal import Block, redraws, transfer_line
from pilot_core.model.files import Checksum
from pilot_core.model.names import UnsafeName, safe_name

File = Mapping[str, Any]

REDRAWN_S = 0.2


def describe(parser: Parser) -> None:
    """Add the arguments of ``pilot fetch``."""
    parser.add_argument("ids", nargs="+", type=job_id, metavar="ID", help="The job's number.")
    told = "Bring them here, by default to '.'; the files of several jobs to a folder each, named by its number."
    parser.add_argument("--to", type=Path, default=Path(), metavar="DIR", help=told)
    parser.add_argument("--log", action="store_true", help="Bring the log, and no outputs.")
    parser.add_argument("--force", action="store_true", help="Write over files of the same names.")
    add_json(parser)
    add_dispatcher(parser)


def run(arguments: Namespace) -> int:
    """Bring them; all or an error that says which file could not be had."""
    with reach(arguments) as client:
        folders = {job: arguments.to / str(job) if len(arguments.ids) > 1 else arguments.to for job in arguments.ids}
        wanted = [
            (file, folder)
            for job, folder in folders.items()
            for file in _chosen(client.get(f"jobs/{job}"), arguments.log)
        ]
        for file, folder in wanted:
            _check(file, folder, arguments.force)
        for folder in folders.values():
            folder.mkdir(parents=True, exist_ok=True)
        rows = [_bring(client, file, folder, arguments.force) for file, folder in wanted]
    lines = (f"{row['path']} ({size(row['size_b'])}, {row['checksum']})" for row in rows)
    answer(arguments.json, rows, "\n".join(lines))
    return 0


def _chosen(job: Mapping[str, Any], log: bool) -> list[File]:
    stored = [file for file in job["files"] if file["direction"] in ("out", "log") and file["url"]]
    name = _log_name(job)
    files = [file for file in stored if (file["direction"] == "log" or file["name"] == name) == log]
    if not files:
        told = f"job {job['id']} has {'no log' if log else 'no outputs'} in storage: it is {job['state']}"
        way_out = "" if log else f"; its log: `pilot fetch {job['id']} --log`" if len(stored) > len(files) else ""
        raise Refused(f"{told}{way_out}; `pilot jobs {job['id']}` says more")
    return files


def _log_name(job: Mapping[str, Any]) -> str:
    """The log's name, as the description has it."""
    log = job.get("description", {}).get("log")
    return str(log.get("name") or f"{job['name']}.log.tar.gz") if isinstance(log, Mapping) else str(log or "")


def _check(file: File, folder: Path, force: bool) -> None:
    """Refuse before anything is brought what could not be written."""
    try:
        target = folder / safe_name(file["name"])
    except UnsafeName as unsafe:
        raise Refused(f"{unsafe}; it is not brought") from None
    if os.path.lexists(target) and (not force or (target.is_dir() and not target.is_symlink())):
        way_out = "it is a directory" if force else "--force writes over it, --to DIR brings it elsewhere"
        raise Refused(f"{target} is there already; {way_out}")


def _bring(client: Client, file: File, folder: Path, force: bool) -> dict[str, Any]:
    target = folder / file["name"]
    part = folder / f".{os.urandom(6).hex()}.part"
    try:
        with part.open("xb") as opened:
            _stream(client, file, opened)
            opened.flush()
            os.fsync(opened.fileno())
        found = _verified(file, part)
        if force:
            part.replace(target)
        else:
            _link(part, target)
    finally:
        with suppress(FileNotFoundError):
            part.unlink()
    return {"path": str(target), **found}


def _link(part: Path, target: Path) -> None:
    """Give the file its name, unless somebody has taken it meanwhile."""
    try:
        os.link(part, target)
    except FileExistsError:
        raise Refused(f"{target} is there already; --force writes over it") from None


def _stream(client: Client, file: File, opened: BinaryIO) -> None:
    from pilot_core.io.cancel import CancelFlag

    url = quote(file["url"], safe="/:?#[]@!$&'()*+,;=%~")
    if not url.startswith(("https://", "http://", "/")):
        raise Refused(f"{file['name']} lies at {url}, which is not the dispatcher's: take it from there")
    limit_s = 60.0 + (file["size_b"] or 10**9) / 100_000
    with _progress(file) as progress:
        call = partial(client.web.fetch, url, opened, limit_s=limit_s, cancel=CancelFlag())
        if client.spoken(call, known=(404,), progress=progress).status == 404:
            raise Refused(f"{file['name']} is no longer at {url}")


@contextmanager
def _progress(file: File) -> Iterator[Any]:
    """Told of the bytes that have come; shows them where standard error is a terminal."""
    if not redraws(sys.stderr, os.environ):
        yield None
        return
    block, began = Block(sys.stderr, os.environ), time.monotonic()
    shown = began

    def show(done_b: int) -> None:
        nonlocal shown
        now = time.monotonic()
        if now - shown >= REDRAWN_S:
            shown = now
            moving = {**file, "direction": "in", "done_b": done_b, "running_s": now - began}
            block.show([transfer_line(moving, block.measure()[0])])

    try:
        yield show
    finally:
        block.close()


def _verified(file: File, part: Path) -> dict[str, Any]:
    """What arrived, read from the disk and compared with what the dispatcher says of the file."""
    from pilot_core.io.checksum import sum_file

    known = Checksum.parse(file["checksum"]) if file["checksum"] else None
    kind = known.kind if known else "adler32"
    summed = sum_file(part, [kind])
    found = Checksum(kind, summed.sums[kind])
    if file["size_b"] not in (None, summed.size_b):
        raise Refused(f"{file['name']}: {summed.size_b} B arrived, {file['size_b']} B were stored; try it again")
    if known not in (None, found):
        raise Refused(f"{file['name']}: {found} arrived, {known} was stored; try it again")
    return {"size_b": summed.size_b, "checksum": str(found)}
