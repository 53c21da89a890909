"""The experiment that a profile makes of the generic one: it answers what the profile says, and else the same."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from attrs import frozen

from pilot_core.builtin import generic as plain
from pilot_core.builtin.generic import inputs, outputs
from pilot_core.builtin.generic.environment import patches
from pilot_core.builtin.generic.facts import FACTS, facts_in, missing
from pilot_core.builtin.generic.logs import log_place
from pilot_core.builtin.generic.processes import made
from pilot_core.builtin.generic.profile import Profile
from pilot_core.builtin.generic.settings import Defaults
from pilot_core.builtin.generic.setup import SIGN, set_up, setup_problem
from pilot_core.builtin.generic.words import Values, fill_words, values_of
from pilot_core.sdk import (
    Command,
    FileSpec,
    Job,
    JobKey,
    Outcome,
    Patch,
    PilotError,
    Queue,
    Replica,
    Settings,
    SideProcess,
    hookimpl,
)
from pilot_core.sdk.failures import meaning
from pilot_core.sdk.io import Inside


@frozen(eq=False)
class Experiment:
    """Answers hooks as its profile says."""

    profile: Profile

    def values_of(self, job: Job, queue: Queue, workdir: Path | None = None) -> Values:
        """What the fields of a job stand for."""
        return values_of(job, queue, workdir, job.extras.get(FACTS) or {})

    # --- the start, and the job ---

    @hookimpl
    def pilot_config_sections(self) -> Sequence[type]:
        """The options of the generic experiment."""
        return plain.pilot_config_sections()

    @hookimpl
    def pilot_config_defaults(self) -> Defaults:
        """Limits, servers and settings."""
        return self.profile.defaults

    @hookimpl
    def pilot_job_extras(self, wire: Mapping[str, object]) -> Mapping[JobKey[object], object]:
        """The experiment's own facts."""
        facts = facts_in(self.profile.facts, wire)
        return {JobKey(FACTS.name): facts} if facts else {}

    @hookimpl
    def pilot_job_verify(self, job: Job) -> Sequence[PilotError]:
        """Refuse a job that lacks one of them."""
        return list(missing(self.profile.facts, job))

    # --- inputs ---

    @hookimpl
    def pilot_inputs_select(self, job: Job, queue: Queue) -> Sequence[FileSpec] | None:
        """Have inputs found as the rules say."""
        rules = self.profile.inputs
        return inputs.selected(rules, job.inputs, self.values_of(job, queue)) if rules else None

    @hookimpl
    def pilot_inputs_skip(self, job: Job) -> Collection[str]:
        """Leave out what need not come."""
        return inputs.skipped(self.profile.inputs, job.inputs) if self.profile.inputs else ()

    @hookimpl
    def pilot_inputs_staged(self, job: Job, direct: Mapping[str, Replica]) -> Mapping[str, str]:
        """Write the list of inputs, if one is wanted."""
        name, rules = self.profile.input_list, self.profile.inputs
        left = inputs.skipped(rules, job.inputs) if name and rules else ()
        return {name: inputs.listed(job.inputs, left, direct)} if name else {}

    # --- the payload ---

    @hookimpl
    def pilot_payload_command(self, job: Job, queue: Queue, workdir: Path, settings: Settings) -> Command | None:
        """Fill the command, or take the job's, and put the set-up before it."""
        command = self.command_of(job, queue, workdir, settings)
        return None if command is None else set_up(self.profile.setup, self.values_of(job, queue, workdir), command)

    def command_of(self, job: Job, queue: Queue, workdir: Path, settings: Settings) -> Command | None:
        """The command by itself."""
        if not self.profile.command:
            return plain.pilot_payload_command(job, workdir, settings)
        values = dict(self.values_of(job, queue, workdir))
        if job.transformation and any("program" in text.names for text in self.profile.command):
            values["program"] = plain.local_program(job.transformation, workdir, settings)
        return Command(*fill_words(self.profile.command, values))

    @hookimpl
    def pilot_payload_environment(self, job: Job, queue: Queue, workdir: Path) -> Sequence[Patch]:
        """Change the environment."""
        return patches(self.profile.environment, self.values_of(job, queue, workdir))

    @hookimpl
    def pilot_payload_container(self, job: Job, queue: Queue) -> str | None:
        """Name the image, where the job names none or the profile's counts always."""
        image = self.profile.image
        if not image.name.parts or (job.image and not image.always):
            return None
        return image.name.fill(self.values_of(job, queue))

    @hookimpl
    def pilot_payload_preprocesses(
        self, job: Job, queue: Queue, workdir: Path, settings: Settings
    ) -> Sequence[SideProcess]:
        """Run the profile's processes before the payload, then the job's."""
        return [*self._made("before", job, queue, workdir), *plain.pilot_payload_preprocesses(job, workdir, settings)]

    @hookimpl
    def pilot_payload_sides(self, job: Job, queue: Queue, workdir: Path, settings: Settings) -> Sequence[SideProcess]:
        """Run them beside it."""
        return [*self._made("with", job, queue, workdir), *plain.pilot_payload_sides(job, workdir, settings)]

    @hookimpl
    def pilot_payload_postprocesses(
        self, job: Job, queue: Queue, workdir: Path, settings: Settings
    ) -> Sequence[SideProcess]:
        """Run the job's after it, then the profile's."""
        return [*plain.pilot_payload_postprocesses(job, workdir, settings), *self._made("after", job, queue, workdir)]

    def _made(self, moment: str, job: Job, queue: Queue, workdir: Path) -> list[SideProcess]:
        return made(self.profile.processes[moment], self.profile.setup, self.values_of(job, queue, workdir))

    @hookimpl
    def pilot_payload_diagnose(self, job: Job, outcome: Outcome, workdir: Path) -> Sequence[PilotError]:
        """Know a failed set-up and the exit codes of the experiment's programs; then take the payload's word."""
        failed = setup_problem(self.profile.setup, outcome, workdir)
        said = plain.pilot_payload_diagnose(job, outcome, workdir)
        return failed or [*said, *([] if said else meaning(self.profile.ends, outcome))]

    @hookimpl
    def pilot_payload_patterns(self) -> Sequence[Path]:
        """The profile itself, if it holds any."""
        return [self.profile.path] if self.profile.patterns else []

    # --- outputs and the log ---

    @hookimpl
    def pilot_outputs_select(self, job: Job, queue: Queue, workdir: Path) -> Sequence[FileSpec] | None:
        """Find outputs by the rules, and by the patterns that the job names."""
        rules = self.profile.outputs
        if not rules:
            return plain.pilot_outputs_select(job, queue, workdir)
        with Inside(workdir) as folder:
            return outputs.selected(rules, job, queue, folder, self.values_of(job, queue, workdir))

    @hookimpl
    def pilot_outputs_replicas(
        self, job: Job, files: Sequence[FileSpec], queue: Queue
    ) -> Mapping[str, Sequence[Replica]] | None:
        """Put the log where the profile says."""
        return log_place(self.profile.log, job, files, queue, self.values_of(job, queue)) or None

    @hookimpl
    def pilot_log_select(self) -> Sequence[str]:
        """Leave out what does not belong in the log."""
        return [*self.profile.log.leave_out, SIGN]
