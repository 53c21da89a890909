"""Payload Control: the command and its environment before the run, the diagnosis after it."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import field, frozen

from pilot_core.config.schema import ContainerOptions, PayloadOptions
from pilot_core.control import checkpoint
from pilot_core.control.around import PAYLOAD, Plan, plan_of
from pilot_core.control.blame import by_plugin
from pilot_core.control.checks import unwanted
from pilot_core.control.diagnosis import (
    complaint,
    core_problem,
    disk_problem,
    exit_problem,
    known_problem,
)
from pilot_core.control.entrusted import lend, take_back
from pilot_core.control.ground import give_back
from pilot_core.control.grouped import group_notes, memory_problem, places_of
from pilot_core.control.hidden import COVERED, HIDE, Hidden
from pilot_core.control.record import CONTAINED, SIDES
from pilot_core.control.said import Said
from pilot_core.errors import Code, PilotError
from pilot_core.io.cgroup import Groups
from pilot_core.io.own_group import remove_group
from pilot_core.io.process import MARK
from pilot_core.machine.events import Result
from pilot_core.model.change import evolve
from pilot_core.model.job import Job
from pilot_core.model.names import UnsafeName, safe_name
from pilot_core.model.payload import Command, Outcome, SideProcess, Sides
from pilot_core.model.records import pack
from pilot_core.model.wire import BadMessage
from pilot_core.plugins.guard import PluginFailed
from pilot_core.plugins.hooks import Answer, Hooks
from pilot_core.plugins.patches import PatchConflict, apply_patches
from pilot_core.redact import CREDENTIAL, Redactor
from pilot_core.spec import payload as hooks_of
from pilot_core.spec.drivers import BARE, Container, Launcher
from pilot_core.spec.work import Settings, Task

if TYPE_CHECKING:
    from pilot_core.control.patterns import Pattern

ISOLATION = "isolation"
"""The note that says by which runtime a payload was kept to its own, and what it could do all the same."""
log = logging.getLogger(__name__)


@frozen(eq=False)
class PayloadControl:
    """What is run for a job, in which environment, and what its end counts as.

    The environment is built, later over earlier: what is kept of ``environ``, the pilot's own; the queue's; the
    job's; what the pilot knows of the job and was entrusted for it; the command's; and plugins' changes to all of that.
    """

    hooks: Hooks
    container: Container
    launcher: Launcher
    environ: Mapping[str, str]
    redactor: Redactor
    groups: Callable[[], Groups] = field(factory=lambda: cache(Groups.of))
    nofile: int | None = None
    """How many files a payload may open where the site does not say."""
    nproc: int | None = None
    """At how many processes of the pilot's user it starts no more where the site does not say."""
    isolation: Container | None = None
    """What is put around a payload that names no image."""
    hidden: Hidden | None = None
    """What is hidden from what runs on the node itself."""
    unhidden: str = ""
    """Why nothing is, where something should be."""

    # --- before the run ---

    def prepare(self, task: Task) -> Result:
        """Make the command: what to run, in which environment, in which image, started how."""
        job, queue, workdir = task.job, task.queue, task.workdir
        if job.checkpoint is not None:
            checkpoint.receive(task)
        asked = self.hooks.first(
            hooks_of.pilot_payload_command, job=job, queue=queue, workdir=workdir, settings=task.settings
        )
        if asked is None or not asked.argv:
            raise PilotError(Code.UNKNOWNPAYLOADFAILURE, "no plugin says what to run for this job")
        image = self.hooks.first(hooks_of.pilot_payload_container, job=job, queue=queue, settings=task.settings)
        image = job.image if image is None else image
        command = with_environment(asked, self._environment(task, asked, image))
        sides = self._sides(task, command.env, image)
        box = self.container if image else self.isolation
        if box is not None:
            self._refuse_unfit(command)
            command = self._contained(task, box, PAYLOAD, command, image)
        command = self.launcher.launch(command, job)
        self._refuse_unfit(command)
        group = group_notes(task, command.env.get(MARK, ""), self.groups())
        notes = {SIDES: pack(sides), **group, **self._about(box, sides)}
        return Result(command=command, notes=notes)

    def _refuse_unfit(self, command: Command) -> None:
        if problems := list(self._unfit(command)):
            raise PilotError(Code.SETUPFAILURE, "; ".join(problems))

    def _contained(self, task: Task, box: Container, name: str, command: Command, image: str) -> Command:
        from pilot_core.control.contained import contain

        options = task.settings.of(ContainerOptions)
        if image and (told := unwanted(image, options.images)):
            raise PilotError(Code.IMAGENOTFOUND, told, image=image)
        runtime = {name: self.environ[name] for name in options.keep_environment if name in self.environ}
        return contain(box.around(task, name), name, command, image, task.workdir, runtime)

    def _environment(self, task: Task, asked: Command, image: str) -> dict[str, str]:
        """All variables; an image has its own way to its programs."""
        kept = self._kept(task.settings.of(PayloadOptions))
        base = {
            **{name: value for name, value in kept.items() if not (image and name == "PATH")},
            "OMP_NUM_THREADS": str(task.job.needs.cores),
            **task.queue.environment,
            **task.job.environment,
            **own_variables(task),
            **checkpoint.variables_of(task),
            **lend(task),
            **asked.env,
        }
        answers = self.hooks.gather(
            hooks_of.pilot_payload_environment,
            job=task.job,
            queue=task.queue,
            workdir=task.workdir,
            settings=task.settings,
        )
        try:
            patched = apply_patches(base, answers) if answers else base
        except PatchConflict as conflict:
            raise PilotError(Code.SETUPFAILURE, f"plugins disagree about the environment: {conflict}") from conflict
        return {name: str(value) for name, value in patched.items()}

    def _kept(self, options: PayloadOptions) -> dict[str, str]:
        kept = {name: self.environ[name] for name in options.keep_environment if name in self.environ}
        secret = [name for name in kept if CREDENTIAL.search(name) or self.redactor.scrub(kept[name]) != kept[name]]
        for name in secret:
            log.warning("the payload does not get $%s, though it is listed: it looks like a credential", name)
        return {name: value for name, value in kept.items() if name not in secret}

    def _unfit(self, command: Command) -> Iterator[str]:
        """What no program can be given, or must not be; never the value itself, which may be the secret."""
        for place, word in enumerate(command.argv):
            if why := self._unfit_text(word):
                yield f"word {place} of the command {why}"
        for name, value in command.env.items():
            if not name or "=" in name or self._unfit_text(name):
                yield f"{name!r} cannot name a variable"
            elif why := self._unfit_text(value):
                yield f"the value of ${name} {why}"

    def _unfit_text(self, text: str) -> str:
        if "\0" in text:
            return "holds a NUL"
        try:
            os.fsencode(text)
        except UnicodeEncodeError as error:
            return f"has no bytes for its character {error.start}"
        return "holds a secret of the pilot's: remove it where it is set" if self.redactor.knows(text) else ""

    def _sides(self, task: Task, env: Mapping[str, str], image: str) -> Sides:
        """What runs around the payload, each with the payload's environment and its own over it.

        What does not fit is left out beside it, and fails the job before and after.
        """
        taken = {PAYLOAD}
        job, queue, workdir, settings, ask = task.job, task.queue, task.workdir, task.settings, self.hooks.gather
        before = ask(hooks_of.pilot_payload_preprocesses, job=job, queue=queue, workdir=workdir, settings=settings)
        after = ask(hooks_of.pilot_payload_postprocesses, job=job, queue=queue, workdir=workdir, settings=settings)
        needed = [self._needed(answers, taken) for answers in (before, after)]
        groups = (needed[0], self._beside(task, taken), needed[1])
        made = [tuple(self._side(task, side, env, image) for side in group) for group in groups]
        outside = tuple(side.name for group in groups for side in group if self._box_of(side, image) is None)
        return Sides(before=made[0], beside=made[1], after=made[2], outside=outside)

    def _side(self, task: Task, side: SideProcess, env: Mapping[str, str], image: str) -> SideProcess:
        command = with_environment(side.command, {**env, **side.command.env})
        if box := self._box_of(side, image):
            command = self._contained(task, box, side.name, command, side.image or image)
        return evolve(side, command=command)

    def _box_of(self, side: SideProcess, image: str) -> Container | None:
        """What is put around it: what is around a payload in ``image``, where nobody vouches for it."""
        if side.image:
            return self.container
        if side.trusted or self.isolation is None:
            return None
        return self.container if image else self.isolation

    def _needed(self, answers: Sequence[Answer[Sequence[SideProcess]]], taken: set[str]) -> tuple[SideProcess, ...]:
        for plugin, side in ((answer.plugin, side) for answer in answers for side in answer.value):
            if problems := self._problems(side, taken):
                told = f"the process {side.name!r} of plugin {plugin} cannot run: {'; '.join(problems)}"
                raise PilotError(Code.SETUPFAILURE, told)
        return tuple(side for answer in answers for side in answer.value)

    def _beside(self, task: Task, taken: set[str]) -> tuple[SideProcess, ...]:
        hook = hooks_of.pilot_payload_sides
        try:
            answers = self.hooks.gather(
                hook, job=task.job, queue=task.queue, workdir=task.workdir, settings=task.settings
            )
        except (PluginFailed, PilotError) as failed:
            log.warning("there will be no processes beside the payload: %s", failed)
            return ()
        return tuple(side for answer in answers for side in answer.value if self._is_fit(side, answer.plugin, taken))

    def _is_fit(self, side: SideProcess, plugin: str, taken: set[str]) -> bool:
        problems = self._problems(side, taken)
        for problem in problems:
            log.warning("the process %r of plugin %s beside the payload is left out: %s", side.name, plugin, problem)
        return not problems

    def _problems(self, side: SideProcess, taken: set[str]) -> list[str]:
        """Why a process cannot run under its name, which is taken then."""
        problems = list(self._unfit(side.command)) if side.command.argv else ["it has no command"]
        try:
            safe_name(f"{safe_name(side.name)}.stdout")
        except UnsafeName as error:
            problems.append(str(error))
        if side.name in taken:
            problems.append("its name is taken")
        taken.add(side.name)
        return problems

    def plan(self, job: Job, workdir: Path, settings: Settings) -> Plan:
        """The payload as its keeper is to start it, and the processes around it."""
        options = settings.of(PayloadOptions)
        options = evolve(options, nofile=options.nofile or self.nofile, nproc=options.nproc or self.nproc)
        return plan_of(job, workdir, options, self.hidden)

    def _about(self, box: Container | None, sides: Sides) -> dict[str, object]:
        """The notes that tell of a payload's container, or what else is kept from it; and what runs outside of it."""
        hides = box is None and self.hidden is not None
        lacks = COVERED if hides else BARE if box is None else box.lacks
        if hides:
            log.info("the pilot's credentials are hidden from the payload; it can still %s", lacks)
        elif lacks:
            log.info("the payload is not isolated: it can %s", lacks)
        if box is not None and sides.outside:
            log.info("around the payload these run on the node itself: %s", ", ".join(sides.outside))
        by = HIDE if hides else "" if box is None else box.name
        told = {"by": by, "cannot_prevent": lacks, "outside": list(sides.outside)}
        if box is None and self.unhidden:
            told["why"] = self.unhidden
        return {ISOLATION: told, **({} if box is None else {CONTAINED: box.name})}

    # --- after the run ---

    def diagnose(self, task: Task) -> Result:
        """Say what the end of the payload counts as; every plugin may add what it sees."""
        take_back(task)
        result = self._diagnosed(task)
        remove_group(places_of(task.job))
        return result

    def _diagnosed(self, task: Task) -> Result:
        if CONTAINED in task.job.notes:
            from pilot_core.control.contained import clear

            clear(task.job, task.workdir)
        lost, outcome = give_back(task.workdir, task.control), task.job.outcome
        if outcome is None:
            return Result()
        if not lost and checkpoint.is_saved(task.job, outcome):
            return checkpoint.save(task)
        if not (outcome.begun or outcome.clean or task.job.errors):
            from pilot_core.control.contained import start_problem

            line = complaint(Said(task.workdir, self.redactor))
            return Result(errors=(start_problem(task.job, outcome, line.text if line else ""),))
        return Result(errors=(*lost, *self._judged(task, outcome)))

    def _judged(self, task: Task, outcome: Outcome) -> Iterator[PilotError]:
        """Of equals the first is reported: who knows more speaks earlier."""
        seen: list[PilotError] = []
        if not outcome.clean:
            seen += memory_problem(task.job, outcome, Said(task.workdir, self.redactor), self.groups())
        seen += self._seen(task, outcome)
        yield from seen
        if not outcome.clean:
            certain = any(not error.code.vague and error.code is not Code.PLUGINFAILED for error in seen)
            yield from self._known(task, outcome, certain=certain)
            yield from disk_problem(task.workdir)
        yield from core_problem(task.job, outcome, task.workdir)

    def _seen(self, task: Task, outcome: Outcome) -> tuple[PilotError, ...]:
        try:
            answers = self.hooks.gather(
                hooks_of.pilot_payload_diagnose,
                job=task.job,
                outcome=outcome,
                workdir=task.workdir,
                settings=task.settings,
            )
        except PluginFailed as failed:
            return (by_plugin(failed),)
        except PilotError as error:
            return (error,)
        return tuple(error for answer in answers for error in answer.value)

    def _known(self, task: Task, outcome: Outcome, *, certain: bool) -> Iterator[PilotError]:
        """What its logs tell: they explain its exit code, and name the error where nothing more certain does."""
        said = Said(task.workdir, self.redactor)
        known, patterns = None, []
        try:
            patterns = patterns_of(self.hooks)
            known = known_problem(said, outcome, patterns)
        except PluginFailed as failed:
            yield by_plugin(failed)
        if known is not None and not known.code.vague and not certain:
            yield known
        yield from exit_problem(task.job, outcome, said, known, patterns)


