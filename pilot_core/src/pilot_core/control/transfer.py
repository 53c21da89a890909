"""One file on its way: places and tools in order, round after round, until what lies there is what was asked for.

No tool is believed: what arrived is weighed and summed from the disk, but for a tool of which ``Moved.summed`` says
that the digest was made of the very bytes it wrote. What is wrong is removed before the next try.
"""

from __future__ import annotations

import errno
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import count
from pathlib import Path
from stat import S_ISREG

from attrs import frozen

from pilot_core.config.schema import DataOptions
from pilot_core.control.entrusted import proxy_of
from pilot_core.control.isolated import Verb, run_tool
from pilot_core.control.lanes import UnderWay
from pilot_core.errors import Code, ErrorCode, PilotError, Retry
from pilot_core.io.cancel import Cancelled
from pilot_core.io.checksum import sum_file
from pilot_core.io.inside import Inside
from pilot_core.model.files import Checksum, FileSpec, Receipt, Replica, Transfer
from pilot_core.plugins.guard import PluginFailed, PluginRef
from pilot_core.plugins.hooks import Hooks
from pilot_core.redact import Redactor
from pilot_core.spec.drivers import CopyTool, Fetches, Moved, Moving, Stores
from pilot_core.spec.work import Cancel, Task

ARCHIVE = "archive"
"""The folder in a job's control directory where its log archive is made, and stored from."""
LONGEST_PAUSE_S = 30.0
FULL = (errno.ENOSPC, errno.EDQUOT)
_USELESS = frozenset({Code.MISSINGINPUTFILE, Code.REPLICANOTFOUND, Code.NOSUCHFILE})
_AWAY = frozenset({Code.COMMUNICATIONFAILURE, Code.SERVICENOTAVAILABLE, Code.UNREACHABLENETWORK})
_HOPELESS = frozenset({Retry.NEVER, Retry.COUNTED, Retry.CHANGED})
log = logging.getLogger(__name__)


@frozen
class Side:
    """A direction: what a tool does in it, and the codes of what goes wrong in it."""

    direction: str
    verb: Verb
    tool: type[CopyTool]
    failed: ErrorCode
    expired: ErrorCode
    no_way: ErrorCode
    differs: ErrorCode
    md5_differs: ErrorCode

    def mismatch(self, file: FileSpec) -> ErrorCode:
        """The code of a file that is not what it should be."""
        return self.md5_differs if file.checksum and file.checksum.kind == "md5" else self.differs


IN = Side(
    "in",
    "fetch",
    Fetches,
    Code.STAGEINFAILED,
    Code.STAGEINTIMEOUT,
    Code.NOREPLICAS,
    Code.GETADMISMATCH,
    Code.GETMD5MISMATCH,
)
OUT = Side(
    "out",
    "store",
    Stores,
    Code.STAGEOUTFAILED,
    Code.STAGEOUTTIMEOUT,
    Code.NOSTORAGEPROTOCOL,
    Code.PUTADMISMATCH,
    Code.PUTMD5MISMATCH,
)


@frozen
class Way:
    """A place and a tool that can reach it."""

    replica: Replica
    tool: CopyTool


class Limit:
    """A cancellation that also comes by itself when time is up."""

    def __init__(self, asked: Cancel, limit_s: float | None) -> None:
        self.asked = asked
        self.limit_s = limit_s
        self._until = None if limit_s is None else time.monotonic() + limit_s

    def is_set(self) -> bool:
        """Whether to end now, for either reason."""
        return self.asked.is_set() or self.is_over()

    def is_over(self) -> bool:
        """Whether time is up."""
        return self._until is not None and time.monotonic() >= self._until

    def left_s(self) -> float | None:
        """How long is left."""
        return None if self._until is None else max(self._until - time.monotonic(), 0.0)

    def wait(self, limit_s: float) -> bool:
        """Wait for the end, at most so long; whether it came."""
        left_s = self.left_s()
        return self.asked.wait(limit_s if left_s is None else min(limit_s, left_s)) or self.is_over()


