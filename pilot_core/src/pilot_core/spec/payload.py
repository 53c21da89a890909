"""Hooks of preparing, running and judging the payload."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pilot_core.errors import PilotError
from pilot_core.model.job import Job
from pilot_core.model.payload import Command, Outcome, SideProcess, Usage
from pilot_core.model.queue import Queue
from pilot_core.spec.markers import Shape, hook
from pilot_core.spec.patch import Patch
from pilot_core.spec.work import Settings


@hook(Shape.FIRST, since="0.1")
def pilot_payload_command(job: Job, queue: Queue, workdir: Path, settings: Settings) -> Command | None:
    """Say what to run for this job.

    Asked once, after stage-in; the first plugin that answers wins and ``None`` passes.
    Called in a worker thread, so it may block. A failure fails the job, in the plugin's name.
    """


@hook(Shape.GATHER, since="0.1")
def pilot_payload_environment(job: Job, queue: Queue, workdir: Path, settings: Settings) -> Sequence[Patch]:
    """Change the payload's environment, which is built from a short list and not inherited.

    Asked once, after the command is known, in a worker thread. A higher tier wins; two plugins of one tier that set
    one variable differently are a conflict that fails the job. A failure fails the job, in the plugin's name.
    """


@hook(Shape.FIRST, since="0.1")
def pilot_payload_container(job: Job, queue: Queue, settings: Settings) -> str | None:
    """Name the image to run the payload in; an empty text says that none is wanted.

    Asked once, in a worker thread. Without an answer it is the image that the job names. A failure fails the job.
    """


@hook(Shape.GATHER, since="0.1")
def pilot_payload_preprocesses(job: Job, queue: Queue, workdir: Path, settings: Settings) -> Sequence[SideProcess]:
    """Name processes to run one after another before the payload.

    Asked once, after the command is known, in a worker thread. The first that fails, or outlives its limit, fails the
    job (1356) and the payload is not started; an exit code in its ``enough`` finishes the job without outputs. A
    failure of the hook fails the job, in the plugin's name.
    """


@hook(Shape.GATHER, since="0.1")
def pilot_payload_postprocesses(job: Job, queue: Queue, workdir: Path, settings: Settings) -> Sequence[SideProcess]:
    """Name processes to run one after another when the payload has ended and nothing of it is left.

    Asked once, with those before it. All of them run, also after a payload that failed, but not when the job was
    stopped; one that fails, or outlives its limit, fails the job (1357) unless the payload did. A failure of the hook
    fails the job, in the plugin's name.
    """


@hook(Shape.GATHER, since="0.1")
def pilot_payload_sides(job: Job, queue: Queue, workdir: Path, settings: Settings) -> Sequence[SideProcess]:
    """Name processes to run beside the payload: started right before it, ended with it, their exit codes ignored.

    Asked once, in a worker thread. A failure, or a process that does not start, is logged and the job goes on.
    """


@hook(Shape.TELL, since="0.1")
def pilot_payload_started(job: Job, pid: int) -> None:
    """Hear that the payload runs.

    Told in a worker thread. A failure is logged.
    """


@hook(Shape.FIRST, since="0.1")
def pilot_payload_soft_stop(job: Job, workdir: Path) -> float | None:
    """Bring a running payload to an early end of its own, as its slot is wanted; say how many seconds it may take.

    What has begun is completed and nothing else begins. The first plugin that answers has it in hand; whatever still
    runs after its time is stopped (1379). Without an answer a payload that may save a checkpoint is warned, and any
    other goes on. Asked once for a job, while its payload runs, in a worker thread. A failure is logged, and the
    payload goes on.
    """


@hook(Shape.GATHER, since="0.1")
def pilot_payload_sample(job: Job, workdir: Path) -> Mapping[str, float]:
    """Measure something of the running payload: numbers under names of the plugin's own.

    Asked whenever monitors look, in a worker thread. A failure is logged; after three in a row the plugin is not
    asked again until the next job.
    """


@hook(Shape.TELL, since="0.1")
def pilot_payload_sampled(job: Job, usage: Usage) -> None:
    """Hear what monitors measured.

    Told in a worker thread. A failure is logged.
    """


@hook(Shape.GATHER, since="0.1")
def pilot_payload_diagnose(job: Job, outcome: Outcome, workdir: Path, settings: Settings) -> Sequence[PilotError]:
    """Say what went wrong in a payload that has ended, or nothing; exit code and signal are judged by the core.

    Asked once, after the payload, in a worker thread. Every answer counts; which error is reported is decided by
    rule. A failure fails the job, in the plugin's name.
    """


@hook(Shape.GATHER, since="0.1")
def pilot_payload_patterns() -> Sequence[Path]:
    """Name files of patterns by which failures of payloads are known, YAML as the manual describes it.

    Asked in a worker thread after each payload that failed, and by ``pilot errors``. Of patterns of one rank those of
    a higher tier are looked for first. A file that cannot be read is left out with a warning. A failure is told as an
    error beside the payload's.
    """