def patterns_of(hooks: Hooks) -> list[Pattern]:
    """The patterns that plugins name, those of a higher tier first; a file that cannot be read is left out."""
    from pilot_core.control.patterns import read_patterns

    patterns: list[Pattern] = []
    answers = hooks.gather(hooks_of.pilot_payload_patterns)
    for answer in sorted(answers, key=lambda each: -each.tier):
        for path in answer.value:
            try:
                patterns += read_patterns(path)
            except BadMessage as bad:
                log.warning("patterns of plugin %s are left out: %s", answer.plugin, bad)
    return patterns


def with_environment(command: Command, env: Mapping[str, str]) -> Command:
    """The same program with another environment."""
    return Command(*command.argv, env=env)


def own_variables(task: Task) -> dict[str, str]:
    """What every payload is told: who it is, where it is, and what is its own."""
    job, devices = task.job, ",".join(task.job.devices)
    return {
        "HOME": str(task.workdir),
        "TMPDIR": str(task.workdir),
        "PANDAID": job.id,
        "PanDA_TaskID": job.task,
        "PanDA_AttemptNr": str(job.attempt),
        "PILOT_CORES": str(job.needs.cores),
        MARK: os.urandom(16).hex(),
        "CUDA_VISIBLE_DEVICES": devices,
        "ROCR_VISIBLE_DEVICES": devices,
    }
