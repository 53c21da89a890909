"""Files that a test has brought or stored, in a line."""

from __future__ import annotations

from pilot_core.control.data import DataControl
from pilot_core.io.checksum import Digest
from pilot_core.model.files import Checksum, FileSpec, Replica
from pilot_core.model.job import Job
from pilot_core.model.payload import Outcome
from pilot_core.redact import Redactor


def control(bench, hooks=None, tools=None, redactor=None, **options):
    return DataControl(
        hooks or bench.hooks(),
        [bench.shelf] if tools is None else tools,
        redactor or Redactor(),
        pause_s=0.0,
        **options,
    )


def spec(name, content, *replicas, kind="adler32", **more):
    digest = Digest([kind])
    digest.update(content)
    return FileSpec(
        lfn=name,
        size_b=len(content),
        checksum=Checksum(kind, digest.hexdigests()[kind]),
        replicas=replicas,
        **more,
    )


def inputs(bench, *files, hooks=None, tools=None, **data):
    return control(bench, hooks, tools).stage_in(bench.task(Job(id="1", inputs=files), **data))


def outputs(bench, *files, hooks=None, tools=None, errors=(), receipts=(), leaving=None, **data):
    job = Job(
        id="1",
        outputs=files,
        errors=errors,
        receipts=receipts,
        leaving=leaving or {},
        outcome=Outcome(exit_code=0),
    )
    return control(bench, hooks, tools).stage_out(bench.task(job, **data))


def codes(result):
    return [error.code for error in result.errors]


def make(bench, **contents):
    for name, content in contents.items():
        (bench.workdir / name).write_bytes(content)


def out(name, **more):
    return FileSpec(lfn=name, replicas=(Replica(f"mem://out/{name}"),), **more)
