"""``pilot submit``: described jobs, and the local files that they need, for a dispatcher."""

from __future__ import annotations

import sys
from argparse import ArgumentTypeError, Namespace
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from attrs import frozen

from pilot_core.cli.client import Client, add_dispatcher, reach
from pilot_core.cli.output import answer, count
from pilot_core.cli.parser import Parser, add_json
from pilot_core.model.files import Checksum, FileSpec
from pilot_core.model.job import Job
from pilot_core.model.wire import BadMessage, Problem

KINDS = ("sha256", "adler32")


def describe(parser: Parser) -> None:
    """Add the arguments of ``pilot submit``."""
    told = "A described job, YAML or JSON. Inputs that are plain paths are brought to the dispatcher; URLs stay URLs."
    parser.add_argument("files", nargs="+", type=Path, metavar="JOB.yaml", help=told)
    parser.add_argument("--count", type=_count, default=1, metavar="N", help="So many jobs of each description.")
    parser.add_argument("--queue", metavar="Q", help="For this queue; by default the only one there is.")
    add_json(parser)
    add_dispatcher(parser)


def _count(word: str) -> int:
    if not word.isdecimal() or not 1 <= int(word) <= 100_000:
        raise ArgumentTypeError(f"{word!r} is no number from 1 to 100000")
    return int(word)


def run(arguments: Namespace) -> int:
    """Submit; nothing is sent before all descriptions are known to be right. The answer are the ids."""
    wanted = read_all(arguments.files)
    with reach(arguments) as client:
        queue = client.queue(arguments.queue, "submit")
        uploads = {upload.path: upload for each in wanted for upload in each.uploads}
        for upload in uploads.values():
            _bring(client, upload)
        jobs = [{"description": each.sent(), "count": arguments.count} for each in wanted]
        ids = client.post("submit", {"queue": queue, "jobs": jobs})["ids"]
    answer(arguments.json, {"queue": queue, "ids": ids}, "\n".join(map(str, ids)))
    if sys.stderr.isatty() and not arguments.json:
        print(f"{count(len(ids), 'job')} in queue {queue}; `pilot jobs --watch` shows them", file=sys.stderr)
    return 0


@frozen
class Upload:
    """A local file that is brought to the dispatcher, under its content's digest."""

    path: str
    source: Path
    size_b: int
    checksum: str


@frozen
class Wanted:
    """A description that is right, and the inputs that go with it, by their place in its list."""

    job: Job
    written: Mapping[str, Any]
    local: Mapping[int, Upload]

    @property
    def uploads(self) -> tuple[Upload, ...]:
        """The files to bring."""
        return tuple(self.local.values())

    def sent(self) -> dict[str, Any]:
        """The description as the dispatcher gets it: local inputs are those that it then has."""
        written = {**self.written, "id": self.job.id}
        if self.job.inputs:
            written["inputs"] = [self._input(number) for number in range(len(self.job.inputs))]
        return written

    def _input(self, number: int) -> object:
        value, upload = self.written["inputs"][number], self.local.get(number)
        if upload is None:
            return value
        said = value if isinstance(value, Mapping) else {}
        known = {"size": upload.size_b, "checksum": upload.checksum}
        return {**known, **said, "name": self.job.inputs[number].lfn, "source": upload.path}


def read_all(paths: Sequence[Path]) -> list[Wanted]:
    """Read all descriptions; ``BadMessage`` with everything that is wrong with any."""
    read: list[Wanted] = []
    problems: list[Problem] = []
    for path in paths:
        try:
            read.append(_read(path))
        except BadMessage as bad:
            problems += [Problem(f"{bad.where}: {each.path}", each.text) for each in bad.problems]
    if problems:
        raise BadMessage(problems)
    return read


def _read(path: Path) -> Wanted:
    from pilot_core.model import described

    raw = described.describe(path.absolute(), path.read_bytes(), "submit")
    job = described.read_job(raw)
    written: Mapping[str, Any] = raw["described"]  # type: ignore[assignment]
    problems = [*_homeless(written)]
    local: dict[int, Upload] = {}
    for number, file in enumerate(job.inputs):
        problems += _local(local, number, file)
    if problems:
        raise BadMessage(problems, path.name)
    return Wanted(job, written, local)


def _homeless(written: Mapping[str, Any]) -> Iterator[Problem]:
    """Destinations that mean nothing on the node where the job will run."""
    outputs = [(f"outputs[{number}]", each) for number, each in enumerate(written.get("outputs") or ())]
    for place, each in (*outputs, ("log", written.get("log"))):
        destination = each.get("destination") if isinstance(each, Mapping) else None
        if destination and "://" not in destination and not destination.startswith(("/", "file:")):
            told = f"{destination!r} is a path as seen from here, and the job runs elsewhere; leave it out"
            yield Problem(f"{place}.destination", f"{told}, the dispatcher keeps the file for `pilot fetch`")


def _local(found: dict[int, Upload], number: int, file: FileSpec) -> Iterator[Problem]:
    """Look at an input that is a file here, and note it."""
    url = file.replicas[0].url if file.replicas else ""
    if not url or "://" in url or url.startswith("file:"):
        return
    from pilot_core.io.checksum import sum_file

    source, place = Path(url), f"inputs[{number}]"
    kinds = dict.fromkeys((*KINDS, file.checksum.kind if file.checksum else KINDS[0]))
    try:
        summed = sum_file(source, kinds)
    except OSError as error:
        yield Problem(f"{place}.source", f"{source}: {error.strerror}; name a file that is there, or a URL")
        return
    if file.size_b not in (None, summed.size_b):
        yield Problem(f"{place}.size", f"says {file.size_b} B, and {source} has {summed.size_b} B")
    if file.checksum and (found_sum := Checksum(file.checksum.kind, summed.sums[file.checksum.kind])) != file.checksum:
        yield Problem(f"{place}.checksum", f"says {file.checksum}, and {source} has {found_sum}")
    path = f"/storage/inputs/{summed.sums['sha256']}/{quote(file.lfn, safe='')}"
    found[number] = Upload(path, source, summed.size_b, f"adler32:{summed.sums['adler32']}")


def _bring(client: Client, upload: Upload) -> None:
    """Bring a file to where the dispatcher does not have it yet."""
    from pilot_core.io.cancel import CancelFlag

    if client.ask("HEAD", upload.path, known=(404,)).status == 200:
        return
    limit_s = 60.0 + upload.size_b / 100_000
    headers = {"Digest": upload.checksum.replace(":", "=")}
    with upload.source.open("rb") as file:
        put = partial(client.web.put, upload.path, file, upload.size_b, headers=headers)
        client.spoken(put, limit_s=limit_s, cancel=CancelFlag())
