"""Payload Control: the command and its environment before the run, the diagnosis after it."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from attrs import frozen

from pilot_core.config.schema import PayloadOptions
from pilot_core.control.running import PAYLOAD
from pilot_core.errors import Code, PilotError
from pilot_core.io.inside import Inside
from pilot_core.io.process import ProcessSpec
from pilot_core.machine.events import Result
from pilot_core.model.job import Job
from pilot_core.model.payload import Command, Outcome, SideProcess
from pilot_core.model.records import pack, unpack
from pilot_core.plugins.guard import PluginFailed
from pilot_core.plugins.hooks import Hooks
from pilot_core.plugins.patches import PatchConflict, apply_patches
from pilot_core.redact import Redactor
from pilot_core.spec import payload as hooks_of
from pilot_core.spec.drivers import Container, Launcher
from pilot_core.spec.work import Settings, Task

CREDENTIAL = re.compile(r"TOKEN|PASSW|SECRET|CREDENTIAL|PRIVATE|X509|_KEY$|^KEY$|API_?KEY|AUTH", re.IGNORECASE)
"""Names of variables of the pilot's own that a payload never gets, whatever the site lists."""
LOOKED_AT_B = 65536
ERROR_LINE = re.compile(
    r"^\s*(?:.*\b(?:error|fatal|critical)\b.*|.*command not found.*)$", re.IGNORECASE | re.MULTILINE
)
SIDES = "sides"
log = logging.getLogger(__name__)


@frozen(eq=False)
class PayloadControl:
    """What is run for a job, in which environment, and what its end counts as."""

    hooks: Hooks
    container: Container
    launcher: Launcher
    environ: Mapping[str, str]
    redactor: Redactor

    # --- before the run ---

    def prepare(self, task: Task) -> Result:
        """Make the command: what to run, in which environment, in which image, started how."""
        job, queue, workdir = task.job, task.queue, task.workdir
        asked = self.hooks.first(hooks_of.pilot_payload_command, job=job, queue=queue, workdir=workdir)
        if asked is None or not asked.argv:
            raise PilotError(Code.UNKNOWNPAYLOADFAILURE, "no plugin says what to run for this job")
        environment = self._environment(task, asked)
        command = with_environment(asked, environment)
        image = self.hooks.first(hooks_of.pilot_payload_container, job=job, queue=queue)
        image = job.image if image is None else image
        if image:
            command = self.container.wrap(command, image, workdir, ())
        command = self.launcher.launch(command, job)
        return Result(command=command, notes={SIDES: pack(self._sides(task))})

    def _environment(self, task: Task, asked: Command) -> dict[str, str]:
        job, queue = task.job, task.queue
        base = {
            **self._kept(task.settings.of(PayloadOptions)),
            **own_variables(task),
            **queue.environment,
            **job.environment,
            **asked.env,
        }
        answers = self.hooks.gather(hooks_of.pilot_payload_environment, job=job, queue=queue, workdir=task.workdir)
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

    def _sides(self, task: Task) -> tuple[SideProcess, ...]:
        try:
            answers = self.hooks.gather(
                hooks_of.pilot_payload_sides, job=task.job, queue=task.queue, workdir=task.workdir
            )
        except (PluginFailed, PilotError) as failed:
            log.warning("there will be no processes beside the payload: %s", failed)
            return ()
        return tuple(side for answer in answers for side in answer.value)

    def specs(self, job: Job, workdir: Path, settings: Settings) -> tuple[ProcessSpec, tuple[ProcessSpec, ...]]:
        """The payload as its keeper is to start it, and the processes beside it."""
        assert job.command is not None
        nofile = settings.of(PayloadOptions).nofile
        payload = spec_of(PAYLOAD, job.command, workdir, nofile)
        sides = unpack(tuple[SideProcess, ...], job.notes.get(SIDES, ()))
        return payload, tuple(
            spec_of(side.name, with_environment(side.command, {**job.command.env, **side.command.env}), workdir, nofile)
            for side in sides
            if side.name != PAYLOAD
        )

    # --- after the run ---

    def diagnose(self, task: Task) -> Result:
        """Say what the end of the payload counts as; every plugin may add what it sees."""
        outcome = task.job.outcome
        if outcome is None:
            return Result()
        answers = self.hooks.gather(
            hooks_of.pilot_payload_diagnose, job=task.job, outcome=outcome, workdir=task.workdir
        )
        seen = tuple(error for answer in answers for error in answer.value)
        return Result(errors=(*_judged(outcome, task.workdir), *seen))


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
        "OMP_NUM_THREADS": str(job.needs.cores),
        "CUDA_VISIBLE_DEVICES": devices,
        "ROCR_VISIBLE_DEVICES": devices,
    }


def spec_of(name: str, command: Command, workdir: Path, nofile: int | None) -> ProcessSpec:
    """A process in the job's directory, its output in files named after it."""
    return ProcessSpec(
        name=name,
        argv=command.argv,
        env=command.env,
        cwd=workdir,
        stdout=workdir / f"{name}.stdout",
        stderr=workdir / f"{name}.stderr",
        nofile=nofile,
    )


def _judged(outcome: Outcome, workdir: Path) -> Iterator[PilotError]:
    if outcome.clean:
        return
    said = complaint(workdir)
    detail = f"the payload {outcome}" if outcome.signal else f"the payload ended with {outcome}"
    code = Code.PAYLOADEXECUTIONFAILURE
    yield PilotError(code, f"{detail}: {said}" if said else detail, trf=outcome.transform_code)


def complaint(workdir: Path) -> str:
    """The first line in which the payload says that something is wrong, else the last line of its complaints."""
    try:
        with Inside(workdir) as inside, inside.open_read("payload.stderr") as file:
            text = _ends(file)
    except OSError:
        return ""
    found = ERROR_LINE.search(text)
    lines = [line for line in text.splitlines() if line.strip()]
    return (found[0] if found else lines[-1] if lines else "").strip()[:300]


def _ends(file: BinaryIO) -> str:
    head = file.read(LOOKED_AT_B)
    size_b = file.seek(0, 2)
    file.seek(max(size_b - LOOKED_AT_B, len(head)))
    return (head + file.read(LOOKED_AT_B)).decode(errors="replace")
