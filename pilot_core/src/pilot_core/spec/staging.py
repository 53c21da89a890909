"""Hooks of bringing inputs and storing outputs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from pilot_core.errors import PilotError
from pilot_core.model.files import Attempt, FileSpec, Receipt, Replica
from pilot_core.model.job import Job
from pilot_core.model.queue import Queue
from pilot_core.spec.markers import Shape, hook
from pilot_core.spec.work import Settings


@hook(Shape.FIRST, since="0.1")
def pilot_inputs_replicas(job: Job, queue: Queue, settings: Settings) -> Mapping[str, Sequence[Replica]] | None:
    """Look up where the job's inputs lie: logical name to replicas, the best first.

    Asked once, before stage-in; the first plugin that answers wins and ``None`` passes. A name left out keeps the
    replicas that the job came with. Called in a worker thread, so it may block. A failure fails the stage-in.
    """


@hook(Shape.FIRST, since="0.1")
def pilot_inputs_select(job: Job, queue: Queue, settings: Settings) -> Sequence[FileSpec] | None:
    """Give the list of inputs as the payload is to find them, where that is not how the job came with them.

    An input may be read where it lies (``direct``), or be found under another name (``path``), which a directory may
    stand before. Those that need not come stay in the list: ``pilot_inputs_skip`` names them. Asked once, before
    stage-in, in a worker thread. A failure fails the stage-in, in the plugin's name.
    """


@hook(Shape.FIRST, since="0.1")
def pilot_inputs_rank(
    job: Job, queue: Queue, replicas: Mapping[str, Sequence[Replica]], settings: Settings
) -> Mapping[str, Sequence[Replica] | PilotError] | None:
    """Choose among the places that were looked up, and order them, by what the queue allows and prefers.

    ``replicas`` is what ``pilot_inputs_replicas`` gave. A name may get an error that says why no place of it can be
    used, which fails this file alone; one left out keeps what it has. Asked once, in a worker thread. A failure fails
    the stage-in, in the plugin's name.
    """


@hook(Shape.GATHER, since="0.1")
def pilot_inputs_skip(job: Job, queue: Queue, settings: Settings) -> Collection[str]:
    """Name inputs that need no transfer, because the payload reads them where they are or has them already.

    Asked once, before stage-in, in a worker thread. A failure fails the stage-in, in the plugin's name.
    """


@hook(Shape.GATHER, since="0.1")
def pilot_inputs_staged(
    job: Job, queue: Queue, workdir: Path, direct: Mapping[str, Replica], settings: Settings
) -> Mapping[str, str]:
    """Write small files beside the inputs, such as a file catalogue: relative path to text.

    ``direct`` are the inputs that the payload reads where they lie, by name. Asked once, after stage-in, in a worker
    thread. Two plugins that write one file, and a path that leaves the job's directory, are errors. A failure fails
    the stage-in, in the plugin's name.
    """


@hook(Shape.FIRST, since="0.1")
def pilot_outputs_select(job: Job, queue: Queue, workdir: Path, settings: Settings) -> Sequence[FileSpec] | None:
    """Give the list of outputs to store, where it is not the one that the job came with.

    Asked once, after the payload, in a worker thread. A failure fails the stage-out, in the plugin's name.
    """


@hook(Shape.FIRST, since="0.1")
def pilot_outputs_replicas(
    job: Job, files: Sequence[FileSpec], queue: Queue, settings: Settings
) -> Mapping[str, Sequence[Replica] | PilotError] | None:
    """Say where outputs or the log go: logical name to places, the best first.

    Asked before stage-out and again for the log, in a worker thread. A name left out goes where the job says,
    one with an error is not stored, for that reason.
    A failure fails the stage-out, in the plugin's name.
    """


@hook(Shape.FIRST, since="0.1")
def pilot_outputs_sign(
    job: Job, replicas: Mapping[str, Sequence[Replica]], queue: Queue, settings: Settings
) -> Mapping[str, Sequence[Replica] | PilotError] | None:
    """Give signed places for those where nobody may write otherwise, such as in an object store, whoever named them.

    ``replicas`` is where outputs or the log go: logical name to places. A name left out keeps what it has, one with an
    error is not stored, for that reason. Asked before stage-out and again for the log, in a worker thread. A failure
    fails the stage-out, in the plugin's name.
    """


@hook(Shape.TELL, since="0.1")
def pilot_file_moved(job: Job, receipt: Receipt) -> None:
    """Hear that a file was brought or stored, and verified.

    Told in a worker thread, once for each file. A failure is logged.
    """


@hook(Shape.GATHER, since="0.1")
def pilot_transfer_facts(job: Job, attempt: Attempt) -> Mapping[str, object]:
    """Add what an experiment says of its tries to move files to what is told of one: JSON values, by names.

    They become ``attempt.facts``; for trace reports the names are those of their fields, and replace the usual values,
    or remove one with ``None``. Asked before ``pilot_transfer_tried`` is told, if anybody hears that; of two plugins
    that name one thing the higher tier counts. A failure is logged, and there are no facts then.
    """


@hook(Shape.TELL, since="0.1")
def pilot_transfer_tried(job: Job, attempt: Attempt, settings: Settings) -> None:
    """Hear of every try to bring, store or open a file, whatever came of it, after it was verified.

    Told in a worker thread, in the way of the transfers: what takes time is done elsewhere. A failure is logged.
    """


@hook(Shape.GATHER, since="0.1")
def pilot_outputs_register(job: Job, receipts: Sequence[Receipt], settings: Settings) -> Mapping[str, PilotError]:
    """Enter files that lie in storage in a catalogue: logical name to error, for those that it does not have then.

    A file counts as stored only when nobody told an error of it. Asked after the upload, for one file or many, and
    again after an error or a crash, with the same receipts: a file is known by job, attempt and name, and to enter it
    once more does no harm. In a worker thread. A failure is an error of each of the files, in the plugin's name.
    """
