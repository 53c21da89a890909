"""Job Control: asking for jobs, reading and verifying them, reporting them, and what is left when they are over."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cached_property, partial
from pathlib import Path
from typing import ParamSpec, TypeVar

from attrs import evolve, field, frozen

from pilot_core.clock import Clock
from pilot_core.config.layers import Settings
from pilot_core.config.schema import ContainerOptions, PayloadOptions, PilotOptions, ReportOptions
from pilot_core.control.archive import SEALED
from pilot_core.control.blame import by_plugin
from pilot_core.control.checks import check_id, own_checks
from pilot_core.control.entrusted import forget, keep
from pilot_core.control.history import message_in
from pilot_core.control.outbox import (
    REFUSED,
    deliver_letter,
    give_room_back,
    keep_letter,
    put_letter,
    read_letter,
    write_letter,
)
from pilot_core.control.record import Surroundings, record_of, scrub_all
from pilot_core.control.said import tail_of
from pilot_core.errors import Code, Party, PilotError
from pilot_core.infosys.queue import limited_by
from pilot_core.io.files import NotJson, write_atomic
from pilot_core.io.inside import Inside
from pilot_core.machine.events import Result
from pilot_core.machine.final import WAITS_IN, is_told
from pilot_core.model.job import Job, JobExtras
from pilot_core.model.names import UnsafeName
from pilot_core.model.queue import Queue, Resources
from pilot_core.model.records import pack
from pilot_core.model.wire import BadMessage
from pilot_core.plugins.guard import PluginFailed, PluginRef
from pilot_core.plugins.hooks import Hooks
from pilot_core.plugins.patches import PatchConflict, apply_patches
from pilot_core.redact import SHORTEST, Redactor
from pilot_core.spec import jobs as job_hooks
from pilot_core.spec import reporting as report_hooks
from pilot_core.spec import startup
from pilot_core.spec.drivers import Communicator, Letter, Offer, Reply, Update
from pilot_core.spec.work import Task

P = ParamSpec("P")
T = TypeVar("T")

FINAL, RECORD = "final.json", "record.json"
log = logging.getLogger(__name__)


@frozen(kw_only=True)
class Refusal:
    """What becomes of the last word on a refused job: it was told, or waits to be told, or is known to nobody."""

    job: str = ""
    told: bool = False
    waits_in: Path | None = None


@frozen(eq=False)
class JobControl:
    """What a pilot says to whoever has the work. Works and calls may come from several threads at once."""

    communicator: Communicator
    hooks: Hooks
    settings: Settings
    queue: Callable[[], Queue]
    """The queue as it is known by now."""
    clock: Clock
    node: str
    redactor: Redactor
    node_facts: dict[str, object] = field(factory=dict)
    """What the communicator found out of this node."""

    # --- getting jobs ---

    def ask(self, free: Resources) -> Offer:
        """Ask once for work that fits ``free``."""
        queue = self.queue()
        fields = self._call("request_fields", self.communicator.request_fields, queue, free)
        answers = self.hooks.gather(job_hooks.pilot_job_request, queue=queue, free=free, settings=self.settings)
        try:
            patched = apply_patches(fields, answers) if answers else fields
        except PatchConflict as conflict:
            raise PilotError(Code.PLUGINFAILED, f"plugins disagree about a request for work: {conflict}") from conflict
        offer = self._call("acquire", self.communicator.acquire, patched)
        for raw in offer.jobs:
            self.learn(raw)
        return offer

    def learn(self, raw: Mapping[str, object]) -> None:
        """Mask a raw job's secrets from now on, but those so short that it would tear holes into every text."""
        for secret in self._call("secrets", lambda: tuple(self.communicator.secrets(raw))):
            if len(secret.strip()) >= SHORTEST:
                self.redactor.learn(secret, own=False)

    def learn_again(self, control: Path) -> None:
        """The same for a job that another pilot took."""
        self.learn(message_in(control))

    def renew(self) -> float | None:
        """Renew what opens the server; after how long to do so again."""
        return self._call("renew", self.communicator.renew, self.queue())

    def read(self, raw: Mapping[str, object]) -> Job:
        """Read a raw job, plugins' facts and all; ``PilotError`` names everything that is wrong with it."""
        try:
            job = self._call("read", self.communicator.read, raw)
        except PluginFailed as failed:
            if isinstance(failed.cause, BadMessage):
                raise PilotError(Code.CONVERSIONFAILURE, str(failed.cause)) from failed.cause
            raise by_plugin(failed) from failed
        check_id(job)
        job, extras = limited_by(self.queue(), job), self._extras(raw)
        return evolve(job, extras=JobExtras({**job.extras.plain(), **extras})) if extras else job

    def _extras(self, raw: Mapping[str, object]) -> dict[str, object]:
        extras: dict[str, object] = {}
        owners: dict[str, str] = {}
        try:
            answers = self.hooks.gather(job_hooks.pilot_job_extras, wire=raw, settings=self.settings)
        except PluginFailed as failed:
            raise by_plugin(failed) from failed
        for answer in answers:
            for key, value in answer.value.items():
                if key.name in owners:
                    told = f"plugins {owners[key.name]} and {answer.plugin} both set {key.name}"
                    raise PilotError(Code.PLUGINFAILED, told)
                owners[key.name], extras[key.name] = answer.plugin, _plain(answer.plugin, key.name, value)
        return extras

    def refuse(self, raw: Mapping[str, object], error: PilotError, root: Path) -> Refusal:
        """Write down the last word on a job that cannot be taken; only where no disk takes it, it is sent at once."""
        letter = self._refusal(raw, error)
        if letter is None:
            return Refusal()
        for place in (self.settings.of(ReportOptions).outbox, root / REFUSED):
            if place and (kept := self._kept(partial(put_letter, letter, place))):
                return Refusal(job=letter.job, waits_in=kept)
        try:
            self._send(letter)
        except (PluginFailed, PilotError) as failed:
            log.error("the report of refused job %s was not delivered: %s", letter.job, failed)
            return Refusal(job=letter.job)
        return Refusal(job=letter.job, told=True)

    def _refusal(self, raw: Mapping[str, object], error: PilotError) -> Letter | None:
        try:
            letter = self._call("refuse", self.communicator.refuse, raw, error)
        except (PluginFailed, PilotError) as failed:
            log.error("a refused job could not be reported: %s; it was refused for %s", failed, error)
            return None
        if letter is None:
            log.error("a refused job could not be reported, as too little of it is known: %s", error)
            return None
        return evolve(letter, body=scrub_all(pack(letter.body), self.redactor))

    def deliver(self, path: Path) -> None:
        """Send a letter that waits; it is gone when it was delivered."""
        deliver_letter(path, {self.communicator.name: self._send})

    def _send(self, letter: Letter) -> Reply:
        return self._call("send", self.communicator.send, letter)

    def taken(self, raw: Mapping[str, object]) -> None:
        """Let the communicator know that a job is in our journal."""
        try:
            self._call("taken", self.communicator.taken, raw)
        except (PluginFailed, PilotError) as failed:
            log.warning("%s", failed)

    def give_back(self, raw: Mapping[str, object]) -> bool:
        """Give a job back that was never begun; whether the communicator takes it."""
        try:
            return self._call("give_back", self.communicator.give_back, raw)
        except (PluginFailed, PilotError) as failed:
            log.warning("%s", failed)
            return False

    def verify(self, task: Task) -> Result:
        """Find everything that keeps this job from running here."""
        images = task.settings.of(ContainerOptions).images
        problems = list(own_checks(task.job, task.settings.of(PayloadOptions), images))
        try:
            for answer in self.hooks.gather(
                job_hooks.pilot_job_verify, job=task.job, queue=task.queue, settings=task.settings
            ):
                problems.extend(answer.value)
        except PluginFailed as failed:
            problems.append(by_plugin(failed))
        except PilotError as error:
            problems.append(error)
        if not problems and type(self.communicator).entrust is not Communicator.entrust:
            self._entrust(task)
        return Result(errors=tuple(problems))

    def _entrust(self, task: Task) -> None:
        """Keep what the job's owner lends to it, masked from now on; without it the job goes on."""
        try:
            lent = self._call("entrust", self.communicator.entrust, message_in(task.control), task.job, task.queue)
            if lent:
                keep(task.control, lent)
        except (PluginFailed, PilotError, UnsafeName, OSError) as failed:
            log.warning("job %s goes on without what its owner lends to it: %s", task.job.id, failed)

    # --- reporting ---

    def report(self, job: Job, workdir: Path, debug: bool = False) -> Reply:
        """Tell how a job stands."""
        letter = self._letter(job, workdir, final=False, debug=debug)
        return self._send(letter)

    def conclude(self, task: Task) -> Result:
        """Deliver the final update: the very letter that an earlier try, or another pilot, has written down."""
        reply = self._send(self._final(task))
        return Result(notes={"reply": dict(reply.notes)} if reply.notes else {})

    def write_final(self, task: Task) -> None:
        """Have the final update on the disk before it is sent."""
        self._final(task)

    def _final(self, task: Task) -> Letter:
        path = task.control / FINAL
        try:
            return read_letter(path)
        except FileNotFoundError:
            pass
        except NotJson as damaged:
            log.error("the final update is composed again: %s", damaged)
        letter = self._letter(task.job, task.workdir, final=True)
        try:
            write_letter(path, letter)
        except OSError as error:
            log.error("the final update is sent without being on disk: %s: %s", path, error.strerror)
        return letter

    def _letter(self, job: Job, workdir: Path, final: bool, debug: bool = False) -> Letter:
        shown = "" if final else self._call("show", self.communicator.show, job, workdir)
        tail = self.redactor.scrub(shown) or tail_of(workdir, self.settings.of(ReportOptions).log_tail_b, self.redactor)
        now = self.clock.now()
        update = Update(job=job, final=final, at=now, node=self.node, log_tail=tail, debug=debug or bool(shown))
        letter = self._call("compose", self.communicator.compose, update)
        return evolve(letter, body=scrub_all(self._patched(letter.body, job, workdir, final), self.redactor))

    def _patched(self, body: Mapping[str, object], job: Job, workdir: Path, final: bool) -> Mapping[str, object]:
        packed: Mapping[str, object] = pack(body)
        hook, settings = report_hooks.pilot_report_fields, self.settings
        try:
            if answers := self.hooks.gather(hook, job=job, workdir=workdir, final=final, settings=settings):
                patched: Mapping[str, object] = pack(apply_patches(packed, answers))
                json.dumps(patched)
                return patched
        except (PluginFailed, PilotError, PatchConflict, TypeError, ValueError) as failed:
            log.warning("plugins' changes to a report are left out: %s", failed)
        return packed

    # --- when it is over ---

    def clean_up(self, task: Task) -> Result:
        """Remove what is safe to remove, put an undelivered letter where it waits, write the record.

        The directory goes first: on a full disk, that makes the room for the record. ``notes["waits_in"]`` says where
        an undelivered letter is; without it, the letter is nowhere.
        """
        forget(task.control)
        kept = why_kept(task.job, task.settings.of(PilotOptions).cleanup) or "; ".join(_remove(task.workdir))
        if not kept:
            _forget_sealed(task.control)
        give_room_back(task.control)
        notes = {} if is_told(task.job) else self._put_aside(task)
        job = evolve(task.job, notes={**task.job.notes, **notes})
        facts = {**self.node_facts, **self.facts}
        around = Surroundings(at=self.clock.now(), node=self.node, facts=facts, plugins=self.plugins, kept=kept)
        record = record_of(job, around, self.redactor)
        try:
            write_atomic(task.control / RECORD, json.dumps(record, default=str))
        except OSError as error:
            log.error("job %s: its record could not be written: %s: %s", job.id, task.control / RECORD, error.strerror)
        self.hooks.tell(job_hooks.pilot_job_recorded, job=job, record=record)
        return Result(notes=notes)

    def _put_aside(self, task: Task) -> dict[str, object]:
        outbox = self.settings.of(ReportOptions).outbox
        place = self._kept(lambda: keep_letter(self._final(task), task.control / FINAL, outbox))
        if place is None:
            return {}
        log.warning("an undelivered letter waits in %s", place)
        return {WAITS_IN: str(place)}

    def _kept(self, keep: Callable[[], Path]) -> Path | None:
        try:
            place = keep()
        except (OSError, NotJson, PluginFailed, PilotError) as error:
            log.error("an undelivered letter could not be put aside: %s", error)
            return None
        return place

    @cached_property
    def facts(self) -> dict[str, object]:
        """What plugins know of this node, asked once."""
        try:
            answers = self.hooks.gather(startup.pilot_node_facts)
        except (PluginFailed, PilotError) as failed:
            log.warning("facts about the node are left out: %s", failed)
            return {}
        return {name: fact for answer in reversed(answers) for name, fact in answer.value.items()}

    @cached_property
    def plugins(self) -> dict[str, str]:
        """Who had a say: each plugin's distribution and version."""
        asked = (each.plugin for each in self.hooks.plugins())
        return {plugin.name: f"{plugin.distribution} {plugin.version}".strip() for plugin in asked}

    def _call(self, what: str, method: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call the communicator in its own name."""
        return self.hooks.guarded(PluginRef(self.communicator.name), what, method, *args, **kwargs)


def _plain(plugin: str, name: str, value: object) -> object:
    try:
        json.dumps(value)
    except (TypeError, ValueError) as error:
        told = f"plugin {plugin} set {name} to a value that JSON has no word for: {error}"
        raise PilotError(Code.PLUGINFAILED, told) from error
    return value


def why_kept(job: Job, cleanup: bool) -> str:
    """Why a job's directory must stay; nothing if all that mattered in it is safe."""
    if not job.notes.get("delivered"):
        return "the final update is not delivered"
    if not cleanup:
        return "pilot.cleanup is off"
    reply = job.notes.get("reply")
    if isinstance(reply, Mapping) and reply.get("keep"):
        return "the server wants to keep it"
    if left := job.notes.get("left_in_workdir"):
        return f"outputs have no other place: {', '.join(left) if isinstance(left, list) else left}"
    ran = job.outcome is not None and job.outcome.clean and not any(_is_the_payloads(error) for error in job.errors)
    unsafe = [file.lfn for file in job.outputs if ran and not file.optional and file.lfn not in job.stored]
    return f"outputs are not stored: {', '.join(unsafe)}" if unsafe else ""


def _is_the_payloads(error: PilotError) -> bool:
    return error.code.party is Party.PAYLOAD


def _forget_sealed(control: Path) -> None:
    """What the payload said is safe with its log."""
    if (control / SEALED).exists():
        with suppress(OSError), Inside(control / SEALED) as folder:
            folder.remove_tree()


def _remove(workdir: Path) -> list[str]:
    try:
        with Inside(workdir) as inside:
            left = inside.remove_tree()
    except FileNotFoundError:
        return []
    except OSError as error:
        left = [f"{workdir}: {error.strerror}"]
    for each in left:
        log.warning("%s could not be removed: %s", workdir, each)
    return left