def budget_s(size_b: int | None) -> float:
    """How long one file may take: 400 s and one more for each MB, three hours at most or if the size is unknown."""
    return 10800.0 if size_b is None else min(400.0 + size_b // 1_000_000, 10800.0)


class Mover:
    """Moves files of one task, one a call, from any thread."""

    def __init__(
        self,
        task: Task,
        tools: Sequence[CopyTool],
        hooks: Hooks,
        redactor: Redactor,
        plugins: Mapping[str, PluginRef],
        pause_s: float,
        under_way: UnderWay,
    ) -> None:
        self._tools = tools
        self._hooks = hooks
        self._plugins = plugins
        self._scrub = redactor.scrub
        self._attempts = max(task.settings.of(DataOptions).attempts, 1)
        self._pause_s = pause_s
        self._moving = partial(under_way.move, task.job.id)
        self._limit = Limit(task.cancel, task.budget_s)
        self._full: PilotError | None = None
        self._proxy = proxy_of(task.control)

    def fetch(self, transfer: Transfer, target: Path) -> Receipt:
        """Bring the file to ``target``, which does not exist; nothing is there if this raises."""
        return self._move(IN, transfer, partial(self._fetch_once, transfer.file, target))

    def store(self, transfer: Transfer, source: Path) -> Receipt:
        """Put ``source``, whose size and checksum are the file's, under one of its places."""
        return self._move(OUT, transfer, partial(self._store_once, transfer.file, source))

    def give_up(self, side: Side, name: str) -> PilotError:
        """The error of a file that is not moved because the work is to end, or out of time."""
        if self._limit.asked.is_set():
            return PilotError(side.failed, f"{name}: given up, the job is to end")
        return PilotError(side.expired, f"{name}: no time is left of {self._limit.limit_s or 0.0:g} s")

    def check(self, side: Side, name: str) -> None:
        """Raise where no transfer should begin any more."""
        if self._limit.is_set():
            raise self.give_up(side, name)
        if self._full is not None:
            raise PilotError(self._full.code, f"{name}: not tried, as the disk is full")

    def receipt(self, side: Side, file: FileSpec, way: tuple[Replica, str], moved: Moved, took_s: float) -> Receipt:
        """What is told and kept of a file that was moved and verified."""
        replica, tool = way
        return Receipt(
            lfn=file.lfn,
            direction=side.direction,
            url=self._scrub(replica.url),
            tool=tool,
            size_b=moved.size_b,
            checksum=file.checksum or moved.checksum,
            endpoint=replica.endpoint or file.endpoint,
            guid=file.guid,
            took_s=round(took_s, 6),
        )

    def _move(self, side: Side, transfer: Transfer, once: Callable[[Way], Moved]) -> Receipt:
        ways = self._ways(side, transfer)
        reasons: dict[Way, PilotError] = {}
        for way in self._chances(side, ways, reasons):
            self.check(side, transfer.file.lfn)
            began = time.monotonic()
            try:
                moved = once(way)
            except (PilotError, PluginFailed, OSError) as failed:
                reasons[way] = self._reason(side, transfer.file.lfn, way, failed)
            else:
                took_s = time.monotonic() - began
                return self.receipt(side, transfer.file, (way.replica, way.tool.name), moved, took_s)
        raise self._failure(side, transfer.file.lfn, reasons)

    def _chances(self, side: Side, ways: Sequence[Way], reasons: Mapping[Way, PilotError]) -> Iterator[Way]:
        """The ways in order, again and again, without those that ``reasons`` say are hopeless.

        After so many rounds as the site allows, outputs still wait for a storage that is out of reach: it comes back.
        """
        for number in count():
            hopeful = [way for way in ways if way not in reasons or _is_hopeful(reasons[way])]
            if number >= self._attempts:
                hopeful = [way for way in hopeful if side is OUT and _passes(reasons[way])]
            if not hopeful:
                return
            if number:
                self._limit.wait(self._pause(number))
            for way in hopeful:
                if reasons and self._limit.is_over():
                    return
                yield way

    def _ways(self, side: Side, transfer: Transfer) -> list[Way]:
        """Places outer, tools inner: another copy by the best tool before the same by a weaker one."""
        name, able = transfer.file.lfn, [tool for tool in self._tools if isinstance(tool, side.tool)]
        ways = [
            Way(replica, tool)
            for replica in transfer.candidates
            for tool in able
            if self._hooks.guarded(self._plugin(tool), "takes", tool.takes, replica)
        ]
        if ways:
            return ways
        places = ", ".join(self._scrub(each.url) for each in transfer.candidates)
        tools = ", ".join(tool.name for tool in able) or "none"
        told = f"no copy tool here ({tools}) can reach {places}" if places else "no place of it is known"
        raise PilotError(side.no_way, f"{name}: {told}")

    def _pause(self, number: int) -> float:
        from random import random

        return min(self._pause_s * 2.0 ** min(number - 1, 16), LONGEST_PAUSE_S) * (0.5 + random() / 2)

    def _fetch_once(self, file: FileSpec, target: Path, way: Way) -> Moved:
        with ExitStack() as unless_right:
            unless_right.callback(remove, target)
            moved = self.verify(file, target, self._call(IN, way, target, file))
            unless_right.pop_all()
        return moved

    def _store_once(self, file: FileSpec, source: Path, way: Way) -> Moved:
        moved = self._call(OUT, way, source, file)
        if moved.size_b != file.size_b:
            raise PilotError(OUT.mismatch(file), f"size {moved.size_b} B at the far end, {file.size_b} B here")
        told = moved.checksum
        if told and file.checksum and told.kind == file.checksum.kind and told != file.checksum:
            raise PilotError(OUT.mismatch(file), f"{told} at the far end, {file.checksum} here")
        return moved

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

    def _call(self, side: Side, way: Way, path: Path, file: FileSpec) -> Moved:
        left_s = self._limit.left_s()
        own_s = budget_s(file.size_b)
        limit = Limit(self._limit.asked, own_s if left_s is None else min(own_s, left_s))
        try:
            with self._moving(file.lfn, side.direction, file.size_b) as progress:
                moving = Moving(cancel=limit, budget_s=limit.limit_s, progress=progress.tell, proxy=self._proxy)
                args = (way.tool, side.verb, path, way.replica, file, moving, limit.asked, side.expired)
                run = partial(run_tool, *args)
                return self._hooks.guarded(self._plugin(way.tool), side.verb, run)
        except (PilotError, PluginFailed):
            if limit.is_over() and not limit.asked.is_set():
                raise PilotError(side.expired, f"not done after {limit.limit_s:g} s") from None
            raise

    def _plugin(self, tool: CopyTool) -> PluginRef:
        return self._plugins.get(tool.name) or PluginRef(tool.name)

    def _reason(self, side: Side, name: str, way: Way, failed: PilotError | PluginFailed | OSError) -> PilotError:
        """Why a way failed; raises where no other way should be tried."""
        if self._limit.asked.is_set():
            raise self.give_up(side, name) from failed
        error = as_error(side, failed)
        log.warning("%s by %s, %s: %s", name, way.tool.name, way.replica.url, error)
        if error.code is Code.NOLOCALSPACE:
            self._full = self._failure(side, name, {way: error})
            raise self._full from failed
        return error

    def _failure(self, side: Side, name: str, reasons: Mapping[Way, PilotError]) -> PilotError:
        """What the job is told: the first reason that says something sure decides the code."""
        known = [error.code for error in reasons.values() if not error.code.vague]
        told = "; ".join(
            f"{way.tool.name} {way.replica.url}: {error.detail or error.code.sentence}"
            for way, error in reasons.items()
        )
        facts = {"lfn": name, "tried": len(reasons)}
        return PilotError(known[0] if known else side.failed, self._scrub(f"{name}: {told}"), **facts)


def _passes(error: PilotError) -> bool:
    """Whether a failure is one that a storage comes back from, or that somebody is about to mend."""
    return error.code in _AWAY or bool(error.facts.get("passes"))


def _is_hopeful(error: PilotError) -> bool:
    """Whether the same way may still work later."""
    return error.code not in _USELESS and error.code.retry not in _HOPELESS


def as_error(side: Side, failed: PilotError | PluginFailed | OSError) -> PilotError:
    cause = failed.cause if isinstance(failed, PluginFailed) else failed
    if isinstance(cause, OSError) and cause.errno in FULL:
        return PilotError(Code.NOLOCALSPACE if side is IN else Code.NOREMOTESPACE, str(cause))
    return failed if isinstance(failed, PilotError) else PilotError(side.failed, str(failed))


def remove(path: Path) -> None:
    """Remove whatever a tool left under this name."""
    with Inside(path.parent) as folder:
        folder.remove_tree(path.name)


def part_name() -> str:
    """A name for what is still on its way."""
    return f".{os.urandom(6).hex()}.part"
