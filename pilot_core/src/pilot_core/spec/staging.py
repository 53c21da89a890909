"""Hooks of bringing inputs and storing outputs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from pilot_core.errors import PilotError
from pilot_core.model.files import Attempt, FileSpec, Receipt, Replica
from pilot_core.model.job import Job
from pilot_core.model.queue import Queue
from pilot_core.spec.markers import Shape, hook


@hook(Shape.FIRST, since="0.1")
def pilot_inputs_replicas(job: Job, queue: Queue) -> Mapping[str, Sequence[Replica]] | None:
    """Look up where the job's inputs lie: logical name to replicas, the best first.

    Asked once, before stage-in; the first plugin that answers wins and ``None`` passes. A name left out keeps the
    replicas that the job came with. Called in a worker thread, so it may block. A failure fails the stage-in.
    """


@hook(Shape.GATHER, since="0.1")
def pilot_inputs_skip(job: Job, queue: Queue) -> Collection[str]:
    """Name inputs that need no transfer, because the payload reads them where they are or has them already.

    Asked once, before stage-in, in a worker thread. A failure fails the stage-in, in the plugin's name.
    """


@hook(Shape.GATHER, since="0.1")
def pilot_inputs_staged(job: Job, queue: Queue, workdir: Path, direct: Mapping[str, Replica]) -> Mapping[str, str]:
    """Write small files beside the inputs, such as a file catalogue: relative path to text.

    ``direct`` are the inputs that the payload reads where they lie, by name. Asked once, after stage-in, in a worker
    thread. Two plugins that write one file, and a path that leaves the job's directory, are errors. A failure fails
    the stage-in, in the plugin's name.
    """


@hook(Shape.FIRST, since="0.1")
def pilot_outputs_select(job: Job, workdir: Path) -> Sequence[FileSpec] | None:
    """Give the list of outputs to store, where it is not the one that the job came with.

    Asked once, after the payload, in a worker thread. A failure fails the stage-out, in the plugin's name.
    """


@hook(Shape.FIRST, since="0.1")
def pilot_outputs_replicas(job: Job, files: Sequence[FileSpec], queue: Queue) -> Mapping[str, Sequence[Replica]] | None:
    """Say where outputs or the log go: logical name to places, the best first.

    Asked before stage-out and again for the log, in a worker thread. A name left out goes where the job says.
    A failure fails the stage-out, in the plugin's name.
    """


@hook(Shape.TELL, since="0.1")
def pilot_file_moved(job: Job, receipt: Receipt) -> None:
    """Hear that a file was brought or stored, and verified.

    Told in a worker thread, once for each file. A failure is logged.
    """


@hook(Shape.TELL, since="0.1")
def pilot_transfer_tried(job: Job, attempt: Attempt) -> None:
    """Hear of every try to bring, store or open a file, whatever came of it, after it was verified.

    Told in a worker thread, in the way of the transfers: what takes time is done elsewhere. A failure is logged.
    """


@hook(Shape.GATHER, since="0.1")
def pilot_outputs_register(job: Job, receipts: Sequence[Receipt]) -> Mapping[str, PilotError]:
    """Enter files that lie in storage in a catalogue: logical name to error, for those that it does not have then.

    A file counts as stored only when nobody told an error of it. Asked after the upload, for one file or many, and
    again after an error or a crash, with the same receipts: a file is known by job, attempt and name, and to enter it
    once more does no harm. In a worker thread. A failure is an error of each of the files, in the plugin's name.
    """
