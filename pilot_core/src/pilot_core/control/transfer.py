"""Files on their way: places and tools in order, round after round, until what lies there is what was asked for.

No tool is believed: what arrived is weighed and summed from the disk, but for a tool of which ``Moved.summed`` says
that the digest was made of the very bytes it wrote. What is wrong is removed before the next try. Many files of one
host go in one call where a tool can do that; those that fail go on by themselves, from where they stand.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import count
from pathlib import Path
from stat import S_ISREG

from pilot_core.control.calls import Calls, Way
from pilot_core.control.sides import IN, OUT, Failure, Side
from pilot_core.control.trip import Trip, passes
from pilot_core.errors import Code, PilotError
from pilot_core.io.cancel import Cancelled
from pilot_core.io.checksum import sum_file
from pilot_core.model.change import evolve
from pilot_core.model.files import Attempt, Checksum, FileSpec, Receipt, Replica, Transfer
from pilot_core.plugins.guard import PluginFailed
from pilot_core.spec import staging
from pilot_core.spec.drivers import Looks, Moved, Wanted
from pilot_core.spec.work import Task

ARCHIVE = "archive"
"""The folder in a job's control directory where its log archive is made, and stored from."""
LONGEST_PAUSE_S = 30.0
_SURE = frozenset({Code.FILEEXISTS, Code.NOREMOTESPACE, Code.STAGEOUTAUTHENTICATIONFAILURE, Code.PUTADMISMATCH})
"""Failures to store that leave no doubt that the file is not there."""
log = logging.getLogger(__name__)


