"""What a profile says, moment by moment, and what it makes of one job."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

from attrs import evolve

from pilot_core.builtin.generic.experiment import Experiment
from pilot_core.builtin.generic.profile import Profile
from pilot_core.builtin.generic.words import Text, fill_words
from pilot_core.sdk import Command, Job, Patch, Queue, Settings, SideProcess

Line = tuple[str, str]


def explain(profile: Profile) -> Iterator[Line]:
    """Everything that it says, in the order in which it counts."""
    yield from (("fact", f"{each.name}: the job's {each.source!r}{_else(each.default)}") for each in profile.facts)
    for section, options in profile.defaults.items():
        yield from (("setting", f"{section}.{name} is {value}") for name, value in options.items())
    for file in profile.inputs:
        yield "input", f"{file.match}: {file.way}{f', found as {file.path}' if file.path.parts else ''}"
    yield from (("inputs", f"listed in {name}") for name in (profile.input_list,) if name)
    image = profile.image
    yield from (("image", f"{image.name}{', always' if image.always else ''}") for _ in image.name.parts[:1])
    yield from _environment(profile)
    for step in profile.setup.steps:
        yield "set-up", f"{step}{', or go on without' if step.optional else ''}"
    for moment, processes in profile.processes.items():
        yield from ((moment, f"{each.name}: {_words(each.command)}") for each in processes)
    yield "command", _words(profile.command) if profile.command else "the job's own"
    for rule in profile.outputs:
        place = f" goes to {rule.destination}" if rule.destination.parts else ""
        yield "output", f"{rule.match} as {rule.name}{place}{', if there is one' if rule.optional else ''}"
    yield from (("log", f"without {pattern}") for pattern in profile.log.leave_out)
    yield from (("log", f"goes to {profile.log.destination}") for _ in profile.log.destination.parts[:1])
    yield from (("exit code", f"{', '.join(map(str, end.codes))}: {end.error.detail}") for end in profile.ends)
    yield from (("errors", f"{number} known by their words") for number in (profile.patterns,) if number)


def _else(default: str | None) -> str:
    return ", without which it is refused" if default is None else f", or {default!r}"


def _words(words: tuple[Text, ...]) -> str:
    return " ".join(map(str, words))


def _environment(profile: Profile) -> Iterator[Line]:
    changes = profile.environment
    for verb, table in (("is", changes.set), ("begins with", changes.prepend), ("ends with", changes.append)):
        yield from (("variable", f"{name} {verb} {text}") for name, text in table.items())
    yield from (("variable", f"{name} is not there") for name in changes.unset)


def explain_job(profile: Profile, job: Job, queue: Queue, settings: Settings) -> Iterator[Line]:
    """What it makes of one job, as far as that can be told before anything has run."""
    experiment, workdir = Experiment(profile), Path(job.directory)
    if "://" in job.transformation:
        yield "program", f"fetched from {job.transformation}"
        job = evolve(job, transformation=f"./{job.transformation.rpartition('/')[2]}")
    yield from (("refused", str(error)) for error in experiment.pilot_job_verify(job))
    skipped = experiment.pilot_inputs_skip(job)
    for file in experiment.pilot_inputs_select(job, queue) or job.inputs:
        way = "not brought" if file.lfn in skipped else "read where it lies, if it can be" if file.direct else "copied"
        yield "input", f"{file.lfn}: {way}, as {file.local}"
    yield "image", (experiment.pilot_payload_container(job, queue) or job.image or "none")
    yield from (("variable", _patch(each)) for each in experiment.pilot_payload_environment(job, queue, workdir))
    for moment, ask in (
        ("before", experiment.pilot_payload_preprocesses),
        ("with", experiment.pilot_payload_sides),
        ("after", experiment.pilot_payload_postprocesses),
    ):
        yield from ((moment, _side(each)) for each in ask(job, queue, workdir, settings))
    values = experiment.values_of(job, queue, workdir)
    yield from (("set-up", shlex.join(fill_words(step.words, values))) for step in profile.setup.steps)
    yield "command", _shown(experiment.command_of(job, queue, workdir, settings))


def _patch(patch: Patch) -> str:
    return f"{patch.verb.value} {patch.key}{f' {patch.value}' if patch.value is not None else ''}"


def _side(side: SideProcess) -> str:
    return f"{side.name}: {_shown(side.command)}"


def _shown(command: Command | None) -> str:
    return shlex.join(command.argv) if command else "none"
