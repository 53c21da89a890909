"""Hooks of getting and judging a job, and of following it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pilot_core.errors import PilotError
from pilot_core.model.job import Job, JobKey, Phase
from pilot_core.model.queue import Queue, Resources
from pilot_core.spec.markers import Shape, hook
from pilot_core.spec.patch import Patch
from pilot_core.spec.work import Settings


@hook(Shape.GATHER, since="0.1")
def pilot_job_request(queue: Queue, free: Resources, settings: Settings) -> Sequence[Patch]:
    """Change the fields of a request for work before it is sent.

    Asked before every request, in a worker thread, so it may block. The fields are the communicator's.
    A failure counts as an unanswered request.
    """


@hook(Shape.GATHER, since="0.1")
def pilot_job_extras(wire: Mapping[str, object], settings: Settings) -> Mapping[JobKey[object], object]:
    """Read the plugin's own facts from the job as the server sent it.

    Asked once for each job, in a worker thread. Values are JSON values, as they are journaled; two plugins that
    set one key are an error. A failure rejects the job, in the plugin's name.
    """


@hook(Shape.GATHER, since="0.1")
def pilot_job_verify(job: Job, queue: Queue, settings: Settings) -> Sequence[PilotError]:
    """Say why this job cannot run here; an empty answer accepts it.

    Asked once, before stage-in, in a worker thread, so it may block. Any error, and a failure too, fails the job
    before anything is moved or started.
    """


@hook(Shape.TELL, since="0.1")
def pilot_job_phase(job: Job, phase: Phase) -> None:
    """Hear that a job entered a phase of its workflow, ``finished`` and ``failed`` included.

    Told in a worker thread, each job's phases in order. A failure is logged; after three in a row the plugin hears
    no more of this until the next job.
    """


@hook(Shape.TELL, since="0.1")
def pilot_job_recorded(job: Job, record: Mapping[str, object]) -> None:
    """Hear the final record of a job, as it lies in the job's control directory.

    Told once for each job, in a worker thread, after the clean-up. A failure is logged.
    """
