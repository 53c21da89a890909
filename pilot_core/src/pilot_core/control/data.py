"""Data Control: brings a job's inputs, stores its outputs and its log.

How one file is moved stands in ``transfer``, which files come and go in ``inputs`` and ``outputs``; here stand the
works that a workflow's table names. A failing file never stops the others, unless the disk is full.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pilot_core.config.schema import DataOptions
from pilot_core.control.blame import by_plugin
from pilot_core.control.calls import Calls, Means
from pilot_core.control.inputs import Arrive, Bringing, check_tools, wanted_inputs
from pilot_core.control.lanes import UnderWay, in_lanes
from pilot_core.control.limits import Lookout
from pilot_core.control.outputs import Leavings, Stored, Storing
from pilot_core.control.transfer import ARCHIVE, Mover
from pilot_core.errors import Code, PilotError
from pilot_core.io.inside import Inside
from pilot_core.machine.events import Result
from pilot_core.model.change import evolve
from pilot_core.model.files import FileSpec, Receipt, Transfer
from pilot_core.plugins.guard import PluginFailed, PluginRef
from pilot_core.plugins.hooks import Hooks
from pilot_core.redact import Redactor
from pilot_core.spec import staging
from pilot_core.spec.drivers import CopyTool
from pilot_core.spec.work import Task

if TYPE_CHECKING:
    from pilot_core.control.cached import Cached
    from pilot_core.control.looking import Seen

FIRST_PAUSE_S = 0.5
log = logging.getLogger(__name__)


class DataControl:
    """The works that move files; made once, it keeps nothing about any job but how far its files have come.

    ``plugins`` says whose each tool is, by its name, so that a failing one is named in full, and ``names`` under which
    names the site has chosen it. ``pause_s`` is the longest pause before a second round through a file's places; each
    further one may be twice as long.
    """

    def __init__(
        self,
        hooks: Hooks,
        tools: Sequence[CopyTool],
        redactor: Redactor,
        *,
        plugins: Mapping[str, PluginRef] | None = None,
        names: Mapping[str, str] | None = None,
        pause_s: float = FIRST_PAUSE_S,
        under_way: UnderWay | None = None,
    ) -> None:
        self.under_way = under_way or UnderWay()
        own = names or {tool.name: tool.name for tool in tools}
        self._means = Means(hooks, tuple(tools), redactor, plugins or {}, pause_s, self.under_way, Lookout(), own)

    def close(self) -> None:
        """Let its thread end."""
        self._means.lookout.close()

    # --- inputs -----------------------------------------------------------------------------------------------------

    def stage_in(self, task: Task, *, beside: bool = True) -> Result:
        """Bring the job's inputs into its directory, by way of the cache if there is one.

        ``beside`` says whether plugins may write small files beside them.
        """
        task, selected = self._selected_inputs(task)
        transfers = wanted_inputs(self._means, task)
        check_tools(self._means, task, transfers)
        cache = task.settings.of(DataOptions).cache
        calls = Calls(self._means, task)
        mover = Mover(calls, task)
        arrive = _cached(task, mover, cache).fetch if cache else None
        brought = self._bring(task, calls, mover, transfers, arrive, beside=beside)
        return evolve(brought, inputs=selected)

    def fill_cache(self, task: Task) -> Result:
        """Bring the job's inputs into the cache, and none into its directory; each must be there in the end."""
        cache, transfers = _cache_of(task), wanted_inputs(self._means, task)
        check_tools(self._means, task, transfers)
        calls = Calls(self._means, task)
        mover = Mover(calls, task)
        cached = _cached(task, mover, cache)
        filled = self._bring(task, calls, mover, transfers, cached.fill, keep=False)
        came = {receipt.lfn for receipt in filled.receipts}
        lost = tuple(error for each in transfers if each.file.lfn in came and (error := cached.lost(each)))
        kept = tuple(each for each in filled.receipts if each.lfn not in {error.facts["lfn"] for error in lost})
        return evolve(filled, errors=(*filled.errors, *lost), receipts=kept)

    def take_inputs(self, task: Task) -> Result:
        """Bring the job's inputs from the cache; what is not there is an error."""
        task, selected = self._selected_inputs(task)
        cache, transfers = _cache_of(task), wanted_inputs(self._means, task)
        calls = Calls(self._means, task)
        mover = Mover(calls, task)
        taken = self._bring(task, calls, mover, transfers, _cached(task, mover, cache).take)
        return evolve(taken, inputs=selected)

    def _selected_inputs(self, task: Task) -> tuple[Task, tuple[FileSpec, ...] | None]:
        """The job with its inputs as a plugin wants the payload to find them, and these, if one says so."""
        job = task.job
        ask = self._means.hooks.first
        chosen = ask(staging.pilot_inputs_select, job=job, queue=task.queue, settings=task.settings)
        selected = None if chosen is None else tuple(chosen)
        return task if selected is None else evolve(task, job=evolve(job, inputs=selected)), selected

    def _bring(
        self,
        task: Task,
        calls: Calls,
        mover: Mover,
        transfers: Sequence[Transfer],
        arrive: Arrive | None,
        keep: bool = True,
        beside: bool = True,
    ) -> Result:
        with _opened(task.workdir) as folder:
            bringing = Bringing(self._means, calls, mover, task, folder, arrive, keep)
            answers, direct = bringing.bring(transfers)
            result = _result(answers)
            if keep and beside and not result.errors:
                bringing.write_beside(direct)
        return result

    def look(self, task: Task) -> Mapping[str, Seen | PilotError]:
        """Look where the job's inputs lie: by name the first place that has the file, or why none is told."""
        from pilot_core.control.looking import look_at

        transfers = wanted_inputs(self._means, task)
        calls = Calls(self._means, task)
        seen = in_lanes(partial(look_at, self._means, calls), transfers, calls.options.parallel, "look")
        return {transfer.file.lfn: found for transfer, found in zip(transfers, seen, strict=True)}

    # --- outputs ----------------------------------------------------------------------------------------------------

    def stage_out(self, task: Task) -> Result:
        """Store the job's outputs; after a failure only those that are marked for it and are there.

        Outputs that have no place to go, or no tool to bring them there, stay in the job's directory, which
        ``notes["left_in_workdir"]`` says.
        """
        selected = self._selected(task)
        wanted = task.job.outputs if selected is None else selected
        if task.job.errors:
            wanted = tuple(file for file in wanted if file.always)
        stored = self._store(task, task.workdir, wanted, forgiving=bool(task.job.errors))
        return evolve(_result(stored.answers), outputs=selected, notes=_notes(stored, wanted, "left_in_workdir"))

    def store_log(self, task: Task) -> Result:
        """Store the log archive, if one was made; without a place to go it stays where it is.

        Where no log is required, ``notes["log_lost"]`` says why there is none.
        """
        try:
            stored = self._store_log(task)
        except (PilotError, PluginFailed) as failed:
            stored = Result(errors=(failed if isinstance(failed, PilotError) else by_plugin(failed),))
        if not stored.errors or task.settings.of(DataOptions).log_required:
            return stored
        why = "; ".join(map(str, stored.errors))
        log.warning("the job goes on without its log: %s", why)
        return evolve(stored, errors=(), notes={**stored.notes, "log_lost": why})

    def _store_log(self, task: Task) -> Result:
        folder = task.control / ARCHIVE
        if task.job.log is None or not folder.is_dir():
            return Result()
        stored = self._store(task, folder, (task.job.log,), forgiving=True)
        return evolve(_result(stored.answers), notes=_notes(stored, (), "left_in_control"))

    def _selected(self, task: Task) -> tuple[FileSpec, ...] | None:
        """The outputs that a plugin names, or those that were made; only a payload that ran has any to choose from."""
        if task.job.outcome is None:
            return None
        job, queue, workdir, settings = task.job, task.queue, task.workdir, task.settings
        ask = self._means.hooks.first
        chosen = ask(staging.pilot_outputs_select, job=job, queue=queue, workdir=workdir, settings=settings)
        if chosen is not None:
            return tuple(chosen)
        with _opened(task.workdir) as folder:
            here = folder.names()
        if all(file.lfn in here for file in task.job.outputs):
            return None
        from pilot_core.control.numbered import numbered

        found = numbered(task.job.outputs, here)
        return None if found == task.job.outputs else found

    def _store(self, task: Task, root: Path, wanted: Iterable[FileSpec], *, forgiving: bool) -> Stored:
        leavings, calls = Leavings(task), Calls(self._means, task)
        mover = Mover(calls, task, leavings.sent)
        with _opened(root) as folder:
            return Storing(self._means, calls, mover, leavings, task, folder, forgiving).store(wanted)


