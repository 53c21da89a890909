"""``pilot data get|put|stat``: files moved as a pilot of a queue does it, verified, without a pilot."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from argparse import Namespace
from collections.abc import Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO, cast

from pilot_core.cli.mistakes import Usage, warnings_of
from pilot_core.cli.output import size
from pilot_core.cli.parser import OneOf, Parser, add_json, add_sources, sources_of
from pilot_core.cli.terminal import Block, Live, harmless, redraws, transfer_line

if TYPE_CHECKING:
    from pilot_core.api.data import Data, FileSpec, PilotError, Progress, Receipt, Seen

    Done = Receipt | Seen | PilotError

VERBS: Final = ("get", "put", "stat")
REDRAWN_S: Final = 0.2
SIGTERM: Final = "SIGTERM"
Told = dict[str, Any]


def describe(parser: Parser) -> None:
    """Add the arguments of ``pilot data``."""
    parser.add_argument("verb", metavar="get|put|stat", type=OneOf(*VERBS), help="Bring files, store them, or look.")
    parser.add_argument(
        "files",
        metavar="FILE",
        nargs="*",
        help="For put a path here; else a URL, a path, or SCOPE:NAME for the catalogue or the storages of the queue.",
    )
    parser.add_argument(
        "--to",
        metavar="PLACE",
        default="",
        help="For get the directory, by default '.'; for put a URL or path, with / at its end for a directory; by "
        "default where the queue stores outputs.",
    )
    parser.add_argument(
        "--from",
        dest="listed",
        type=Path,
        metavar="LIST",
        help="Read the files from this JSON list; - is standard input.",
    )
    parser.add_argument("--scope", default="", help="The scope of the files.")
    parser.add_argument("--endpoint", default="", help="The storage endpoint where the files lie or go.")
    parser.add_argument("--size", type=int, metavar="BYTES", help="What the one FILE must have.")
    parser.add_argument("--checksum", default="", metavar="KIND:HEX", help="What the one FILE must have.")
    parser.add_argument("--force", action="store_true", help="Replace files of the same names.")
    add_json(parser)
    add_sources(parser)


def run(arguments: Namespace) -> int:
    """Move or look; 0 only if that worked for every file."""
    import asyncio

    from pilot_core.api.data import Data

    files = _listed(arguments)
    if arguments.verb == "get" and not arguments.force:
        _refuse_present(files, Path(arguments.to or "."))
    with Data.of(sources_of(arguments)) as data, _view(data, arguments) as hear:
        done = asyncio.run(_ended_by_signals(_work(data, files, arguments, hear)))
    told = [_told(file.lfn, each) for file, each in zip(files, done, strict=True)]
    _tell(told, arguments.json)
    return 0 if all("error" not in each for each in told) else 1


async def _work(data: Data, files: Sequence[FileSpec], arguments: Namespace, hear: Any) -> Sequence[Done]:
    match arguments.verb:
        case "get":
            return await data.aget(files, arguments.to or ".", progress=hear)
        case "put":
            return await _put(data, files, [Path(path) for path in arguments.files], hear)
    return await data.astat(files)


async def _put(data: Data, files: Sequence[FileSpec], paths: Sequence[Path], hear: Any) -> Sequence[Done]:
    """Store files folder by folder; listed ones lie in this one."""
    folders = [path.parent for path in paths] + [Path()] * (len(files) - len(paths))
    done: dict[int, Done] = {}
    for folder in dict.fromkeys(folders):
        numbers = [number for number, each in enumerate(folders) if each == folder]
        done.update(
            zip(numbers, await data.aput([files[each] for each in numbers], folder, progress=hear), strict=True)
        )
    return [done[number] for number in range(len(files))]


async def _ended_by_signals(work: Coroutine[Any, Any, Sequence[Done]]) -> Sequence[Done]:
    """The work; on SIGTERM what is under way is ended first, as on Ctrl-C."""
    import asyncio

    task = asyncio.ensure_future(work)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel, SIGTERM)
    try:
        return await task
    except asyncio.CancelledError as cancelled:
        if SIGTERM in cancelled.args:
            raise SystemExit(128 + signal.SIGTERM) from None
        raise


# --- which files ---


def _listed(arguments: Namespace) -> list[FileSpec]:
    from pilot_core.api.data import described

    files = [_file(arguments, word) for word in arguments.files]
    if arguments.listed is not None:
        from pilot_core.model.plain import parse_plain

        name = str(arguments.listed)
        text = sys.stdin.buffer.read() if name == "-" else arguments.listed.read_bytes()
        read = parse_plain(text, name, as_json=True)
        if not isinstance(read, list):
            raise Usage(f"{name} wants a JSON list of files", "data")
        files += [described(each) for each in read]
    if not files:
        raise Usage(f"{arguments.verb} wants a FILE, or --from LIST", "data")
    return files


def _file(arguments: Namespace, word: str) -> FileSpec:
    from attrs import evolve

    from pilot_core.api.data import Checksum, named

    if len(arguments.files) > 1 and (arguments.size is not None or arguments.checksum):
        raise Usage("--size and --checksum are those of a single FILE", "data")
    try:
        checksum = Checksum.parse(arguments.checksum) if arguments.checksum else None
    except ValueError as wrong:
        raise Usage(str(wrong), "data") from None
    file = _leaving(arguments, word) if arguments.verb == "put" else named(word)
    known = {"size_b": arguments.size, "checksum": checksum, "endpoint": arguments.endpoint}
    replicas = tuple(evolve(each, endpoint=arguments.endpoint) for each in file.replicas)
    return evolve(file, **known, scope=arguments.scope or file.scope, replicas=replicas, replace=arguments.force)


def _leaving(arguments: Namespace, word: str) -> FileSpec:
    """A file that is to be stored, at the place that was named if one was."""
    from urllib.parse import quote

    from pilot_core.api.data import FileSpec, Replica

    name, to = Path(word).name, arguments.to
    if not to:
        return FileSpec(lfn=name)
    if to.endswith("/") or ("://" not in to and Path(to).is_dir()):
        to = f"{to.rstrip('/')}/{quote(name) if '://' in to else name}"
    elif len(arguments.files) > 1:
        raise Usage(f"--to {to} is one place for several files: end it with /", "data")
    return FileSpec(lfn=name, replicas=(Replica(to if "://" in to else os.path.abspath(to)),))


def _refuse_present(files: Iterable[FileSpec], folder: Path) -> None:
    for file in files:
        if os.path.lexists(folder / file.lfn) and (file.size_b is None or file.checksum is None):
            raise Usage(
                f"{folder / file.lfn} is there already: --force replaces it, --to DIR brings it elsewhere", "data"
            )


# --- what is told ---


@contextmanager
def _view(data: Data, arguments: Namespace) -> Iterator[Any]:
    """The log on standard error, and below it on a terminal how far each file has come; gives who hears of that."""
    from pilot_core.config.schema import LogOptions
    from pilot_core.io import logs
    from pilot_core.redact import Redactor

    options = data.setup.settings.of(LogOptions)
    moving: dict[int, Progress] = {}

    def hear(progress: Progress) -> None:
        moving[id(progress)] = progress
        if progress.over:
            del moving[id(progress)]

    live = redraws(sys.stderr, os.environ) and not arguments.json and not options.json
    block = Block(sys.stderr, os.environ) if live else None
    stream = cast("TextIO", block) if block else None
    logs.setup(options.level.upper(), Redactor(), as_json=options.json, stream=stream)
    for warning in warnings_of(data.setup):
        print(f"pilot: {warning}", file=block or sys.stderr)
    if block is None:
        yield hear
        return
    with Live(block, lambda: list(moving.values()), REDRAWN_S, _drawn):
        yield hear


def _drawn(moving: Sequence[Progress], width: int) -> list[str]:
    return [transfer_line({**_status(each)}, width) for each in moving]


def _status(progress: Progress) -> Mapping[str, Any]:
    known = {name: getattr(progress, name) for name in ("name", "direction", "done_b", "size_b")}
    return {**known, "running_s": time.monotonic() - progress.mono}


def _told(name: str, done: Done) -> Told:
    """One file as JSON."""
    from pilot_core.errors import PilotError

    if isinstance(done, PilotError):
        error = {"code": done.code.number, "acronym": done.code.acronym, "text": done.detail or done.code.sentence}
        return {"name": name, "error": error}
    told = {key: getattr(done, key, None) for key in ("url", "endpoint", "tool", "size_b", "took_s")}
    return {"name": name, **told, "checksum": str(done.checksum) if done.checksum else None}


def _tell(told: Sequence[Told], as_json: bool) -> None:
    if as_json:
        print(json.dumps(told, indent=2))
        return
    for each in told:
        if "error" in each:
            error = each["error"]
            print(f"pilot: {harmless(each['name'])}: {error['acronym']} ({error['code']}): {harmless(error['text'])}",
                  file=sys.stderr)  # fmt: skip
        else:
            size_b = "size not told" if each["size_b"] is None else size(each["size_b"])
            print(harmless(f"{each['name']}  {size_b}, {each['checksum'] or 'no checksum'}  {each['url']}"))
