"""The jobs that this pilot holds: their directories, journals, locks and processes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from threading import Event

from attrs import define, field

from pilot_core.config.layers import Settings
from pilot_core.config.schema import PayloadOptions, PilotOptions
from pilot_core.control.checks import CONTROL
from pilot_core.control.monitor import Watch
from pilot_core.control.outbox import give_room_back, set_room_aside
from pilot_core.control.running import Running
from pilot_core.errors import Code, PilotError
from pilot_core.io.cancel import CancelFlag
from pilot_core.io.files import Lock, Taken
from pilot_core.io.inside import Inside
from pilot_core.io.journal import Journal, JournalError
from pilot_core.io.logs import job_log
from pilot_core.io.process import OrphanPolicy, Processes, Starter
from pilot_core.io.process_keeper import attach
from pilot_core.model.job import Job
from pilot_core.model.queue import Queue
from pilot_core.redact import Redactor

JOURNAL = "journal"


@define(eq=False)
class HeldJob:
    """Everything outside the machine that belongs to one job."""

    id: str
    workdir: Path
    control: Path
    queue: Queue
    """The queue as this job saw it when it began."""
    settings: Settings
    journal: Journal
    processes: Processes | None
    closing: ExitStack
    cancels: dict[int, CancelFlag] = field(factory=dict)
    run: Running | None = None
    watch: Watch | None = None
    to_report: Job | None = None
    updated: Event | None = None
    """Set when the update that is under way has ended."""
    lost_since: float | None = None
    """Since when the server has not answered, by the monotonic clock."""
    lost_updates: int = 0
    """How many updates it has not taken since."""
    heartbeat_s: float | None = None
    """How often the server asked for updates."""
    debug: bool = False
    soft_stop: PilotError | None = None
    """Why the payload is to come to an early end of its own, if it is."""

    def close(self) -> None:
        """Let go of the job; its journal is whoever's who writes it."""
        if self.processes is not None:
            self.processes.close()
        self.closing.close()

    @property
    def ran_s(self) -> float:
        """How long its payload has run already, perhaps for another pilot."""
        return self.run.ran_s if self.run else 0.0


def control_of(root: Path, job: Job) -> Path:
    """The control directory of a job below the work directory of its pilot."""
    return root / f"{job.directory}{CONTROL}"


def hold(
    root: Path,
    job: Job,
    raw: Mapping[str, object],
    queue: Queue,
    settings: Settings,
    starter: Starter,
    redactor: Redactor,
) -> HeldJob:
    """Make a job's directories, journal and processes; the raw message is on disk when this returns."""
    control, workdir = control_of(root, job), root / job.directory
    _make_room(control, workdir)
    with ExitStack() as undo:
        _make(control, 0o700, undo)
        closing = ExitStack()
        undo.callback(closing.close)
        closing.callback(Lock(control / "lock").take().release)
        journal = _begin_journal(control, raw, settings.of(PilotOptions).communicator)
        undo.callback(journal.close)
        _set_room_aside(control)
        closing.enter_context(job_log(control / "pilot.log", job.id, redactor))
        _make(workdir, 0o770, undo)
        processes = _open_processes(starter, job, control, settings.of(PayloadOptions))
        undo.pop_all()
    return HeldJob(job.id, workdir, control, queue, settings, journal, processes, closing)


def take_over(root: Path, job: Job, control: Path, queue: Queue, settings: Settings, redactor: Redactor) -> HeldJob:
    """Hold a job that another pilot left; its directories and journal are there, and its processes may be."""
    with ExitStack() as undo:
        closing = ExitStack()
        undo.callback(closing.close)
        closing.callback(Lock(control / "lock").take().release)
        journal, _ = Journal.reopen(control / JOURNAL)
        undo.callback(journal.close)
        closing.enter_context(job_log(control / "pilot.log", job.id, redactor))
        processes = attach(control)
        undo.pop_all()
    return HeldJob(job.id, root / job.directory, control, queue, settings, journal, processes, closing)


def let_go(control: Path) -> None:
    """Seal the journal of a job that was never taken, and remove the directory that was made for it."""
    workdir = control.with_name(control.name.removesuffix(CONTROL))
    if workdir.is_dir() and not workdir.is_symlink():
        _remove(workdir)
    give_room_back(control)
    journal, _ = Journal.reopen(control / JOURNAL)
    journal.seal()


def _make_room(control: Path, workdir: Path) -> None:
    """Put the control directory of an earlier run of the same job aside; refuse whatever else is in the way."""
    if control.exists():
        if not _is_sealed(control):
            raise PilotError(
                Code.MKDIR, f"{control} holds a job that has not ended: run `pilot recover {control.parent}`"
            )
        number = 1
        while (aside := control.with_name(f"{control.name}.{number}")).exists():
            number += 1
        control.rename(aside)
    if os.path.lexists(workdir):
        raise PilotError(
            Code.MKDIR, f"{workdir} is there already and no job of ours has its journal beside it: remove it"
        )


def _is_sealed(control: Path) -> bool:
    from pilot_core.io.journal import read_back

    try:
        return read_back(control / JOURNAL).sealed
    except (OSError, JournalError):
        return False


def _make(path: Path, mode: int, undo: ExitStack) -> None:
    try:
        path.mkdir(mode)
        path.chmod(mode)
    except OSError as error:
        raise PilotError(Code.MKDIR, f"{path}: {error.strerror}") from error
    undo.callback(_remove, path)


def _remove(path: Path) -> None:
    with suppress(OSError):
        with Inside(path) as inside:
            inside.remove_tree()
        path.rmdir()


def _begin_journal(control: Path, raw: Mapping[str, object], communicator: str) -> Journal:
    try:
        journal = Journal.create(control / JOURNAL)
        journal.append({"raw": dict(raw), "communicator": communicator})
    except OSError as error:
        raise PilotError(Code.NOLOCALSPACE, f"{control / JOURNAL}: {error.strerror}") from error
    return journal


def _set_room_aside(control: Path) -> None:
    try:
        set_room_aside(control)
    except OSError as error:
        raise PilotError(Code.NOLOCALSPACE, f"{control}: no room for the last word: {error.strerror}") from error


def _open_processes(starter: Starter, job: Job, control: Path, options: PayloadOptions) -> Processes:
    policy = OrphanPolicy(options.orphan, options.orphan_wait_s, job.wall_limit_s)  # type: ignore[arg-type]
    try:
        return starter.open(job.id, control, policy, options.grace_s)
    except (OSError, ValueError) as error:
        raise PilotError(Code.INTERNALPILOTPROBLEM, f"no keeper for job {job.id}: {error}") from error


def try_lock(control: Path) -> bool:
    """Whether nobody holds this job."""
    try:
        Lock(control / "lock").take().release()
    except (Taken, OSError):
        return False
    return True