class Mover:
    """Moves files of one task, from any thread. ``leaves`` is told of each place before anything is sent there."""

    def __init__(self, calls: Calls, task: Task, leaves: Callable[[FileSpec, Replica], None] | None = None) -> None:
        self._calls = calls
        self._means = calls.means
        self._scrub = calls.means.redactor.scrub
        self._job = task.job
        self._settings = task.settings
        self._leaves = leaves
        self._attempts = max(calls.options.attempts, 1)
        self._asked = time.time()
        self._limit = calls.limit
        self._full: PilotError | None = None

    # --- what is asked for ---

    def trip(self, side: Side, transfer: Transfer, path: Path, place: str = "") -> Trip:
        """The way of a file, not begun yet: from its places to ``path``, where nothing is, or from there to one.

        ``place`` is where it may lie already.
        """
        ways = self._ways(side, transfer)
        first = [way for way in ways if way.replica.shown == place]
        return Trip(side, transfer.file, path, [*first, *(way for way in ways if way not in first)], first)

    def move(self, trip: Trip) -> Receipt:
        """Move one file; nothing is at the target if this raises."""
        try:
            for way in self._chances(trip):
                self.check(trip.side, trip.file.lfn)
                if (receipt := self._try(trip, way)) is not None:
                    return receipt
        finally:
            trip.forget()
        raise self._failure(trip)

    def fetch(self, transfer: Transfer, target: Path) -> Receipt:
        """Bring the file to ``target``, which does not exist; nothing is there if this raises."""
        return self.move(self.trip(IN, transfer, target))

    def move_many(self, side: Side, trips: Sequence[Trip], done: Callable[[Trip, Receipt], None]) -> None:
        """Move files in one call, by the tool and the host of their first ways; ``done`` is told and must not raise.

        Those that fail know why then, and can be moved by themselves.
        """
        by_path = {trip.path: trip for trip in trips}
        began = time.time()
        for trip in trips:
            self._leave(trip, trip.ways[0])

        def hear(wanted: Wanted, answer: Moved | PilotError) -> None:
            trip = by_path.pop(wanted.path)
            receipt = self._arrive(trip, began, answer)
            if receipt is not None:
                done(trip, receipt)

        wanted = [Wanted(trip.ways[0].replica, trip.path, trip.file) for trip in trips]
        silent: Failure = PilotError(side.failed, "the copy tool did not answer for this file")
        try:
            self._calls.move_many(side, trips[0].ways[0].tool, wanted, hear)
        except (PilotError, PluginFailed, OSError) as failed:
            silent = failed
        for trip in by_path.values():
            with suppress(PilotError):
                self._fail(trip, trip.ways[0], (began, time.time()), silent)
            if side is OUT:
                trip.reasons.clear()  # it may lie there: nobody sends it elsewhere before it was sent there again

    # --- one try ---

    def _try(self, trip: Trip, way: Way) -> Receipt | None:
        self._leave(trip, way)
        began, kept_b = time.time(), trip.take_up(way)
        try:
            moved: Moved | Failure = self._calls.move(trip.side, way, trip.path, trip.file, kept_b)
        except (PilotError, PluginFailed, OSError) as failed:
            moved = failed
        return self._judge(trip, way, began, moved)

    def _arrive(self, trip: Trip, began: float, answer: Moved | Failure) -> Receipt | None:
        """Judge a file of many, whose only error may be that the work was to end."""
        with suppress(PilotError):
            return self._judge(trip, trip.ways[0], began, answer)
        return None

    def _judge(self, trip: Trip, way: Way, began: float, answer: Moved | Failure) -> Receipt | None:
        """The receipt of a file that is right; nothing if it is not, which is remembered."""
        ended = time.time()
        try:
            if not isinstance(answer, Moved):
                raise answer
            found = self.verify(trip.file, trip.path, answer) if trip.side is IN else _check_stored(trip.file, answer)
        except (PilotError, PluginFailed, OSError) as failed:
            doubtful = trip.side is OUT and self._lies_there(trip, way, failed)
            if not doubtful:
                self._fail(trip, way, (began, ended), failed)
                return None
            found = Moved(size_b=trip.file.size_b or 0, checksum=trip.file.checksum)
        self._tell(trip, way, (began, ended), None)
        return self.receipt(trip.side, trip.file, (way.replica, way.tool.name), found, ended - began)

    def _fail(self, trip: Trip, way: Way, times: tuple[float, float], failed: Failure) -> None:
        """Remember why a way failed; raises where no other way should be tried."""
        error = trip.side.error(failed)
        error = PilotError(error.code, way.replica.hide(error.detail), **error.facts)
        trip.keep(way, error)
        self._tell(trip, way, times, error)
        trip.reasons[way] = error
        if self._limit.asked.is_set():
            raise self.give_up(trip.side, trip.file.lfn) from failed
        log.warning("%s by %s, %s: %s", trip.file.lfn, way.tool.name, way.replica.shown, error)
        if error.code is Code.NOLOCALSPACE and self._full is None:
            trip.reasons = {way: error}
            self._full = self._failure(trip)
            self._limit.end(self._full)
            raise self._full from failed
        self._check_full(trip.file.lfn)

    def _lies_there(self, trip: Trip, way: Way, failed: Failure) -> bool:
        """Whether a file lies where it could not be stored: an answer was lost, or whoever stored it was ended."""
        error = trip.side.error(failed)
        if not isinstance(way.tool, Looks) or error.code in _SURE or self._limit.asked.is_set():
            return False
        try:
            found = self._calls.look(way.tool, way.replica, trip.file)
        except (PilotError, PluginFailed):
            return False
        return found is not None and (found.size_b, found.checksum) == (trip.file.size_b, trip.file.checksum)

    def _leave(self, trip: Trip, way: Way) -> None:
        if trip.side is OUT and self._leaves is not None:
            self._leaves(trip.file, way.replica)

    # --- whether to go on ---

    def give_up(self, side: Side, name: str) -> PilotError:
        """The error of a file that is not moved because the work is to end, or out of time."""
        if self._limit.asked.is_set():
            return PilotError(side.failed, f"{name}: given up, the job is to end")
        return PilotError(side.expired, f"{name}: no time is left of {self._limit.limit_s or 0.0:g} s")

    def check(self, side: Side, name: str) -> None:
        """Raise where no transfer should begin any more."""
        self._check_full(name)
        if self._limit.is_set():
            raise self.give_up(side, name)

    def _check_full(self, name: str) -> None:
        if self._full is not None:
            raise PilotError(self._full.code, f"{name}: not tried any further, as the disk is full")

    def _chances(self, trip: Trip) -> Iterator[Way]:
        """The ways in order, again and again, without those that are known to be hopeless.

        After so many rounds as the site allows, outputs still wait for a storage that is out of reach: it comes back.
        """
        if trip.first:
            yield from self._rounds(trip, trip.first, partial(range, self._attempts))
        yield from self._rounds(trip, trip.ways, count)

    def _rounds(self, trip: Trip, ways: Sequence[Way], numbers: Callable[[], Iterable[int]]) -> Iterator[Way]:
        for number in numbers():
            hopeful = [way for way in ways if trip.has_chance(way, number)]
            if number >= self._attempts:
                hopeful = [way for way in hopeful if trip.side is OUT and passes(trip.reasons[way])]
            elif number == 0 and not hopeful:
                continue
            if not hopeful:
                return
            if number:
                self._limit.wait(self.pause_s(number))
            for way in hopeful:
                if trip.reasons and self._limit.is_over():
                    return
                yield way

    def pause_s(self, number: int) -> float:
        """How long to wait before round ``number``: longer each time, and never the same for everybody."""
        from random import random

        return min(self._means.pause_s * 2.0 ** min(number - 1, 16), LONGEST_PAUSE_S) * (0.5 + random() / 2)

    def wait(self, number: int) -> bool:
        """Wait before round ``number`` of something that failed; whether the end came meanwhile."""
        return self._limit.wait(self.pause_s(number))

    def _ways(self, side: Side, transfer: Transfer) -> list[Way]:
        """Places outer, tools inner: another copy by the best tool before the same by a weaker one."""
        if transfer.error is not None:
            raise transfer.error
        places = transfer.candidates
        if ways := [Way(place, tool) for place in places for tool in self._means.able(side.tool, place)]:
            return ways
        shown = ", ".join(self._scrub(each.shown) for each in places)
        tools = ", ".join(tool.name for tool in self._means.tools if isinstance(tool, side.tool)) or "none"
        told = f"no copy tool here ({tools}) can reach {shown}" if places else "no place of it is known"
        raise PilotError(side.no_way, f"{transfer.file.lfn}: {told}")

    # --- what lies on the disk ---

    def verify(self, file: FileSpec, path: Path, moved: Moved | None = None) -> Moved:
        """Compare what lies at ``path`` with what the job says of the file; gives what is known of it then."""
        about = path.stat()
        if not S_ISREG(about.st_mode):
            raise PilotError(IN.failed, "what arrived is no regular file")
        for expected_b in (file.size_b, moved and moved.size_b):
            if expected_b is not None and about.st_size != expected_b:
                raise PilotError(IN.mismatch(file), f"size {about.st_size} B arrived, {expected_b} B expected")
        found = self._digest(file, path, moved)
        if file.checksum is not None and found != file.checksum:
            raise PilotError(IN.mismatch(file), f"{found} arrived, {file.checksum} expected")
        return Moved(size_b=about.st_size, checksum=found)

    def _digest(self, file: FileSpec, path: Path, moved: Moved | None) -> Checksum | None:
        if file.checksum is None:
            return moved.checksum if moved else None
        kind = file.checksum.kind
        if moved and moved.summed and moved.checksum and moved.checksum.kind == kind:
            return moved.checksum
        try:
            return Checksum(kind, sum_file(path, [kind], cancelled=self._limit).sums[kind])
        except Cancelled:
            raise self.give_up(IN, file.lfn) from None

    # --- what is told ---

    def receipt(self, side: Side, file: FileSpec, way: tuple[Replica, str], moved: Moved, took_s: float) -> Receipt:
        """What is told and kept of a file that was moved and verified."""
        replica, tool = way
        return Receipt(
            lfn=file.lfn,
            direction=side.direction,
            url=self._scrub(replica.shown),
            tool=tool,
            size_b=moved.size_b,
            checksum=file.checksum or moved.checksum,
            endpoint=replica.endpoint or file.endpoint,
            guid=file.guid,
            took_s=round(took_s, 6),
        )

    def _tell(self, trip: Trip, way: Way, times: tuple[float, float], error: PilotError | None) -> None:
        trip.tries += 1
        if self._means.hooks.listens(staging.pilot_transfer_tried):
            self.tell(trip.file, trip.side.direction, way, trip.tries, times, error)

    def tell(
        self,
        file: FileSpec,
        direction: str,
        way: Way,
        number: int,
        times: tuple[float, float],
        error: PilotError | None,
    ) -> None:
        """Tell of a try: when it began and when the bytes were there, and what went wrong."""
        attempt = Attempt(
            file=evolve(file, replicas=()),
            direction=direction,
            replica=evolve(way.replica, url=self._scrub(way.replica.shown)),
            tool=way.tool.name,
            number=number,
            asked=self._asked,
            began=times[0],
            moved=times[1],
            ended=time.time(),
            error=error and PilotError(error.code, self._scrub(error.detail), **error.facts),
        )
        attempt = evolve(attempt, facts=self._facts(attempt))
        self._means.hooks.tell(staging.pilot_transfer_tried, job=self._job, attempt=attempt, settings=self._settings)

    def _facts(self, attempt: Attempt) -> dict[str, object]:
        try:
            answers = self._means.hooks.gather(staging.pilot_transfer_facts, job=self._job, attempt=attempt)
        except (PilotError, PluginFailed) as failed:
            log.warning("nothing is added to what is told of %s: %s", attempt.file.lfn, failed)
            return {}
        return {name: value for answer in reversed(answers) for name, value in answer.value.items()}

    def _failure(self, trip: Trip) -> PilotError:
        """What the job is told: the first reason that says something sure decides the code."""
        known = [error.code for error in trip.reasons.values() if not error.code.vague]
        told = "; ".join(
            f"{way.tool.name} {way.replica.shown}: {error.detail or error.code.sentence}"
            for way, error in trip.reasons.items()
        )
        facts: dict[str, object] = {"lfn": trip.file.lfn, "tried": len(trip.reasons)}
        if any(error.facts.get("superseded") for error in trip.reasons.values()):
            facts["superseded"] = True
        return PilotError(known[0] if known else trip.side.failed, self._scrub(f"{trip.file.lfn}: {told}"), **facts)


def _check_stored(file: FileSpec, moved: Moved) -> Moved:
    if moved.size_b != file.size_b:
        raise PilotError(OUT.mismatch(file), f"size {moved.size_b} B at the far end, {file.size_b} B here")
    told = moved.checksum
    if told and file.checksum and told.kind == file.checksum.kind and told != file.checksum:
        raise PilotError(OUT.mismatch(file), f"{told} at the far end, {file.checksum} here")
    return moved
