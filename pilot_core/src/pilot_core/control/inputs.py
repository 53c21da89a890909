"""The inputs of one job: which are there, which are read where they lie, and how the others come."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from posixpath import dirname, normpath
from stat import S_ISREG
from typing import Any, Final

from attrs import frozen

from pilot_core.config.schema import DataOptions
from pilot_core.control.bulk import in_bulk
from pilot_core.control.calls import Calls, Means, Way
from pilot_core.control.lanes import in_lanes
from pilot_core.control.naming import in_agreement, named_once, transfer_of
from pilot_core.control.sides import IN
from pilot_core.control.transfer import Mover
from pilot_core.control.trip import Trip, part_name
from pilot_core.errors import Code, PilotError
from pilot_core.infosys.queue import input_limit_b
from pilot_core.io.files import free_bytes
from pilot_core.io.inside import Inside, Outside
from pilot_core.model.change import evolve
from pilot_core.model.files import FileSpec, Receipt, Replica, Transfer
from pilot_core.plugins.guard import PluginFailed
from pilot_core.spec import staging
from pilot_core.spec.drivers import Fetches, Looks, Moved
from pilot_core.spec.work import Task

PRESENT: Final = "present"
DIRECT: Final = "direct"
"""The direction of a file that is read where it lies."""
UNCHECKED: Final = "remoteio_test=false"
"""Among the remarks of a queue: what is read where it lies is not looked at before."""
Arrive = Callable[[Transfer, Path], Receipt]
Answer = Receipt | PilotError
log = logging.getLogger(__name__)


def wanted_inputs(means: Means, task: Task) -> list[Transfer]:
    """The inputs that are to be brought, and where they lie."""
    answers = means.hooks.gather(staging.pilot_inputs_skip, job=task.job, queue=task.queue, settings=task.settings)
    skipped = {name for answer in answers for name in answer.value}
    files, errors = named_once(IN, [file for file in task.job.inputs if file.lfn not in skipped])
    if errors:
        raise errors[0].among(errors[1:])
    if not files:
        return []
    known, trusted = _looked_up(means, task), task.settings.of(DataOptions).trusted
    return [in_agreement(transfer_of(file, known), trusted) for file in files]


def _looked_up(means: Means, task: Task) -> Mapping[str, Sequence[Replica] | PilotError]:
    """The places that somebody knows of, those first that the queue prefers."""
    about: dict[str, Any] = {"job": task.job, "queue": task.queue, "settings": task.settings}
    found = means.hooks.first(staging.pilot_inputs_replicas, **about)
    if not found:
        return {}
    return {**found, **(means.hooks.first(staging.pilot_inputs_rank, replicas=found, **about) or {})}


def check_tools(means: Means, task: Task, transfers: Sequence[Transfer]) -> None:
    """Raise if there is anything to bring and nothing to bring it with."""
    if transfers and not any(isinstance(tool, Fetches) for tool in means.tools):
        wanted = ", ".join(task.settings.of(DataOptions).copytools) or "none"
        told = f"no copy tool that fetches is installed here, and data.copytools names {wanted}"
        names = ", ".join(each.file.lfn for each in transfers)
        raise PilotError(Code.UNKNOWNCOPYTOOL, f"{names}: {told}; pip install pilot-copytools")


@frozen
class Bringing:
    """The inputs of one job on their way into its directory."""

    means: Means
    calls: Calls
    mover: Mover
    task: Task
    folder: Inside
    arrive: Arrive | None = None
    """How one file comes, where that is not simply by a tool: through the cache."""
    keep: bool = True
    """Whether files come into the job's directory at all."""

    def bring(self, transfers: Sequence[Transfer]) -> tuple[list[Answer], dict[str, Replica]]:
        """The answer of each file, in order, and the places of those that are read where they lie."""
        lanes = self.calls.options.parallel
        done: dict[str, Answer] = {}
        direct: dict[str, Replica] = {}
        if self.keep:
            waiting = in_lanes(self._need_not_come, transfers, lanes, "stage-in")
            for transfer, found in zip(transfers, waiting, strict=True):
                if found is not None:
                    done[transfer.file.lfn], place = found
                    direct.update({transfer.file.lfn: place} if place else {})
        rest = [each for each in transfers if each.file.lfn not in done]
        self._check_room(rest)
        self._bring_copies(rest, done)
        return [done[each.file.lfn] for each in transfers], direct

    # --- what need not come ---

    def _need_not_come(self, transfer: Transfer) -> tuple[Receipt, Replica | None] | None:
        if (receipt := self._present(transfer)) is not None:
            return receipt, None
        return self._opened(transfer) if transfer.file.direct else None

    def _present(self, transfer: Transfer) -> Receipt | None:
        """A file that lies here already, and is the right one."""
        file, began = transfer.file, time.monotonic()
        if file.checksum is None or file.size_b is None:
            return None
        try:
            about = self.folder.stat(transfer.path)
            if not S_ISREG(about.st_mode) or about.st_size != file.size_b:
                return None
            found = self.mover.verify(file, self.folder.root / transfer.path)
        except (PilotError, OSError):
            return None
        place = Replica((self.task.workdir.absolute() / transfer.path).as_uri(), file.endpoint)
        return self.mover.receipt(IN, file, (place, PRESENT), found, time.monotonic() - began)

    def _opened(self, transfer: Transfer) -> tuple[Receipt, Replica] | None:
        """The first place where a payload may read the file and where it lies as it should; else it is copied."""
        for number, way in enumerate(self._looks(transfer), 1):
            began = time.time()
            error = self._look(way, transfer.file)
            self.mover.tell(transfer.file, DIRECT, way, number, (began, time.time()), error)
            if error is None:
                took_s = time.time() - began
                receipt = self.mover.receipt(
                    IN, transfer.file, (way.replica, way.tool.name), _known(transfer.file), took_s
                )
                return evolve(receipt, direction=DIRECT), way.replica
            log.warning("%s cannot be read at %s: %s", transfer.file.lfn, way.replica.shown, error)
        return None

    def _looks(self, transfer: Transfer) -> list[Way]:
        places = [each for each in transfer.candidates if each.direct and not each.signed]
        return [Way(place, tool) for place in places for tool in self.means.able(Looks, place)]

    def _look(self, way: Way, file: FileSpec) -> PilotError | None:
        assert isinstance(way.tool, Looks)
        if UNCHECKED in str(self.task.queue.params.get("catchall", "")).lower():
            return None
        try:
            found = self.calls.look(way.tool, way.replica, file)
        except (PilotError, PluginFailed) as failed:
            return IN.error(failed)
        if found is None:
            return PilotError(Code.MISSINGINPUTFILE, "nothing is there")
        if None not in (found.size_b, file.size_b) and found.size_b != file.size_b:
            return PilotError(IN.mismatch(file), f"size {found.size_b} B is there, {file.size_b} B expected")
        known = file.checksum
        if known and found.checksum and found.checksum.kind == known.kind and found.checksum != known:
            return PilotError(IN.mismatch(file), f"{found.checksum} is there, {known} expected")
        return None

    # --- what comes ---

    def _check_room(self, transfers: Sequence[Transfer]) -> None:
        """Compare what the inputs need, as far as it is known, with what the queue allows and the disk has."""
        task, reserve_b = self.task, self.calls.options.reserve_b
        needed_b = sum(each.file.size_b or 0 for each in transfers)
        if not needed_b:
            return
        most_b = input_limit_b(task.queue)
        if most_b is not None and needed_b > most_b:
            raise PilotError(Code.SIZETOOLARGE, f"the inputs have {needed_b} B, the queue allows {most_b} B")
        free_b = free_bytes(task.workdir)
        if needed_b + reserve_b > free_b:
            told = f"the inputs have {needed_b} B, {free_b} B are free in {task.workdir}, {reserve_b} B are to stay so"
            raise PilotError(Code.NOLOCALSPACE, told)

    def _bring_copies(self, transfers: Sequence[Transfer], done: dict[str, Answer]) -> None:
        lanes = self.calls.options.parallel
        if self.arrive is not None:
            done.update(zip(_names(transfers), in_lanes(self._bring, transfers, lanes, "stage-in"), strict=True))
            return
        trips = [trip for each in transfers if (trip := self._trip(each, done)) is not None]
        groups = in_bulk(self.calls, trips)
        together = {trip.file.lfn for group in groups for trip in group}
        works = [*groups, *([trip] for trip in trips if trip.file.lfn not in together)]
        in_lanes(partial(self._bring_group, done), works, lanes, "stage-in")
        rest = [trip for trip in trips if trip.file.lfn not in done]
        in_lanes(partial(self._go, done), rest, lanes, "stage-in")

    def _trip(self, transfer: Transfer, done: dict[str, Answer]) -> Trip | None:
        try:
            return self.mover.trip(IN, transfer, self.task.workdir / part_name())
        except (PilotError, PluginFailed) as failed:
            done[transfer.file.lfn] = self._error(transfer.file, failed)
        return None

    def _bring_group(self, done: dict[str, Answer], trips: list[Trip]) -> None:
        def arrived(trip: Trip, receipt: Receipt) -> None:
            done[trip.file.lfn] = self._settle(trip, receipt)

        if len(trips) == 1:
            self._go(done, trips[0])
        else:
            self.mover.move_many(IN, trips, arrived)

    def _go(self, done: dict[str, Answer], trip: Trip) -> None:
        try:
            self.mover.check(IN, trip.file.lfn)
            receipt = self.mover.move(trip)
        except (PilotError, PluginFailed, OSError) as failed:
            self.folder.remove_tree(trip.path.name)
            done[trip.file.lfn] = self._error(trip.file, failed)
        else:
            done[trip.file.lfn] = self._settle(trip, receipt)

    def _settle(self, trip: Trip, receipt: Receipt) -> Answer:
        """Give a file its name."""
        try:
            self._give_name(trip.path.name, trip.file.local)
        except OSError as failed:
            self.folder.remove_tree(trip.path.name)
            return self._error(trip.file, failed)
        return self._told(receipt)

    def _give_name(self, part: str, path: str) -> None:
        if above := dirname(path):
            self.folder.makedirs(above)
        self.folder.rename(part, path)

    def _bring(self, transfer: Transfer) -> Answer:
        """Bring a file by way of the cache."""
        assert self.arrive is not None
        part = part_name()
        try:
            self.mover.check(IN, transfer.file.lfn)
            receipt = self.arrive(transfer, self.task.workdir / part)
            if self.keep:
                self._give_name(part, transfer.path)
        except (PilotError, PluginFailed, OSError) as failed:
            return self._error(transfer.file, failed)
        finally:
            self.folder.remove_tree(part)
        return self._told(receipt)

    def _told(self, receipt: Receipt) -> Receipt:
        self.means.tell(self.task.job, receipt)
        return receipt

    def _error(self, file: FileSpec, failed: PilotError | PluginFailed | OSError) -> PilotError:
        return self.means.error(IN, file, failed)

    # --- what plugins write beside ---

    def write_beside(self, direct: Mapping[str, Replica]) -> None:
        """Write what plugins want beside the inputs."""
        job, queue, workdir = self.task.job, self.task.queue, self.task.workdir
        writers = {normpath(file.local): "the job, as an input" for file in job.inputs}
        answers = self.means.hooks.gather(
            staging.pilot_inputs_staged,
            job=job,
            queue=queue,
            workdir=workdir,
            direct=direct,
            settings=self.task.settings,
        )
        for answer in answers:
            for path, text in answer.value.items():
                other = writers.setdefault(normpath(path), f"plugin {answer.plugin}")
                if other != f"plugin {answer.plugin}":
                    told = f"{path}: plugin {answer.plugin} and {other} both write it"
                    raise PilotError(Code.PLUGINFAILED, told, plugin=answer.plugin)
                _write(self.folder, answer.plugin, path, text)


def _known(file: FileSpec) -> Moved:
    return Moved(size_b=file.size_b or 0, checksum=file.checksum)


def _names(transfers: Iterable[Transfer]) -> list[str]:
    return [each.file.lfn for each in transfers]


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
        raise PilotError(IN.error(error).code, f"plugin {plugin}: {path}: {error.strerror}") from None
