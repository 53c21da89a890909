"""What an ATLAS job says beyond what every job says, and which kind of job it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Self

from attrs import asdict, frozen

from pilot_core.sdk import Job, JobKey

KEY: Final[JobKey[Mapping[str, str]]] = JobKey("atlas.job")
STEPS: Final[JobKey[Mapping[str, Mapping[str, str]]]] = JobKey("panda.steps")
"""The steps of a job that has several, by name, as the server's communicator keeps them."""
UNSET: Final = frozenset({"", "NULL", "None"})
FIELDS: Final = {
    "release": "swRelease",
    "package": "homepackage",
    "processing": "processingType",
    "resource": "resource_type",
    "owner": "prodUserID",
    "definition": "jobDefinitionID",
    "prepared": "noExecStrCnv",
}


@frozen(kw_only=True)
class AtlasJob:
    """Texts from the job; what is not set is empty."""

    release: str = ""
    package: str = ""
    platform: str = ""
    user_platform: str = ""
    """The platform of the container, where it is another one than the release's."""
    processing: str = ""
    resource: str = ""
    owner: str = ""
    definition: str = ""
    prepared: str = ""
    """Whether the arguments bring their own set-up."""

    @classmethod
    def read(cls, wire: Mapping[str, object]) -> Self:
        """What the server's fields say."""
        platform, _, user_platform = told(wire, "cmtConfig").partition("@")
        texts = {name: told(wire, field) for name, field in FIELDS.items()}
        return cls(platform=platform, user_platform=user_platform, **texts)

    @classmethod
    def of(cls, job: Job) -> Self:
        """What was read of this job."""
        return cls(**(job.extras.get(KEY) or {}))

    def kept(self) -> dict[str, str]:
        """What the journal is to keep of it."""
        return {name: text for name, text in asdict(self).items() if text}

    @property
    def has_release(self) -> bool:
        """Whether there is anything to set up."""
        return bool(self.release or self.package)


def told(wire: Mapping[str, object], name: str) -> str:
    """The text of a field, or nothing for any of the words for nothing."""
    value = wire.get(name)
    text = str(value).strip() if isinstance(value, str | int) else ""
    return "" if text in UNSET else text


def is_analysis(job: Job) -> bool:
    """Whether a user's transform runs it; labels do not tell."""
    return job.transformation.startswith(("http://", "https://"))


def is_build(job: Job) -> bool:
    """Whether it makes a library for other jobs."""
    return any(".lib." in file.lfn and ".log." not in file.lfn for file in job.outputs)


def is_merge(job: Job) -> bool:
    """Whether its transform merges files, on one core whatever it is given."""
    return "Merge" in program_of(job)


def program_of(job: Job) -> str:
    """The name of the transform, without where it comes from."""
    return job.transformation.partition("?")[0].rpartition("/")[2]


def runs_containers(job: Job) -> bool:
    """Whether its transform starts a container by itself."""
    return program_of(job).startswith("runcontainer")


def steps_of(job: Job) -> Mapping[str, Mapping[str, str]]:
    """Its steps beside the payload, by name."""
    return job.extras.get(STEPS) or {}
