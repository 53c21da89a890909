"""What the pilot itself asks of a job before anything is moved or started."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from pilot_core.config.schema import PayloadOptions
from pilot_core.control.packing import compression_of
from pilot_core.errors import Code, PilotError
from pilot_core.model.files import FileSpec
from pilot_core.model.job import Job
from pilot_core.model.names import LONGEST_NAME_B, UnsafeName, safe_name

CONTROL = ".control"


def check_id(job: Job) -> None:
    """Refuse an identifier whose directories would not be the job's own."""
    try:
        safe_name(job.id)
        safe_name(f"{job.directory}{CONTROL}")
    except UnsafeName as error:
        raise PilotError(Code.CONVERSIONFAILURE, f"the job's id: {error}") from error
    if CONTROL in job.id:
        told = f"the job's id {job.id!r} holds {CONTROL!r}, which names the control directory of another job"
        raise PilotError(Code.CONVERSIONFAILURE, told)


def own_checks(job: Job, payload: PayloadOptions, images: tuple[str, ...] = ()) -> Iterator[PilotError]:
    """Everything about a job that can be seen to be wrong here and now."""
    for path, file in _places(job):
        yield from _name(path, file)
    yield from _twice("input", job.inputs)
    yield from _twice("output", tuple(file for path, file in _places(job) if not path.startswith("inputs")))
    yield from _limits(job)
    if job.checkpoint is not None:
        yield from _archive(job.checkpoint.file)
    if job.image:
        yield from _image(job.image, payload.container, images)


def _places(job: Job) -> Iterator[tuple[str, FileSpec]]:
    """All files of a job, each with its path in the description."""
    for kind, files in (("inputs", job.inputs), ("outputs", job.outputs)):
        for number, file in enumerate(files):
            yield f"{kind}[{number}]", file
    if job.log is not None:
        yield "log", job.log
    if job.checkpoint is not None:
        yield "checkpoint", job.checkpoint.file


def _name(path: str, file: FileSpec) -> Iterator[PilotError]:
    try:
        safe_name(file.lfn)
    except UnsafeName as error:
        long = len(file.lfn.encode(errors="replace")) > LONGEST_NAME_B
        yield PilotError(Code.LFNTOOLONG if long else Code.BADOUTPUTFILENAME, f"{path}.name: {error}")


def _twice(kind: str, files: tuple[FileSpec, ...]) -> Iterator[PilotError]:
    for lfn, times in Counter(file.lfn for file in files).items():
        if times > 1:
            yield PilotError(Code.CONVERSIONFAILURE, f"{times} {kind}s have the name {lfn!r}; each needs its own")


def _archive(file: FileSpec) -> Iterator[PilotError]:
    try:
        compression_of(file.lfn)
    except ValueError as unknown:
        yield PilotError(Code.CONVERSIONFAILURE, f"checkpoint.name: {unknown}")


def _limits(job: Job) -> Iterator[PilotError]:
    """Numbers that no job can mean: they would never fit, or never end."""
    needs = job.needs
    asked: tuple[tuple[str, float | None, int], ...] = (
        ("cores", needs.cores, 1),
        ("memory (B)", needs.memory_b, 0),
        ("disk (B)", needs.disk_b, 0),
        ("GPUs", needs.gpu_count, 0),
        ("wall time (s)", job.wall_limit_s, 0),
        ("looping limit (s)", job.looping_limit_s, 0),
    )
    for what, value, least in asked:
        if value is not None and not least <= value < float("inf"):
            yield PilotError(Code.CONVERSIONFAILURE, f"the job asks for {value} {what}; the least is {least}")


def _image(image: str, container: str, allowed: tuple[str, ...]) -> Iterator[PilotError]:
    if why := unwanted(image, allowed):
        yield PilotError(Code.IMAGENOTFOUND, why, image=image)
    elif image.startswith("/") and not Path(image).exists():
        yield PilotError(Code.IMAGENOTFOUND, f"{image} is not on this node")
    if container == "none":
        told = f"the job wants the image {image}, and payload.container is none here"
        yield PilotError(Code.QUEUENOTSETUPFORCONTAINERS, told)


def unwanted(image: str, allowed: tuple[str, ...]) -> str:
    """Why this image may not be used here; nothing if it may."""
    plain = image if "://" in image else os.path.normpath(image)
    if not allowed or any(_begins(plain, each) for each in allowed):
        return ""
    return f"container.images allows no image {image!r} here; it allows {', '.join(allowed)}"


def _begins(image: str, beginning: str) -> bool:
    whole = beginning if beginning.endswith(("/", ":", "@")) else f"{beginning}/"
    return image == beginning or image.startswith(whole)
