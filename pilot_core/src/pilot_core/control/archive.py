"""The log archive: what a job left in its directory, and the pilot's own words about it, in one file.

Nothing is followed out of the job's directory: links are kept as links where they stay inside and left out otherwise,
and so are devices, sockets and pipes. Inputs and outputs are left out too. What else is missing is listed in the
archive itself.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

from pilot_core.control.entrusted import names_lent
from pilot_core.control.ground import give_back
from pilot_core.control.limits import Limit
from pilot_core.control.packing import LEFT_OUT, Packing, check_tar, compression_of, new_tar
from pilot_core.control.transfer import ARCHIVE
from pilot_core.control.trip import part_name
from pilot_core.errors import Code, PilotError
from pilot_core.io.cancel import Cancelled
from pilot_core.io.inside import Inside, Outside
from pilot_core.machine.events import Result
from pilot_core.model.change import evolve
from pilot_core.model.names import UnsafeName, safe_name
from pilot_core.plugins.guard import PluginFailed
from pilot_core.plugins.hooks import Hooks
from pilot_core.redact import Redactor
from pilot_core.spec import reporting
from pilot_core.spec.work import Task

LARGEST_B = 2 * 10**9
OWN_LOG, OWN_NAME = "pilot.log", "pilotlog.txt"
USAGE_NAME, JOB_NAME = "pilotusage.jsonl", "pilotjob.json"
"""What a report needs; named like the pilot's log, so that nothing of the job's is in their way."""
SEALED_NAMES = ("payload.stdout.sealed", "payload.stderr.sealed")
"""What was sealed of an output whose own file does not hold it any more."""
SEALED = "sealed"
"""The note, and the folder in the control directory."""
OWN_LOG_B = 1 << 24
log = logging.getLogger(__name__)


class Archive:
    """The work that makes a job's log archive, under the log's name in a folder of its own in the control directory.

    There it is in the way of nothing of the pilot's, whatever its name is.
    The files in it have ``largest_b`` together at most, before compression.
    """

    def __init__(self, hooks: Hooks, redactor: Redactor, *, largest_b: int = LARGEST_B) -> None:
        self._hooks = hooks
        self._redactor = redactor
        self._largest_b = largest_b

    def archive(self, task: Task) -> Result:
        """Pack the job's directory. A job without a log gets no archive, and one that was finished stays."""
        if task.job.log is None:
            return Result()
        target = task.control / ARCHIVE / _checked(task.job.log.lfn)
        compression = _compression(target.name)
        if task.resumed and target.exists():
            return Result()
        try:
            target.parent.mkdir(mode=0o700, exist_ok=True)
            give_back(task.workdir, task.control)
            notes = _notes_of_sealed(task.control)
            if notes:
                task = evolve(task, job=evolve(task.job, notes={**task.job.notes, **notes}))
            self._make(task, target, compression)
        except OSError as error:
            told = f"{target.name}: {error.strerror or error}"
            raise PilotError(Code.LOGFILECREATIONFAILURE, self._redactor.scrub(told)) from error
        return Result(notes=notes)

    def _make(self, task: Task, target: Path, compression: str) -> None:
        part = target.with_name(part_name())
        with ExitStack() as at_last:
            at_last.callback(part.unlink, missing_ok=True)
            entries = self._pack(task, part, compression)
            check_tar(part, compression, entries)
            part.replace(target)
        log.info("%s: %d entries, %d B", target.name, entries, target.stat().st_size)

    def _pack(self, task: Task, part: Path, compression: str) -> int:
        limit = Limit(task.cancel, task.budget_s)
        prefix = f"tarball_PandaJob_{task.job.id}_{task.queue.name.replace('/', '_')}"
        try:
            with Inside(task.workdir) as folder, new_tar(part, compression) as tar:
                packing = Packing(tar, folder, prefix, self._largest_b, limit)
                self._add_own(task, packing)
                if SEALED in task.job.notes:
                    _add_sealed(task.control, folder, packing)
                packing.add_folder(self._excluded(task, folder))
                packing.add_left_out(self._redactor.scrub)
                return packing.entries
        except Cancelled as given_up:
            late = limit.is_over() and not limit.asked.is_set()
            code = Code.LOGCREATIONTIMEOUT if late else Code.LOGFILECREATIONFAILURE
            raise PilotError(code, str(given_up)) from None

    def _add_own(self, task: Task, packing: Packing) -> None:
        from pilot_core.control.history import USAGE

        packing.add_text(JOB_NAME, self._so_far(task))
        for name, name_there in ((USAGE, USAGE_NAME), (OWN_LOG, OWN_NAME)):
            with suppress(FileNotFoundError), Inside(task.control) as control, control.open_read(name) as own:
                own.seek(max(own.seek(0, 2) - OWN_LOG_B, 0))
                packing.add_text(name_there, self._redactor.scrub(own.read(OWN_LOG_B).decode(errors="replace")))

    def _so_far(self, task: Task) -> str:
        """The job's record as far as it goes, so that a report can be made of the archive alone."""
        from pilot_core.control.history import so_far
        from pilot_core.control.record import Surroundings

        asked = (each.plugin for each in self._hooks.plugins())
        plugins = {plugin.name: f"{plugin.distribution} {plugin.version}".strip() for plugin in asked}
        around = Surroundings(at=time.time(), node=os.uname().nodename, plugins=plugins)
        return json.dumps(so_far(task.job, task.control, around, self._redactor), default=str)

    def _excluded(self, task: Task, folder: Inside) -> frozenset[str]:
        """Paths that do not belong in the archive, with all below them."""
        moved = (file.local for file in (*task.job.inputs, *task.job.outputs))
        own = (OWN_NAME, USAGE_NAME, JOB_NAME, LEFT_OUT, *SEALED_NAMES, *names_lent(task.control))
        excluded = {*moved, *own, *folder.glob(".*.part")}
        if task.job.checkpoint is not None:
            excluded |= {task.job.checkpoint.file.lfn, "checkpoint"}
        for plugin, pattern in self._patterns(task):
            try:
                excluded.update(folder.glob(pattern))
            except Outside as outside:
                log.warning("plugin %s names what does not belong in the log: %s", plugin, outside)
        return frozenset(excluded)

    def _patterns(self, task: Task) -> Iterator[tuple[str, str]]:
        try:
            answers = self._hooks.gather(
                reporting.pilot_log_select, job=task.job, workdir=task.workdir, settings=task.settings
            )
        except (PluginFailed, PilotError) as failed:
            log.warning("plugins leave nothing out of the log: %s", failed)
            return
        for answer in answers:
            yield from ((answer.plugin, pattern) for pattern in answer.value)


def _notes_of_sealed(control: Path) -> dict[str, object]:
    """How far the payload's outputs are sealed, if any is."""
    if not (control / SEALED).exists():
        return {}
    from pilot_core.control.segments import segments, told_of

    found = segments(control / SEALED)
    return {SEALED: told_of(found)} if found else {}


def _add_sealed(control: Path, folder: Inside, packing: Packing) -> None:
    from pilot_core.control.segments import joined, segments, stands_in

    for name, sealed in segments(control / SEALED).items():
        if not stands_in(folder, name, sealed):
            packing.add_data(f"{name}.sealed", joined(sealed))


def _checked(name: str) -> str:
    try:
        return safe_name(name)
    except UnsafeName as unsafe:
        raise PilotError(Code.LOGFILECREATIONFAILURE, str(unsafe)) from None


def _compression(name: str) -> str:
    try:
        return compression_of(name)
    except ValueError as unknown:
        raise PilotError(Code.LOGFILECREATIONFAILURE, str(unknown)) from None
