"""The outputs of one job, or its log: which are there, where they go, and what is known of them if the pilot dies.

Sizes and sums are in the journal before the first byte leaves, and so is each place before anything is sent there.
A pilot that goes on after a crash begins with the place where a file may lie already. What lies in storage is stored
only when it is registered, where anybody registers.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Sequence

from attrs import field, frozen

from pilot_core.config.schema import DataOptions
from pilot_core.control.bulk import in_bulk
from pilot_core.control.calls import Calls, Means
from pilot_core.control.lanes import in_lanes
from pilot_core.control.naming import named_once, transfer_of
from pilot_core.control.sides import OUT
from pilot_core.control.transfer import Mover
from pilot_core.control.trip import Trip
from pilot_core.errors import Code, PilotError
from pilot_core.io.cancel import Cancelled
from pilot_core.io.checksum import sum_file
from pilot_core.io.inside import Inside, Outside
from pilot_core.model.change import evolve
from pilot_core.model.files import Checksum, FileSpec, Leaving, Receipt, Replica, Transfer
from pilot_core.plugins.guard import PluginFailed
from pilot_core.spec import staging
from pilot_core.spec.drivers import Stores
from pilot_core.spec.work import Task

KIND = "adler32"
Answer = Receipt | PilotError
log = logging.getLogger(__name__)


@frozen
class Stored:
    """What became of files that were to be stored, and the names of those that had nowhere to go."""

    answers: tuple[Answer, ...]
    left: tuple[str, ...] = ()


class Leavings:
    """What the journal knows of outputs on their way; it is told before things happen."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._told = dict(task.job.leaving)
        self._lock = threading.Lock()

    def of(self, name: str) -> Leaving | None:
        """What was told last of this file."""
        return self._told.get(name)

    def ready(self, trips: Iterable[Trip]) -> None:
        """Tell of files as they are on the disk, and where each is sent first; what was told already stays so."""
        self._tell([_leaving(trip.file, trip.ways[0].replica) for trip in trips if not trip.first])

    def sent(self, file: FileSpec, replica: Replica) -> None:
        """Tell where a file is sent now, if that was not told."""
        before = self._told.get(file.lfn)
        if before is None or before.place != replica.shown or before.uploaded is not None:
            self._tell([_leaving(file, replica)])

    def uploaded(self, receipts: Iterable[Receipt]) -> None:
        """Tell of files that lie in storage and are to be registered."""
        self._tell([evolve(self._told[each.lfn], uploaded=each) for each in receipts])

    def _tell(self, leaving: Sequence[Leaving]) -> None:
        with self._lock:
            fresh = [each for each in leaving if self._told.get(each.file.lfn) != each]
            self._told.update({each.file.lfn: each for each in fresh})
        if fresh:
            self._task.leaving(fresh)


def _leaving(file: FileSpec, replica: Replica) -> Leaving:
    return Leaving(file=evolve(file, replicas=()), place=replica.shown)


