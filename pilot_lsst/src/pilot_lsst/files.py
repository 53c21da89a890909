"""Which files the pilot moves for a Rubin job: few, as the butler finds inputs and stores outputs. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from pilot_core.sdk import FileSpec, Job, Queue, Replica
from pilot_lsst.options import LsstOptions


def of_the_butler(job: Job, queue: Queue) -> list[str]:
    """Inputs that have a place neither in the job nor in an endpoint of the queue: names of quanta and datasets."""
    return [file.lfn for file in job.inputs if not file.replicas and file.endpoint not in queue.storages]


def log_place(job: Job, files: Sequence[FileSpec], queue: Queue, options: LsstOptions) -> dict[str, Sequence[Replica]]:
    """Where the log goes, if it is asked for and neither the job nor an endpoint of the queue has a place for it."""
    name = job.log.lfn if job.log is not None and options.logs else ""
    homeless = (
        each for each in files if each.lfn == name and not each.replicas and each.endpoint not in queue.storages
    )
    below = f"{options.logs.rstrip('/')}/{job.task or 'none'}/{job.id}.{job.attempt}"
    return {file.lfn: [Replica(f"{below}/{file.lfn}")] for file in homeless}
