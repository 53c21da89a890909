"""A described job as PanDA's flat job."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Final

from attrs import frozen

from pilot_core.config.spelling import meant
from pilot_core.dispatcher.config import ServedQueue
from pilot_core.model.described import describe, read_job
from pilot_core.model.files import Checkpoint, Checksum, FileSpec
from pilot_core.model.job import Job
from pilot_core.model.wire import BadMessage, Fields, Problem, joined, shown

UPLOADED: Final = "/storage/inputs/"
MB: Final = 10**6
UNSET: Final = "NULL"
OF_ATTEMPT: Final = frozenset(
    {"StatusCode", "PandaID", "attemptNr", "jobDefinitionID", "scopeLog", "scopeOut", "heartbeat", "debug"}
    | {"checkpoint", "checkpointSaved"}
)
MANAGED: Final = "managed"
LABELS: Final = {
    "user": ("user", "panda", "install"),
    MANAGED: (MANAGED, "test", "prod_test", "install"),
    "unified": (MANAGED, "test", "prod_test", "install", "user", "panda"),
    "test": ("prod_test", "install", "test"),
}
"""A label that a pilot asks for, and those of the jobs that it gets; any other gets its like."""
_KNOWN: Final = frozenset(
    {"ptest", "rc_test", "rc_test2", "rcm_test2", "rc_alrb", *(label for row in LABELS.values() for label in row)}
)


def labels_for(asked: str, status: str = "online") -> tuple[str, ...]:
    """The labels of the jobs that a pilot gets which asks for one."""
    asked = asked or MANAGED
    if status == "test" and asked in LABELS:
        asked = "test"
    return LABELS.get(asked, (asked,))


@frozen(kw_only=True)
class Order:
    """A description that can be run, with what jobs are chosen by; ``wire`` lacks what an attempt adds."""

    name: str
    description: str
    wire: str
    outputs: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    inputs: tuple[Mapping[str, object], ...] = ()
    label: str = MANAGED
    resource: str = "SCORE"
    memory_mb: int = 0
    disk_mb: int = 0
    wall_s: int = 0
    priority: int = 0
    count: int = 1


def read_order(raw: object, queue: ServedQueue, storages: Collection[str], where: str) -> Order:
    """What a submission asks for; ``BadMessage`` with everything that is wrong with it, each below ``where``."""
    fields = Fields(raw, where)
    count = fields.number("count", 1, least=1, most=100_000) or 1
    priority = fields.number("priority", 0, least=-1000, most=10_000) or 0
    described = fields.value("description")
    fields.refuse_unknown()
    place = joined(where, "description")
    job = _job(described, place, fields.problems)
    if job and isinstance(described, Mapping):
        for path, text in (*_unreachable(described), *_taken(described), *_unfit(job, queue, storages)):
            fields.problem(f"description.{path}", text)
    fields.raise_problems()
    assert job is not None
    assert isinstance(described, Mapping)
    return _order(job, described, queue, count, priority)


def _job(described: object, place: str, problems: list[Problem]) -> Job | None:
    if not isinstance(described, Mapping):
        problems.append(Problem(place, f"wants a described job, not {shown(described)}"))
        return None
    try:
        return read_job(describe(Path("job.json"), json.dumps(described).encode(), ""))
    except BadMessage as bad:
        problems.extend(Problem(joined_path(place, each.path), each.text) for each in bad.problems)
    return None


def joined_path(place: str, path: str) -> str:
    """A path below a place."""
    return f"{place}.{path}" if path else place


def _unreachable(described: Mapping[str, object]) -> Iterable[tuple[str, str]]:
    """Files named by paths, which mean nothing on a pilot's node."""
    fields = Fields(described)
    rows = (("inputs", "source"), ("outputs", "destination"), ("log", "destination"))
    for name, key in (*rows, ("checkpoint", "source"), ("checkpoint", "destination")):
        items = [(name, fields.value(name))] if name in ("log", "checkpoint") else fields.items(name)
        for place, value in items:
            written = value.get(key) if isinstance(value, Mapping) else value if key == "source" else None
            if name == "inputs" and not written and not (isinstance(value, Mapping) and value.get("scope")):
                told = "write the URL that pilots are to bring it from, or the 'scope' that a catalogue has it under"
                yield place, f"has no 'source'; {told}"
            elif isinstance(written, str) and "://" not in written and not (key == "source" and _is_ours(written)):
                told = "put the file on the dispatcher first ('pilot submit' does), or write a URL"
                rest = told if key == "source" else "write a URL, or leave it out: the queue's storage takes it"
                yield f"{place}.{key}", f"{shown(written)} is a path of the machine it was written on; {rest}"


def _is_ours(source: str) -> bool:
    """Whether it lies in this dispatcher's own storage, whatever its address will be when a pilot asks."""
    return source.startswith(UPLOADED)


