"""Data Control: brings a job's inputs, stores its outputs and its log.

How one file is moved stands in ``transfer``; here stands which files, from and to where, and what their failures mean
for the job. A failing file never stops the others, unless the disk is full.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from posixpath import dirname, normpath
from typing import TYPE_CHECKING
from urllib.parse import quote

from attrs import evolve, frozen

from pilot_core.config.schema import DataOptions
from pilot_core.control.blame import by_plugin
from pilot_core.control.lanes import UnderWay, in_lanes
from pilot_core.control.transfer import ARCHIVE, IN, OUT, Mover, Side, as_error, part_name
from pilot_core.errors import Code, PilotError
from pilot_core.io.cancel import Cancelled
from pilot_core.io.checksum import sum_file
from pilot_core.io.files import free_bytes
from pilot_core.io.inside import Inside, Outside
from pilot_core.machine.events import Result
from pilot_core.model.files import Checksum, FileSpec, Receipt, Replica, Transfer
from pilot_core.model.names import LONGEST_NAME_B, UnsafeName, safe_name
from pilot_core.plugins.guard import PluginFailed, PluginRef
from pilot_core.plugins.hooks import Hooks
from pilot_core.redact import Redactor
from pilot_core.spec import staging
from pilot_core.spec.drivers import CopyTool, Fetches, Stores
from pilot_core.spec.work import Task

if TYPE_CHECKING:
    from pilot_core.control.cached import Cached

FIRST_PAUSE_S = 0.5
KIND = "adler32"
log = logging.getLogger(__name__)

Arrive = Callable[[Transfer, Path], Receipt]


class DataControl:
    """The works that move files; made once, it keeps nothing about any job but how far its files have come.

    ``plugins`` says whose each tool is, by its name, so that a failing one is named in full. ``pause_s`` is the
    longest pause before a second round through a file's places; each further one may be twice as long.
    """

    def __init__(
        self,
        hooks: Hooks,
        tools: Sequence[CopyTool],
        redactor: Redactor,
        *,
        plugins: Mapping[str, PluginRef] | None = None,
        pause_s: float = FIRST_PAUSE_S,
    ) -> None:
        self._hooks = hooks
        self._tools = tuple(tools)
        self._redactor = redactor
        self._plugins = plugins or {}
        self._pause_s = pause_s
        self.under_way = UnderWay()

    # --- inputs -----------------------------------------------------------------------------------------------------

    def stage_in(self, task: Task) -> Result:
        """Bring the job's inputs into its directory, by way of the cache if there is one."""
        mover, cache = self._mover(task), task.settings.of(DataOptions).cache
        transfers = self._inputs(task)
        self._check_tools(task, transfers)
        arrive = mover.fetch if cache is None else _cached(task, mover, cache).fetch
        return self._bring_all(task, mover, transfers, arrive)

    def fill_cache(self, task: Task) -> Result:
        """Bring the job's inputs into the cache, and none into its directory."""
        mover, cache = self._mover(task), _cache_of(task)
        transfers = self._inputs(task)
        self._check_tools(task, transfers)
        return self._bring_all(task, mover, transfers, _cached(task, mover, cache).fill, keep=False)

    def take_inputs(self, task: Task) -> Result:
        """Bring the job's inputs from the cache; what is not there is an error."""
        mover, cache = self._mover(task), _cache_of(task)
        return self._bring_all(task, mover, self._inputs(task), _cached(task, mover, cache).take)

    def _inputs(self, task: Task) -> list[Transfer]:
        answers = self._hooks.gather(staging.pilot_inputs_skip, job=task.job, queue=task.queue)
        skipped = {name for answer in answers for name in answer.value}
        files, errors = _by_name(IN, [file for file in task.job.inputs if file.lfn not in skipped])
        if errors:
            raise errors[0].among(errors[1:])
        if not files:
            return []
        known = self._hooks.first(staging.pilot_inputs_replicas, job=task.job, queue=task.queue) or {}
        return [_transfer(file, known) for file in files]

    def _check_tools(self, task: Task, transfers: Sequence[Transfer]) -> None:
        if transfers and not any(isinstance(tool, Fetches) for tool in self._tools):
            wanted = ", ".join(task.settings.of(DataOptions).copytools) or "none"
            told = f"no copy tool that fetches is installed here, and data.copytools names {wanted}"
            raise PilotError(Code.UNKNOWNCOPYTOOL, f"{_names(transfers)}: {told}; pip install pilot-copytools")

    def _bring_all(
        self, task: Task, mover: Mover, transfers: Sequence[Transfer], arrive: Arrive, keep: bool = True
    ) -> Result:
        _check_room(task, transfers)
        with _opened(task.workdir) as folder:
            bring = partial(self._bring, task, mover, folder, arrive, keep)
            answers = in_lanes(bring, transfers, task.settings.of(DataOptions).parallel, "stage-in")
            result = _result(answers)
            if keep and not result.errors:
                self._write_beside(task, folder)
        return result

    def _bring(
        self, task: Task, mover: Mover, folder: Inside, arrive: Arrive, keep: bool, transfer: Transfer
    ) -> Receipt | PilotError:
        part = part_name()
        try:
            mover.check(IN, transfer.file.lfn)
            receipt = arrive(transfer, task.workdir / part)
            if keep:
                folder.rename(part, transfer.path)
        except (PilotError, PluginFailed, OSError) as failed:
            return self._error(IN, transfer.file, failed)
        finally:
            folder.remove_tree(part)
        self._tell(task, receipt)
        return receipt

    def _write_beside(self, task: Task, folder: Inside) -> None:
        """Write what plugins want beside the inputs."""
        writers = {file.lfn: "the job, as an input" for file in task.job.inputs}
        answers = self._hooks.gather(staging.pilot_inputs_staged, job=task.job, queue=task.queue, workdir=task.workdir)
        for answer in answers:
            for path, text in answer.value.items():
                other = writers.setdefault(normpath(path), f"plugin {answer.plugin}")
                if other != f"plugin {answer.plugin}":
                    told = f"{path}: plugin {answer.plugin} and {other} both write it"
                    raise PilotError(Code.PLUGINFAILED, told, plugin=answer.plugin)
                _write(folder, answer.plugin, path, text)

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
        stored = self._store_all(task, task.workdir, wanted, forgiving=bool(task.job.errors))
        notes = {"left_in_workdir": list(stored.left)} if stored.left else {}
        return evolve(_result(stored.answers), outputs=selected, notes=notes)

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
        stored = self._store_all(task, folder, (task.job.log,), forgiving=True)
        notes = {"left_in_control": list(stored.left)} if stored.left else {}
        return evolve(_result(stored.answers), notes=notes)

    def _selected(self, task: Task) -> tuple[FileSpec, ...] | None:
        """The outputs that a plugin names; only a payload that ran has any to choose from."""
        if task.job.outcome is None:
            return None
        chosen = self._hooks.first(staging.pilot_outputs_select, job=task.job, workdir=task.workdir)
        return None if chosen is None else tuple(chosen)

    def _store_all(self, task: Task, root: Path, wanted: Iterable[FileSpec], forgiving: bool) -> _Stored:
        files, errors = _by_name(OUT, [file for file in wanted if file.lfn not in task.job.stored])
        with _opened(root) as folder:
            looked = [_look(folder, file, forgiving) for file in files]
            missing = [each for each in looked if isinstance(each, PilotError)]
            here = [each for each in looked if isinstance(each, FileSpec)]
            transfers, left = self._places(task, here)
            store = partial(self._store, task, self._mover(task), folder)
            answers = in_lanes(store, transfers, task.settings.of(DataOptions).parallel, "stage-out")
        return _Stored((*errors, *missing, *answers), left)

    def _places(self, task: Task, files: Sequence[FileSpec]) -> tuple[list[Transfer], tuple[str, ...]]:
        """Where each file goes, and the names of those that go nowhere."""
        if not files or not any(isinstance(tool, Stores) for tool in self._tools):
            return [], tuple(file.lfn for file in files)
        known = self._hooks.first(staging.pilot_outputs_replicas, job=task.job, files=tuple(files), queue=task.queue)
        output_dir = task.settings.of(DataOptions).output_dir
        transfers = [_transfer(file, known or {}, output_dir) for file in files]
        return (
            [each for each in transfers if each.candidates],
            tuple(each.file.lfn for each in transfers if not each.candidates),
        )

    def _store(self, task: Task, mover: Mover, folder: Inside, transfer: Transfer) -> Receipt | PilotError:
        try:
            mover.check(OUT, transfer.file.lfn)
            summed = evolve(transfer, file=_summed(folder, transfer.file, task))
            receipt = mover.store(summed, folder.root / transfer.path)
        except (PilotError, PluginFailed, OSError) as failed:
            return self._error(OUT, transfer.file, failed)
        task.stored(receipt)
        self._tell(task, receipt)
        return receipt

    # --- both -------------------------------------------------------------------------------------------------------

    def _mover(self, task: Task) -> Mover:
        return Mover(task, self._tools, self._hooks, self._redactor, self._plugins, self._pause_s, self.under_way)

    def _error(self, side: Side, file: FileSpec, failed: PilotError | PluginFailed | OSError) -> PilotError:
        error = as_error(side, failed)
        if isinstance(failed, PilotError):
            return error
        return PilotError(error.code, self._redactor.scrub(f"{file.lfn}: {error.detail}"))

    def _tell(self, task: Task, receipt: Receipt) -> None:
        log.info("%s %s by %s: %s", receipt.direction, receipt.lfn, receipt.tool, receipt.url)
        self._hooks.tell(staging.pilot_file_moved, job=task.job, receipt=receipt)


