"""The variables of an ATLAS payload, as changes to what every payload gets. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pilot_atlas.job import AtlasJob, is_analysis, is_merge
from pilot_core.sdk import Job, Patch, Queue

CORES: Final = ("ATHENA_PROC_NUMBER", "ATHENA_CORE_NUMBER")
NOT_FOR_USERS: Final = (
    "OIDC_AUTH_TOKEN",
    "OIDC_AUTH_ORIGIN",
    "PANDA_AUTH_TOKEN",
    "PANDA_AUTH_ORIGIN",
    "OIDC_REFRESHED_AUTH_TOKEN",
)
NO_INPUTS: Final = ("DBRelease", ".lib.")


def patches(job: Job, queue: Queue) -> tuple[Patch, ...]:
    """All of them."""
    analysis = is_analysis(job)
    return (*_who(job, queue), *_cores(job), *(_for_users(job) if analysis else ()))


def _who(job: Job, queue: Queue) -> Iterator[Patch]:
    frontier = f"[{job.task}_{job.id}]"
    told = {
        "TZ": "UTC",
        "PANDA_RESOURCE": str(queue.params.get("panda_resource") or queue.name),
        "FRONTIER_ID": frontier,
        "CMSSW_VERSION": frontier,
        "PandaID": job.id,
        "PanDA_TaskID": job.task,
        "PanDA_AttemptNr": str(job.attempt),
        "RUCIO_APPID": AtlasJob.of(job).processing,
        "INDS": dataset(job),
    }
    yield from (Patch.set(name, value) for name, value in told.items() if value)
    yield Patch.unset("RUCIO_ACCOUNT")


def dataset(job: Job) -> str:
    """The dataset of its first input that holds data."""
    named = (file.dataset for file in job.inputs if file.dataset)
    return next((name for name in named if not any(word in name for word in NO_INPUTS)), "")


def _cores(job: Job) -> Iterator[Patch]:
    several = job.needs.cores > 1 and not is_merge(job)
    for name in CORES:
        yield Patch.set(name, str(job.needs.cores)) if several else Patch.unset(name)


def _for_users(job: Job) -> Iterator[Patch]:
    cores = str(job.needs.cores)
    yield Patch.set("MAKEFLAGS", f"-j{cores} QUICK=1 -l1")
    yield Patch.set("ROOTCORE_NCPUS", cores)
    yield Patch.set("ROOT_TTREECACHE_SIZE", "1")
    yield from (Patch.unset(name) for name in NOT_FOR_USERS)