def _taken(described: Mapping[str, object]) -> Iterable[tuple[str, str]]:
    for name in _of_plugins(described):
        if name in OF_ATTEMPT:
            yield f"wire.{name}", "is the dispatcher's to say; leave it out"


def _unfit(job: Job, queue: ServedQueue, storages: Collection[str]) -> Iterable[tuple[str, str]]:
    """What no wire takes, no storage here, and what no pilot of the queue may run."""
    stored = [(f"outputs[{number}]", each) for number, each in enumerate(job.outputs)]
    stored += [("log", job.log)] if job.log else []
    for place, file in ((f"inputs[{number}]", each) for number, each in enumerate(job.inputs)):
        yield from _unlisted(place, file)
    for place, file in stored:
        yield from _unlisted(place, file)
        if file.endpoint and not file.replicas and file.endpoint not in storages:
            known = ", ".join(storages)
            yield (
                f"{place}.endpoint",
                f"no storage {shown(file.endpoint)} here{meant(file.endpoint, storages)}; {known}",
            )
    rows = (
        ("needs.cores", job.needs.cores, queue.cores, ""),
        ("needs.memory", job.needs.memory_b, queue.memory_b, " B"),
        ("needs.disk", job.needs.disk_b, queue.disk_b, " B"),
        ("limits.wall", job.wall_limit_s, queue.wall_s, " s"),
    )
    for path, asked, there, unit in rows:
        if asked is not None and there is not None and asked > there:
            yield path, f"asks for {asked:g}{unit}; queue {queue.name!r} has {there:g}{unit}"


def _unlisted(place: str, file: FileSpec) -> Iterable[tuple[str, str]]:
    """Names travel in lists split at commas."""
    if "," in file.lfn or file.lfn.strip() != file.lfn or file.lfn in (UNSET, "None"):
        told = "choose a name without commas and without blanks around it, not 'NULL' or 'None'"
        yield f"{place}.name", f"{shown(file.lfn)} cannot travel to a pilot; {told}"


def _order(job: Job, described: Mapping[str, object], queue: ServedQueue, count: int, priority: int) -> Order:
    wire = {**_of_plugins(described), **_wire(job, queue, priority)}
    return Order(
        name=str(wire["jobName"]),
        description=_text(described),
        wire=_text(wire),
        outputs=tuple(each.lfn for each in job.outputs),
        required=tuple(each.lfn for each in job.outputs if not each.optional),
        inputs=tuple(_told_input(each) for each in job.inputs),
        label=str(wire["prodSourceLabel"]),
        resource=str(wire["resource_type"]),
        memory_mb=_mb(job.needs.memory_b) or 0,
        disk_mb=_mb(job.needs.disk_b) or 0,
        wall_s=math.ceil(job.wall_limit_s or 0),
        priority=priority,
        count=count,
    )


def _of_plugins(described: Mapping[str, object]) -> Mapping[str, object]:
    """Fields of a server that only a plugin reads."""
    wire = described.get("wire")
    return wire if isinstance(wire, Mapping) else {}


def _told_input(file: FileSpec) -> dict[str, object]:
    return {
        "name": file.lfn,
        "size_b": file.size_b,
        "checksum": str(file.checksum) if file.checksum else None,
        "url": file.replicas[0].url if file.replicas else "",
    }


def _wire(job: Job, queue: ServedQueue, priority: int) -> dict[str, object]:
    """The job as far as no attempt changes it."""
    stored = (*job.outputs, job.log) if job.log else job.outputs
    own = job.label in _KNOWN
    wire: dict[str, object] = {
        "jobsetID": UNSET,
        "taskID": int(job.task) if job.task.isdigit() else UNSET,
        "jobName": job.id,
        "prodSourceLabel": job.label if own else MANAGED,
        "processingType": job.label if job.label and not own else UNSET,
        "prodUserID": UNSET,
        "transformation": job.transformation,
        "jobPars": _shell(job.arguments),
        "currentPriority": priority,
        "coreCount": job.needs.cores,
        "minRamCount": _mb(job.needs.memory_b) or UNSET,
        "maxDiskCount": _mb(job.needs.disk_b) or UNSET,
        "maxWalltime": math.ceil(job.wall_limit_s) if job.wall_limit_s else UNSET,
        "maxCpuCount": 0,
        "resource_type": "SCORE" if job.needs.cores == 1 else "MCORE",
        "destinationSE": queue.storage,
        **_inputs(job.inputs),
        **_outputs(stored, queue.storage),
        "logFile": job.log.lfn if job.log else "",
        "logGUID": job.log.guid if job.log else "",
    }
    return {**wire, **_beyond(job, stored, queue)}