@frozen
class _Stored:
    answers: tuple[Receipt | PilotError, ...]
    left: tuple[str, ...]


def _result(answers: Sequence[Receipt | PilotError]) -> Result:
    return Result(
        errors=tuple(each for each in answers if isinstance(each, PilotError)),
        receipts=tuple(each for each in answers if isinstance(each, Receipt)),
    )


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


def _names(transfers: Iterable[Transfer]) -> str:
    return ", ".join(each.file.lfn for each in transfers)


def _by_name(side: Side, files: Iterable[FileSpec]) -> tuple[list[FileSpec], list[PilotError]]:
    """The files whose names may be used, each once, and what is wrong with the others."""
    good: dict[str, FileSpec] = {}
    errors = []
    for file in files:
        try:
            safe_name(file.lfn)
        except UnsafeName as unsafe:
            too_long = len(file.lfn.encode(errors="replace")) > LONGEST_NAME_B
            errors.append(PilotError(Code.LFNTOOLONG if too_long else Code.BADOUTPUTFILENAME, str(unsafe)))
            continue
        if good.setdefault(file.lfn, file) is not file:
            errors.append(PilotError(side.failed, f"{file.lfn}: two files of the job have this name"))
    return list(good.values()), errors


def _transfer(file: FileSpec, known: Mapping[str, Sequence[Replica]], output_dir: str = "") -> Transfer:
    candidates = tuple(known.get(file.lfn, file.replicas))
    if not candidates and output_dir:
        name = quote(file.lfn) if "://" in output_dir else file.lfn
        candidates = (Replica(f"{output_dir.rstrip('/')}/{name}"),)
    return Transfer(file=file, path=file.lfn, candidates=candidates)


