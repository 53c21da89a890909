"""What a job of PanDA has beyond what every job has, kept in its extras for whoever asks for it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from attrs import evolve, field, frozen

from pilot_core.builtin.panda.arguments import Hidden
from pilot_core.sdk import Job, JobExtras, JobKey
from pilot_core.sdk.io import UnsafeName, safe_name
from pilot_core.sdk.wire import Fields, shown

OVERRIDES: Final[JobKey[Mapping[str, object]]] = JobKey("queue.overrides")
"""Facts of the queue that this job wants to change for itself, whether it may or not."""
TEXTS: Final[JobKey[Mapping[str, str]]] = JobKey("job.texts")
"""Files to be written into the job's directory before the payload begins, unless they are there: text by name."""
PACKED: Final[JobKey[Sequence[str]]] = JobKey("panda.packed")
"""Inputs that are archives to be unpacked."""
STEPS: Final[JobKey[Mapping[str, Mapping[str, str]]]] = JobKey("panda.steps")
"""What runs before, after or beside the payload, and how its container is run: texts by step."""
ELSEWHERE: Final[JobKey[Mapping[str, str]]] = JobKey("job.elsewhere")
"""Of another storage for outputs: ``wish`` on, off or force, and ``never`` the endpoint that is none."""
WALL: Final[JobKey[float]] = JobKey("queue.wall_limit_s")
"""What is a limit of the job's wall time if its queue says so, and else an estimate."""
BATCH: Final[JobKey[str]] = JobKey("panda.batch")
"""The batch job of the pilot that took it: the same to its end, whichever pilot ends it."""
_NAMES: Final[Mapping[str, str]] = {
    "overrides": OVERRIDES.name,
    "texts": TEXTS.name,
    "packed": PACKED.name,
    "steps": STEPS.name,
    "elsewhere": ELSEWHERE.name,
}
STEP_NAMES: Final = ("preprocess", "postprocess", "coprocess", "containerOptions")
_NEVER_DIRECT: Final = re.compile(r"\.tar\.gz|\.lib\.tgz|\.raw\.|^raw\.", re.IGNORECASE)
_AUTOMATIC: Final = re.compile(r"(?<!\S)--autoConfiguration=everything(?:\s+|$)")


def extras_of(**values: Mapping[str, object] | Sequence[str]) -> JobExtras:
    """Those of the extras that hold anything, each under its key."""
    return JobExtras({_NAMES[name]: value for name, value in values.items() if value})


def limited(job: Job, limit_wall: str) -> Job:
    """The job with its ``maxWalltime`` as a limit, with no limit, or with what its queue may take for one."""
    if limit_wall == "yes" or job.wall_limit_s is None:
        return job
    told = {WALL.name: job.wall_limit_s} if limit_wall == "queue" else {}
    return evolve(job, wall_limit_s=None, extras=JobExtras({**job.extras.plain(), **told}))


def steps_of(fields: Fields) -> dict[str, dict[str, str]]:
    """The steps of a job that has several. In forms of old each is the text of a dictionary."""
    return {name: step for name in STEP_NAMES if (step := _step(fields, name))}


def _step(fields: Fields, name: str) -> dict[str, str]:
    value = fields.value(name)
    if not isinstance(value, str):
        return fields.table(name)
    from ast import literal_eval

    try:
        told = literal_eval(value)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        fields.problem(name, f"wants a mapping of names to texts, not {shown(value)}")
        return {}
    inner = fields.inner(name, told)
    return {key: inner.text(key, lines=True) for key in inner.names()}


def directly_read(inputs: Iterable[tuple[str, str]], fields: Fields, hidden: Hidden) -> list[str]:
    """The inputs that may be read where they lie; each comes with its token, ``local`` if it wants to be copied."""
    from_web = fields.text("transformation").startswith(("http://", "https://"))
    direct = from_web or fields.text("transferType") == "direct"
    if hidden.access:
        direct = hidden.access == "direct"
    fitting = (lfn for lfn, wish in inputs if (wish != "local" or hidden.access) and not _NEVER_DIRECT.search(lfn))
    return list(dict.fromkeys(fitting)) if direct else []


@frozen
class Lists:
    """Lists of files that a payload reads from files of its own, and arguments that name them."""

    parameters: str
    texts: Mapping[str, str] = field(factory=dict)


def lists_of(fields: Fields, parameters: str, *, merging: bool) -> Lists:
    """The lists in ``writeToFile``; those of a merging job name an option of its arguments, and take its place."""
    texts: dict[str, str] = {}
    for number, group in enumerate(filter(None, fields.text("writeToFile").split("^"))):
        name, _, entries = group.partition(":")
        names = [each.removeprefix("zip://") for each in entries.split(",") if each]
        if not _is_safe(fields, number, name):
            continue
        if merging:
            option, parameters = _put_list(name, parameters)
            texts[f"{name}.txt"] = "".join(f"{line}\n" for line in (*filter(None, [option]), *names))
        elif name in parameters:
            texts[name] = "".join(f"{line}\n" for line in names)
    return Lists(_AUTOMATIC.sub("", parameters) if merging and texts else parameters, texts)


def _is_safe(fields: Fields, number: int, name: str) -> bool:
    try:
        safe_name(name)
    except UnsafeName as unsafe:
        fields.problem(f"writeToFile[{number}]", f"{shown(name)} cannot name a file: {unsafe.why}")
        return False
    return True


def _put_list(name: str, parameters: str) -> tuple[str, str]:
    """The option that has this list for its value, and arguments with the list's file in place of both."""
    found = re.search(rf"(?<!\S)(?:(--?[\w-]+)=)?@{re.escape(name)}(?![^\s'\"])", parameters)
    if found is None:
        return "", parameters
    return found[1] or "", f"{parameters[: found.start()]}@{name}.txt{parameters[found.end() :]}"