def _inputs(files: Iterable[FileSpec]) -> dict[str, str]:
    files = tuple(files)
    return {
        "inFiles": ",".join(each.lfn for each in files),
        "scopeIn": _joined(each.scope for each in files),
        "GUID": _joined(each.guid for each in files),
        "fsize": _joined("" if each.size_b is None else str(each.size_b) for each in files),
        "checksum": _joined(_digest(each.checksum) for each in files),
        "ddmEndPointIn": _joined(each.endpoint for each in files),
        "realDatasetsIn": _joined(each.dataset for each in files),
        "prodDBlocks": _joined(each.dataset for each in files),
        "prodDBlockToken": _joined("" for _ in files),
    }


def _outputs(files: Iterable[FileSpec], storage: str) -> dict[str, str]:
    files = tuple(files)
    return {
        "outFiles": ",".join(each.lfn for each in files),
        "realDatasets": _joined(each.dataset for each in files),
        "destinationDblock": _joined(each.dataset for each in files),
        "destinationDBlockToken": _joined("" for _ in files),
        "ddmEndPointOut": _joined(each.endpoint or storage for each in files),
        "fileDestinationSE": _joined(storage for _ in files),
    }


def _beyond(job: Job, stored: Iterable[FileSpec], queue: ServedQueue) -> dict[str, object]:
    """What PanDA has no word for, each under a key of its own where there is something to say."""
    optional = [each.lfn for each in job.outputs if each.optional]
    more: dict[str, object] = {
        "container_name": job.image,
        "allowNoOutput": ",".join(optional),
        "environment": dict(job.environment),
        "sources": {each.lfn: each.replicas[0].url for each in job.inputs if each.replicas},
        "destinations": {each.lfn: each.replicas[0].url for each in stored if each.replicas},
        "optional": optional,
        "always": [each.lfn for each in job.outputs if each.always],
        "options": dict(job.options),
        "gpus": job.needs.gpu_count,
        "checkpoint": _checkpoint(job.checkpoint, queue.storage),
        "loopingLimit": math.ceil(job.looping_limit_s or 0),
    }
    return {key: value for key, value in more.items() if value}


def _checkpoint(asked: Checkpoint | None, storage: str) -> dict[str, object]:
    if asked is None:
        return {}
    place = {"destination": asked.file.replicas[0].url} if asked.file.replicas else {}
    source = {"source": asked.before.replicas[0].url} if asked.before else {}
    endpoint = asked.file.endpoint or storage
    return {"name": asked.file.lfn, "warning": asked.warning_s, "endpoint": endpoint, **place, **source}


def _shell(arguments: Iterable[str]) -> str:
    """Arguments as a shell reads them; one that is a word for nothing is quoted, or it would be nothing."""
    text = shlex.join(arguments)
    return f"'{text}'" if text in (UNSET, "None") else text


def _joined(values: Iterable[str]) -> str:
    return ",".join(value or UNSET for value in values)


def _digest(checksum: Checksum | None) -> str:
    if checksum is None:
        return ""
    return f"ad:{checksum.value}" if checksum.kind == "adler32" else str(checksum)


def _mb(size_b: int | None) -> int | None:
    return None if size_b is None else -(-size_b // MB)


def _text(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def leased(
    wire: str, job_id: int, attempt: int, outputs: int, *, debug: bool, heartbeat_s: float, saved: str = ""
) -> str:
    """A stored job as one attempt's pilot gets it: scopes carry id and attempt, so no two attempts share a place."""
    scope = scope_of(job_id, attempt)
    head = (
        f'{{"StatusCode":0,"PandaID":{job_id},"attemptNr":{attempt},"jobDefinitionID":0,"scopeLog":"{scope}",'
        f'"scopeOut":"{",".join([scope] * outputs)}","heartbeat":{heartbeat_s:g},'
    )
    more = f'"checkpointSaved":{saved},' if saved else ""
    return head + more + ('"debug":"True",' if debug else "") + wire[1:]


def checkpoint_of(wire: str) -> str:
    """The name of the checkpoint that a job may leave, if it may; few do, so most are not looked into."""
    return str(json.loads(wire)["checkpoint"]["name"]) if '"checkpoint":' in wire else ""


def with_request(wire: str, memory_mb: int, wall_s: int) -> str:
    """A stored job that asks for so much memory and time; 0 is what it asked for."""
    raised = {"minRamCount": memory_mb, "maxWalltime": wall_s}
    return json.dumps({**json.loads(wire), **{name: value for name, value in raised.items() if value}})


def scope_of(job_id: int, attempt: int) -> str:
    """The name space of what one attempt stores."""
    return f"{job_id}.{attempt}"


def attempt_of(scope: str) -> tuple[int, int] | None:
    """Job and attempt that a scope names, if it is one of ours."""
    job_id, dot, attempt = scope.partition(".")
    plain = dot and all(each.isascii() and each.isdigit() and len(each) <= 18 for each in (job_id, attempt))
    return (int(job_id), int(attempt)) if plain else None