@frozen
class Storing:
    """Files of one job on their way from a folder into storage."""

    means: Means
    calls: Calls
    mover: Mover
    leavings: Leavings
    task: Task
    folder: Inside
    forgiving: bool
    """Whether it is no error that a file is missing."""
    _done: dict[str, Answer] = field(factory=dict, init=False)

    def store(self, wanted: Iterable[FileSpec]) -> Stored:
        """Store what is there; one failing file stops no other."""
        named, errors = named_once(OUT, wanted)
        files, unmade = self._bundled(named)
        looked = [_look(self.folder, file, self.forgiving) for file in files]
        missing = [each for each in looked if isinstance(each, PilotError)]
        transfers, left = self._places([each for each in looked if isinstance(each, FileSpec)])
        trips = self._trips(transfers)
        self.leavings.ready(trips)
        self._register_left(trips)
        self._move([trip for trip in trips if trip.file.lfn not in self._done])
        moved = [self._done[each.file.lfn] for each in transfers]
        return Stored((*errors, *unmade, *missing, *moved), left)

    def _bundled(self, files: list[FileSpec]) -> tuple[list[FileSpec], list[PilotError]]:
        """The files that are to be stored yet, archives in place of what is in them."""
        stored = self.task.job.stored
        if not any(file.members for file in files):
            return [file for file in files if file.lfn not in stored], []
        from pilot_core.control.bundles import bundle

        return bundle(self.folder, files, stored, self.task.cancel)

    def _places(self, files: Sequence[FileSpec]) -> tuple[list[Transfer], tuple[str, ...]]:
        """Where each file goes, and the names of those that go nowhere."""
        if not files or not any(isinstance(tool, Stores) for tool in self.means.tools):
            return [], tuple(file.lfn for file in files)
        job, queue = self.task.job, self.task.queue
        settings = self.task.settings
        known = self.means.hooks.first(
            staging.pilot_outputs_replicas, job=job, files=tuple(files), queue=queue, settings=settings
        )
        output_dir = settings.of(DataOptions).output_dir
        transfers = self._signed([transfer_of(file, known or {}, output_dir) for file in files])
        return (
            [each for each in transfers if each.candidates or each.error],
            tuple(each.file.lfn for each in transfers if not (each.candidates or each.error)),
        )

    def _signed(self, transfers: list[Transfer]) -> list[Transfer]:
        """The same with signed places where a plugin gives any."""
        job, queue, settings = self.task.job, self.task.queue, self.task.settings
        places = {each.file.lfn: each.candidates for each in transfers if each.candidates}
        if not places:
            return transfers
        ask = self.means.hooks.first
        signed = ask(staging.pilot_outputs_sign, job=job, replicas=places, queue=queue, settings=settings) or {}
        return [transfer_of(each.file, signed) if each.file.lfn in signed else each for each in transfers]

    def _trips(self, transfers: Sequence[Transfer]) -> list[Trip]:
        """The ways of files that can leave, summed from the disk."""
        made = in_lanes(self._trip, transfers, self.calls.options.parallel, "stage-out")
        for transfer, trip in zip(transfers, made, strict=True):
            if isinstance(trip, PilotError):
                self._done[transfer.file.lfn] = trip
        return [each for each in made if isinstance(each, Trip)]

    def _trip(self, transfer: Transfer) -> Trip | PilotError:
        try:
            self.mover.check(OUT, transfer.file.lfn)
            file, path = _summed(self.folder, transfer.file, self.task), self.folder.root / transfer.path
            place = self._place_before(file)
            known = {each.shown for each in transfer.candidates}
            more = (Replica(place),) if place and place not in known else ()
            candidates = (*more, *transfer.candidates)
            return self.mover.trip(OUT, evolve(transfer, file=file, candidates=candidates), path, place)
        except (PilotError, PluginFailed, OSError) as failed:
            return self.means.error(OUT, transfer.file, failed)

    def _place_before(self, file: FileSpec) -> str:
        """Where this very file may lie already, put there by a pilot that died."""
        before = self.leavings.of(file.lfn)
        known = before is not None and (before.file.size_b, before.file.checksum) == (file.size_b, file.checksum)
        return before.place if before is not None and known else ""

    # --- moving ---

    def _move(self, trips: Sequence[Trip]) -> None:
        lanes = self.calls.options.parallel
        groups = in_bulk(self.calls, trips)
        together = {trip.file.lfn for group in groups for trip in group}
        works = [*groups, *([trip] for trip in trips if trip.file.lfn not in together)]
        in_lanes(self._move_group, works, lanes, "stage-out")
        in_lanes(self._go, [trip for trip in trips if trip.file.lfn not in self._done], lanes, "stage-out")

    def _move_group(self, trips: list[Trip]) -> None:
        if len(trips) == 1:
            self._go(trips[0])
            return
        receipts: list[Receipt] = []
        self.mover.move_many(OUT, trips, lambda _, receipt: self._uploaded(receipts, receipt))
        self._register(receipts)

    def _uploaded(self, receipts: list[Receipt], receipt: Receipt) -> None:
        """Count a file of many at once, if nobody is to register it with the others."""
        if self._registers():
            receipts.append(receipt)
        else:
            self._count(receipt)

    def _go(self, trip: Trip) -> None:
        try:
            self.mover.check(OUT, trip.file.lfn)
            receipt = self.mover.move(trip)
        except (PilotError, PluginFailed, OSError) as failed:
            self._done[trip.file.lfn] = self.means.error(OUT, trip.file, failed)
        else:
            self._register([receipt])

    # --- registering ---

    def _registers(self) -> bool:
        return self.means.hooks.answers(staging.pilot_outputs_register)

    def _register_left(self, trips: Sequence[Trip]) -> None:
        """Register what a dead pilot uploaded."""
        told = [self.leavings.of(trip.file.lfn) for trip in trips if trip.first]
        self._register([each.uploaded for each in told if each is not None and each.uploaded is not None])

    def _register(self, receipts: Sequence[Receipt]) -> None:
        """Have files that lie in storage registered, round after round, and count them."""
        waiting = list(receipts)
        if waiting and self._registers():
            self.leavings.uploaded(waiting)
        for number in range(max(self.calls.options.attempts, 1)):
            if not waiting or (number and self.mover.wait(number)):
                break
            errors = self._ask_registrars(waiting)
            for receipt in waiting:
                if receipt.lfn in errors:
                    self._done[receipt.lfn] = errors[receipt.lfn]
                else:
                    self._count(receipt)
            waiting = [each for each in waiting if each.lfn in errors]

    def _ask_registrars(self, receipts: Sequence[Receipt]) -> dict[str, PilotError]:
        job, settings = self.task.job, self.task.settings
        try:
            answers = self.means.hooks.gather(
                staging.pilot_outputs_register, job=job, receipts=tuple(receipts), settings=settings
            )
        except (PilotError, PluginFailed) as failed:
            error = OUT.error(failed)
            told = f"stored at {{}}, but not registered: {error.detail or error.code.sentence}"
            return {each.lfn: PilotError(error.code, f"{each.lfn}: {told.format(each.url)}") for each in receipts}
        return {name: error for answer in reversed(answers) for name, error in answer.value.items()}

    def _count(self, receipt: Receipt) -> None:
        """The file is safe."""
        self._done[receipt.lfn] = receipt
        self.task.stored(receipt)
        self.means.tell(self.task.job, receipt)


def _look(folder: Inside, file: FileSpec, forgiving: bool) -> FileSpec | PilotError | None:
    """The file if it is there to be stored; nothing if it may be missing."""
    try:
        with folder.open_read(file.local) as opened:
            if opened.seek(0, 2):
                return file
    except FileNotFoundError:
        missing = PilotError(Code.MISSINGOUTPUTFILE, f"{file.local} is not in {folder.root}", lfn=file.lfn)
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
        with folder.open_read(file.local) as opened:
            summed = sum_file(opened.fileno(), [kind], cancelled=task.cancel)
    except Cancelled:
        raise PilotError(OUT.failed, f"{file.lfn}: given up, the job is to end") from None
    except OSError as error:
        raise PilotError(Code.CHECKSUMCALCFAILURE, f"{file.lfn}: {error.strerror}") from None
    return evolve(file, size_b=summed.size_b, checksum=Checksum(kind, summed.sums[kind]))
