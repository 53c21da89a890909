"""The experiment "atlas": every hook that it answers, each by the module that knows the answer."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from pilot_atlas.job import KEY, AtlasJob
from pilot_atlas.options import AtlasOptions
from pilot_core.sdk import (
    Attempt,
    Command,
    FileSpec,
    Job,
    JobKey,
    Outcome,
    Patch,
    PilotError,
    Queue,
    Settings,
    SideProcess,
    hookimpl,
)


@hookimpl
def pilot_config_sections() -> Sequence[type]:
    """The experiment's own options."""
    return [AtlasOptions]


@hookimpl
def pilot_config_defaults() -> Mapping[str, Mapping[str, object]]:
    """Its servers, and what its payloads get to see."""
    from pilot_atlas.defaults import DEFAULTS

    return DEFAULTS


@hookimpl
def pilot_node_check(queue: Queue, settings: Settings) -> Sequence[PilotError]:
    """CVMFS answers, and the proxy lasts."""
    from pilot_atlas import node, proxy

    return [*node.problems(queue, settings.of(AtlasOptions)), *proxy.problems(settings)]


@hookimpl
def pilot_job_extras(wire: Mapping[str, object]) -> Mapping[JobKey[Mapping[str, str]], Mapping[str, str]]:
    """Release, platform, and what else only ATLAS asks of a job."""
    told = AtlasJob.read(wire).kept()
    return {KEY: told} if told else {}


@hookimpl
def pilot_job_verify(job: Job, settings: Settings) -> Sequence[PilotError]:
    """Names of outputs are plain, and transforms come from where they may."""
    from pilot_atlas import verify

    return [*verify.problems(job, settings)]


@hookimpl
def pilot_inputs_skip(job: Job) -> Collection[str]:
    """Database releases lie on CVMFS."""
    return [file.lfn for file in job.inputs if "DBRelease" in file.lfn]


@hookimpl
def pilot_transfer_facts(job: Job, attempt: Attempt) -> Mapping[str, object]:
    """The experiment's fields of a trace."""
    from pilot_atlas import traces

    return traces.facts(job, attempt)


@hookimpl
def pilot_payload_command(job: Job, queue: Queue, workdir: Path, settings: Settings) -> Command:
    """The transform in its release."""
    from pilot_atlas.command import command_of

    return command_of(job, queue, workdir, settings)


@hookimpl
def pilot_payload_container(job: Job, queue: Queue, settings: Settings) -> str:
    """The image that the job names, or its platform."""
    from pilot_atlas.container import image_of

    return image_of(job, queue, settings)


@hookimpl
def pilot_payload_environment(job: Job, queue: Queue) -> Sequence[Patch]:
    """The variables that ATLAS payloads look for."""
    from pilot_atlas import environment

    return environment.patches(job, queue)


@hookimpl
def pilot_payload_preprocesses(job: Job, queue: Queue, workdir: Path, settings: Settings) -> Sequence[SideProcess]:
    """The step before the payload."""
    return _step("preprocess", job, queue, workdir, settings)


@hookimpl
def pilot_payload_sides(job: Job, queue: Queue, workdir: Path, settings: Settings) -> Sequence[SideProcess]:
    """The step beside it."""
    return _step("coprocess", job, queue, workdir, settings)


@hookimpl
def pilot_payload_postprocesses(job: Job, queue: Queue, workdir: Path, settings: Settings) -> Sequence[SideProcess]:
    """The step after it."""
    return _step("postprocess", job, queue, workdir, settings)


def _step(name: str, job: Job, queue: Queue, workdir: Path, settings: Settings) -> Sequence[SideProcess]:
    from pilot_atlas.job import steps_of

    if name not in steps_of(job):
        return ()
    from pilot_atlas.steps import step

    return step(job, name, queue, workdir, settings)


@hookimpl
def pilot_payload_diagnose(job: Job, outcome: Outcome, workdir: Path) -> Sequence[PilotError]:
    """What the job report says is wrong."""
    from pilot_atlas import diagnose

    return [*diagnose.problems(job, outcome, workdir)]


@hookimpl
def pilot_payload_patterns() -> Sequence[Path]:
    """What ATLAS software says when it fails."""
    from pilot_atlas.diagnose import PATTERNS

    return [PATTERNS]


@hookimpl
def pilot_outputs_select(job: Job, workdir: Path) -> Sequence[FileSpec] | None:
    """The outputs that the job report knows, under its GUIDs."""
    from pilot_atlas import outputs

    return outputs.selected(job, workdir)


@hookimpl
def pilot_report_fields(job: Job, workdir: Path, final: bool) -> Sequence[Patch]:
    """The job report and its numbers."""
    from pilot_atlas import updates

    return updates.patches(job, workdir, final=final)


@hookimpl
def pilot_log_select(job: Job, workdir: Path) -> Sequence[str]:
    """What is of no use in a log."""
    from pilot_atlas import logs

    return logs.left_out(job, workdir)
