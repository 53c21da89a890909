"""In which container an ATLAS payload runs, if in any. Pure but for looking whether an image is there."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Final

from pilot_atlas.job import AtlasJob, runs_containers, steps_of
from pilot_atlas.options import AtlasOptions
from pilot_core.sdk import Code, ContainerOptions, Job, PayloadOptions, PilotError, Queue, Settings

ALRB: Final = "alrb"
_BASE: Final = re.compile(r"(?:^|[\s,])IMAGE_BASE=([^\s,]+)")


def image_of(job: Job, queue: Queue, settings: Settings) -> str:
    """The image, or the platform by which ALRB chooses one; nothing for a payload that needs none."""
    facts = AtlasJob.of(job)
    if runs_containers(job):
        return ""
    if image := steps_of(job).get("containerOptions", {}).get("containerImage", "") or job.image:
        if any(sign.isspace() for sign in image):
            raise PilotError(Code.IMAGENOTFOUND, f"{image!r} can be the name of no image", image=image)
        return facts.user_platform or unpacked(image, queue, settings.of(AtlasOptions))
    if runtime_of(settings) == "none":
        return ""
    return facts.user_platform or facts.platform


def runtime_of(settings: Settings) -> str:
    """The container runtime that stands for the one which queue data name."""
    name = settings.of(PayloadOptions).container
    return settings.of(ContainerOptions).instead.get(name, name)


def unpacked(image: str, queue: Queue, options: AtlasOptions) -> str:
    """The image as it lies unpacked at this site, if it does."""
    told = _BASE.search(str(queue.params.get("catchall", "")))
    base = options.image_base or (Path(told[1]) if told else None)
    path = PurePosixPath(image.partition("://")[2] or image.lstrip("/"))
    if base is None or ".." in path.parts:
        return image
    return next((str(each) for each in (base / path.name, base / path) if each.exists()), image)
