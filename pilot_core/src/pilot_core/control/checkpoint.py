"""The checkpoint contract: a payload that asks for it may save how far it has come, and go on in another attempt.

It finds what it saved last in the directory ``$PILOT_CHECKPOINT_DIR``, is sent SIGUSR1 some time before its wall time
is over, saves there whatever it wants, and exits with the status ``$PILOT_CHECKPOINT_EXIT``. The directory is stored as
an archive, an output of its own, and the attempt counts as checkpointed, not as failed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from pilot_core.control.packing import LEFT_OUT, Packing, check_tar, compressed, compression_of, is_outward, new_tar
from pilot_core.control.trip import part_name
from pilot_core.errors import Code, PilotError
from pilot_core.io.inside import Inside
from pilot_core.machine.events import Result
from pilot_core.model.change import evolve
from pilot_core.model.files import Checkpoint
from pilot_core.model.job import Job
from pilot_core.model.payload import Outcome
from pilot_core.spec.work import Task

if TYPE_CHECKING:
    from tarfile import TarFile

FOLDER: Final = "checkpoint"
STATUS: Final = 85
"""The exit status that says "checkpointed"; the field's other schedulers use the same."""
LARGEST_B: Final = 1 << 50
_PIECE_B: Final = 1 << 20


def variables_of(task: Task) -> Mapping[str, str]:
    """What a payload is told that may save a checkpoint."""
    if task.job.checkpoint is None:
        return {}
    return {"PILOT_CHECKPOINT_DIR": str(task.workdir / FOLDER), "PILOT_CHECKPOINT_EXIT": str(STATUS)}


def receive(task: Task) -> None:
    """Make the directory, with what the attempt before has saved."""
    asked = task.job.checkpoint
    if asked is None:
        return
    with Inside(task.workdir) as workdir:
        workdir.makedirs(FOLDER)
    if asked.before is not None:
        try:
            _unpack(task, asked.before.lfn, compression_of(asked.file.lfn))
        except OSError as error:
            told = f"the checkpoint of the attempt before cannot be unpacked: {error.strerror or error}"
            raise PilotError(Code.SETUPFAILURE, told) from error


def is_saved(job: Job, outcome: Outcome) -> bool:
    """Whether the payload says that it has saved a checkpoint, and may."""
    return job.checkpoint is not None and outcome.exit_code == STATUS


def save(task: Task) -> Result:
    """Pack what the payload has saved, the only output of such an attempt; without any, it has failed."""
    asked = task.job.checkpoint
    assert asked is not None
    try:
        files = _pack(task, asked)
    except OSError as error:
        told = f"the checkpoint cannot be packed: {error.strerror or error}"
        raise PilotError(Code.PAYLOADEXECUTIONFAILURE, told) from error
    if not files:
        told = f"the payload ended with exit code {STATUS}, and there is nothing in ${{PILOT_CHECKPOINT_DIR}}"
        return Result(errors=(PilotError(Code.PAYLOADEXECUTIONFAILURE, told, trf=STATUS),))
    saved = PilotError(Code.CHECKPOINTED, asked.file.lfn)
    return Result(errors=(saved,), outputs=(evolve(asked.file, always=True),), notes={"checkpoint": asked.file.lfn})


def _pack(task: Task, asked: Checkpoint) -> int:
    """Write the archive beside, read it back, and name it; how much is in it."""
    part, compression = task.workdir / part_name(), compression_of(asked.file.lfn)
    try:
        with Inside(task.workdir / FOLDER) as folder, new_tar(part, compression) as tar:
            packing = Packing(tar, folder, FOLDER, LARGEST_B, task.cancel)
            packing.add_folder(frozenset((LEFT_OUT,)), bare=False)
            files = packing.entries
            packing.add_left_out(str)
        check_tar(part, compression, packing.entries + packing.folders)
        if files:
            part.replace(task.workdir / asked.file.lfn)
        return files
    finally:
        part.unlink(missing_ok=True)


def _unpack(task: Task, name: str, compression: str) -> None:
    """Unpack files, directories and links, and nothing else; whoever made the archive, nothing leaves the directory."""
    import tarfile

    try:
        with Inside(task.workdir) as workdir:
            with workdir.open_read(name) as raw, compressed(compression, raw, "rb") as packed:
                _take(tarfile.open(fileobj=packed, mode="r|"), workdir)  # noqa: SIM115 it holds nothing of its own
            workdir.remove(name)
    except (tarfile.TarError, EOFError, ValueError) as broken:
        raise OSError(f"{name}: {broken}") from None


def _take(tar: TarFile, workdir: Inside) -> None:
    links: dict[str, str] = {}
    for entry in tar:
        below = entry.name.partition("/")[2]
        path = f"{FOLDER}/{below}"
        if entry.isdir():
            workdir.makedirs(path)
        elif entry.issym() and not is_outward(below, entry.linkname):
            links[path] = entry.linkname
        elif entry.isreg():
            workdir.makedirs(path.rpartition("/")[0])
            source = tar.extractfile(entry)
            with workdir.open_write(path, (entry.mode & 0o777) | 0o600) as file:
                while source is not None and (piece := source.read(_PIECE_B)):
                    file.write(piece)
    _link(links, workdir)


def _link(links: Mapping[str, str], workdir: Inside) -> None:
    """Make links when all files are there, so that none is written through one; several together may not lead out."""
    made = []
    for path, target in links.items():
        workdir.makedirs(path.rpartition("/")[0])
        if not workdir.exists(path):
            workdir.symlink(target, path)
            made.append(path)
    top = os.path.realpath(workdir.root / FOLDER)
    leading = {path: os.path.realpath(workdir.root / path) for path in made}
    for path in (path for path, end in leading.items() if end != top and not end.startswith(f"{top}/")):
        workdir.remove(path)
