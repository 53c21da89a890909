"""Measure transfers: ``python3 noxfile.py bench_transfers [-- --runs 5 --large-b 1073741824 --files 1000]``.

A large file comes from a real XRootD by Data Control, verified, and by a plain ``xrdcp`` that asks for no checksum;
many small ones come and go by Data Control in one job, and by one ``xrdcp`` each. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from attrs import frozen
from tests.servers.xrootd import XRootD, anonymous, lacks

from pilot_copytools.xrootd import Xrootd, XrootdOptions
from pilot_core.config.layers import Schema
from pilot_core.config.schema import CORE
from pilot_core.control.data import DataControl
from pilot_core.io.cancel import CancelFlag
from pilot_core.io.checksum import sum_file
from pilot_core.model.files import Checksum, FileSpec, Replica
from pilot_core.model.job import Job
from pilot_core.model.queue import Queue
from pilot_core.plugins.hooks import Hooks
from pilot_core.redact import Redactor
from pilot_core.spec import staging
from pilot_core.spec.work import Task

SMALL_B = 4096
SINGLES = 40
MEMORY = Path("/dev/shm")


@frozen
class Bench:
    """A server, and a folder in memory where files come to and go from."""

    server: XRootD
    top: Path

    def put_there(self, name: str, content: bytes) -> FileSpec:
        """A file at the server, as a job would be told of it."""
        path = self.server.data / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        for each in (path, path.parent):
            each.chmod(0o777)
        checksum = Checksum("adler32", sum_file(path, ["adler32"]).sums["adler32"])
        place = Replica(self.server.root(name))
        return FileSpec(lfn=path.name, size_b=len(content), checksum=checksum, replicas=(place,))

    def task(self, job: Job) -> Task:
        """The work of a job in a folder of its own."""
        work = Path(tempfile.mkdtemp(dir=self.top))
        (work / "control").mkdir()
        settings = Schema([*CORE, XrootdOptions]).merge()
        return Task(
            job=job,
            queue=Queue(name="bench"),
            settings=settings,
            workdir=work,
            control=work / "control",
            cancel=CancelFlag(),
            stored=lambda _: None,
        )

    def stage_in(self, *files: FileSpec) -> float:
        """Seconds for these files, all in."""
        with self.done(self.task(Job(id="1", inputs=files))) as (control, task):
            return timed(lambda: check(control.stage_in(task)))

    def stage_out(self, outputs: dict[str, bytes], folder: str) -> float:
        """Seconds for files of this content, into a folder that is not there yet."""
        files = [FileSpec(lfn=name, replicas=(Replica(self.server.root(f"{folder}/{name}")),)) for name in outputs]
        with self.done(self.task(Job(id="1", outputs=tuple(files)))) as (control, task):
            for name, content in outputs.items():
                (task.workdir / name).write_bytes(content)
            return timed(lambda: check(control.stage_out(task)))

    @contextmanager
    def done(self, task: Task) -> Iterator[tuple[DataControl, Task]]:
        """The controller for a task, whose folder is removed after it."""
        hooks = Hooks(staging)
        hooks.seal()
        try:
            yield DataControl(hooks, [Xrootd(task.settings)], Redactor()), task
        finally:
            shutil.rmtree(task.workdir)

    def xrdcp(self, *words: str | Path) -> float:
        """Seconds for one call of the program."""
        return timed(lambda: subprocess.run(["xrdcp", "--nopbar", "--silent", "--force", *words], check=True))


def check(result: object) -> None:
    errors = getattr(result, "errors", ())
    if errors:
        sys.exit(f"{len(errors)} failed, the first with {errors[0]}")


def timed(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


def measure_large(bench: Bench, size_b: int, runs: int) -> dict[str, float]:
    """A large file, by turns."""
    file = bench.put_there("large/file", os.urandom(size_b))
    ours, plain = [], []
    for _ in range(runs):
        ours.append(bench.stage_in(file))
        plain.append(bench.xrdcp(file.replicas[0].url, bench.top / "plain"))
        (bench.top / "plain").unlink()
    ratio = statistics.median(plain) / statistics.median(ours)
    return {"ours_s": min(ours), "xrdcp_s": min(plain), "speed_to_xrdcp": ratio, "mb_s": size_b / min(ours) / 1e6}


def measure_small(bench: Bench, count: int, runs: int) -> dict[str, float]:
    """Many small files in both directions."""
    contents = {f"file{number:05}": os.urandom(SMALL_B) for number in range(count)}
    files = [bench.put_there(f"small/{name}", content) for name, content in contents.items()]
    come = [bench.stage_in(*files) / count for _ in range(runs)]
    go = [bench.stage_out(contents, f"stored{run}") / count for run in range(runs)]
    single_in = [bench.xrdcp(each.replicas[0].url, bench.top / "single") for each in files[:SINGLES]]
    single_out = [bench.xrdcp(bench.top / "single", bench.server.root(f"one/{n}")) for n in range(SINGLES)]
    return {
        "in_ms": 1e3 * statistics.median(come),
        "out_ms": 1e3 * statistics.median(go),
        "xrdcp_in_ms": 1e3 * statistics.median(single_in),
        "xrdcp_out_ms": 1e3 * statistics.median(single_out),
        "in_times_faster": statistics.median(single_in) / statistics.median(come),
        "out_times_faster": statistics.median(single_out) / statistics.median(go),
    }


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--large-b", type=int, default=1 << 30)
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--to", type=Path)
    asked = parser.parse_args()
    if lack := lacks():
        sys.exit(lack)
    place = MEMORY if MEMORY.is_dir() else None
    with anonymous() as server, tempfile.TemporaryDirectory(prefix="pilot-bench-", dir=place) as top:
        bench = Bench(server, Path(top))
        figures = {
            "large": measure_large(bench, asked.large_b, asked.runs),
            "small": measure_small(bench, asked.files, asked.runs),
        }
    text = json.dumps(figures, indent=1)
    print(text)
    if asked.to:
        asked.to.write_text(text + "\n")


if __name__ == "__main__":
    main()