def _result(answers: Sequence[Receipt | PilotError]) -> Result:
    return Result(
        errors=tuple(each for each in answers if isinstance(each, PilotError)),
        receipts=tuple(each for each in answers if isinstance(each, Receipt)),
    )


def _notes(stored: Stored, wanted: Iterable[FileSpec], left: str) -> dict[str, object]:
    """What went nowhere, and what went to another endpoint than it was meant for."""
    meant = {file.lfn: file.endpoint for file in wanted if file.endpoint}
    receipts = [each for each in stored.answers if isinstance(each, Receipt)]
    elsewhere = {each.lfn: each.endpoint for each in receipts if each.endpoint != meant.get(each.lfn, each.endpoint)}
    notes: dict[str, object] = {left: list(stored.left)} if stored.left else {}
    return {**notes, "stored_elsewhere": elsewhere} if elsewhere else notes


@contextmanager
def _opened(root: Path) -> Iterator[Inside]:
    try:
        folder = Inside(root)
    except OSError as error:
        raise PilotError(Code.FILEHANDLINGFAILURE, f"{root}: {error.strerror}") from None
    with folder:
        yield folder


def _cached(task: Task, mover: Mover, root: Path) -> Cached:
    from pilot_core.control.cached import Cached

    return Cached(task, mover, root)


def _cache_of(task: Task) -> Path:
    cache = task.settings.of(DataOptions).cache
    if cache is None:
        raise PilotError(Code.BADQUEUECONFIGURATION, "this workflow wants a cache: set data.cache to a directory")
    return cache
