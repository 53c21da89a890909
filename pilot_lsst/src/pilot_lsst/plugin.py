"""The experiment "lsst": every hook that it answers, each by the module that knows the answer."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from pilot_core.sdk import (
    Command,
    FileSpec,
    Job,
    Outcome,
    Patch,
    PilotError,
    Queue,
    Replica,
    Settings,
    hookimpl,
)
from pilot_lsst.options import LsstOptions


@hookimpl
def pilot_config_sections() -> Sequence[type]:
    """The experiment's own options."""
    return [LsstOptions]


@hookimpl
def pilot_config_defaults() -> Mapping[str, Mapping[str, object]]:
    """Its server, and what its payloads get to see."""
    from pilot_lsst.defaults import DEFAULTS

    return DEFAULTS


@hookimpl
def pilot_job_verify(job: Job, settings: Settings) -> Sequence[PilotError]:
    """Transforms come from where they may."""
    from pilot_lsst import command

    return command.problems(job, settings)


@hookimpl
def pilot_inputs_skip(job: Job, queue: Queue) -> Collection[str]:
    """What nobody gives a place of is the butler's."""
    from pilot_lsst import files

    return files.of_the_butler(job, queue)


@hookimpl
def pilot_outputs_replicas(
    job: Job, files: Sequence[FileSpec], queue: Queue, settings: Settings
) -> Mapping[str, Sequence[Replica]] | None:
    """The log goes to the site's place for logs."""
    from pilot_lsst.files import log_place

    return log_place(job, files, queue, settings.of(LsstOptions)) or None


@hookimpl
def pilot_payload_command(job: Job, workdir: Path, settings: Settings) -> Command:
    """The transform with what the workflow service has encoded for it."""
    from pilot_lsst.command import command_of

    return command_of(job, workdir, settings)


@hookimpl
def pilot_payload_container() -> str:
    """None: what the workflow service submits starts its own."""
    return ""


@hookimpl
def pilot_payload_environment(job: Job, queue: Queue) -> Sequence[Patch]:
    """Who the payload is to its server."""
    from pilot_lsst import command

    return command.patches(job, queue)


@hookimpl
def pilot_payload_diagnose(job: Job, outcome: Outcome) -> Sequence[PilotError]:
    """What exit codes mean, and how much memory would have been enough."""
    from pilot_lsst import diagnose

    return diagnose.problems(job, outcome)


@hookimpl
def pilot_payload_patterns() -> Sequence[Path]:
    """What the pipelines say when they fail."""
    from pilot_lsst.diagnose import FAILURES

    return [FAILURES]


@hookimpl
def pilot_report_fields(job: Job) -> Sequence[Patch]:
    """Where the batch system's log of this job is."""
    from pilot_lsst import logs

    return logs.patches(job, os.environ.get("GTAG", ""))


@hookimpl
def pilot_log_select() -> Sequence[str]:
    """Execution butlers and quantum graphs are of no use in a log."""
    from pilot_lsst.logs import LEFT_OUT

    return LEFT_OUT