def _check_room(task: Task, transfers: Sequence[Transfer]) -> None:
    """Compare what the inputs need, as far as it is known, with what the queue allows and the disk has."""
    needed_b = sum(each.file.size_b or 0 for each in transfers)
    if not needed_b:
        return
    if task.queue.disk_b and needed_b > task.queue.disk_b:
        raise PilotError(Code.SIZETOOLARGE, f"the inputs have {needed_b} B, the queue allows {task.queue.disk_b} B")
    free_b = free_bytes(task.workdir)
    if needed_b > free_b:
        told = f"the inputs have {needed_b} B, {free_b} B are free in {task.workdir}"
        raise PilotError(Code.NOLOCALSPACE, told)


def _write(folder: Inside, plugin: str, path: str, text: str) -> None:
    try:
        if above := dirname(normpath(path)):
            folder.makedirs(above)
        with folder.open_write(path) as file:
            file.write(text.encode())
    except Outside as outside:
        told = f"plugin {plugin} may not write {path}: {outside}"
        raise PilotError(Code.PLUGINFAILED, told, plugin=plugin) from None
    except OSError as error:
        raise PilotError(as_error(IN, error).code, f"plugin {plugin}: {path}: {error.strerror}") from None


def _look(folder: Inside, file: FileSpec, forgiving: bool) -> FileSpec | PilotError | None:
    """The file if it is there to be stored; nothing if it may be missing."""
    try:
        with folder.open_read(file.lfn) as opened:
            if opened.seek(0, 2):
                return file
    except FileNotFoundError:
        missing = PilotError(Code.MISSINGOUTPUTFILE, f"{file.lfn} is not in {folder.root}", lfn=file.lfn)
        return None if forgiving or file.optional else missing
    except Outside as outside:
        return PilotError(Code.MISSINGOUTPUTFILE, str(outside), lfn=file.lfn)
    except OSError as error:
        return PilotError(Code.FILEHANDLINGFAILURE, f"{file.lfn}: {error.strerror}", lfn=file.lfn)
    return None if forgiving else PilotError(Code.ZEROFILESIZE, f"{file.lfn} has 0 B", lfn=file.lfn)


def _summed(folder: Inside, file: FileSpec, task: Task) -> FileSpec:
    """The file with the size and the checksum of what lies on the disk."""
    kind = file.checksum.kind if file.checksum else KIND
    try:
        with folder.open_read(file.lfn) as opened:
            summed = sum_file(opened.fileno(), [kind], cancelled=task.cancel)
    except Cancelled:
        raise PilotError(OUT.failed, f"{file.lfn}: given up, the job is to end") from None
    except OSError as error:
        raise PilotError(Code.CHECKSUMCALCFAILURE, f"{file.lfn}: {error.strerror}") from None
    return evolve(file, size_b=summed.size_b, checksum=Checksum(kind, summed.sums[kind]))
