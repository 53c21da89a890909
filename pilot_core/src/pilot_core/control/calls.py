"""Calls of copy tools for one piece of work: each limited, watched, and shown while it lasts."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path
from urllib.parse import urlsplit

from attrs import frozen

from pilot_core.config.schema import DataOptions
from pilot_core.control.entrusted import proxy_of
from pilot_core.control.isolated import run_look, run_many, run_tool
from pilot_core.control.lanes import UnderWay
from pilot_core.control.limits import Call, Limit, Lookout
from pilot_core.control.sides import IN, Failure, Side
from pilot_core.errors import Code, PilotError
from pilot_core.model.files import FileSpec, Receipt, Replica
from pilot_core.model.job import Job
from pilot_core.plugins.guard import PluginFailed, PluginRef
from pilot_core.plugins.hooks import Hooks
from pilot_core.redact import Redactor
from pilot_core.spec import staging
from pilot_core.spec.drivers import CopyTool, Found, Looks, Moved, Moving, Wanted
from pilot_core.spec.work import Task

LOOK_LIMIT_S = 60.0
log = logging.getLogger(__name__)


@frozen
class Means:
    """What Data Control works with, whatever the job."""

    hooks: Hooks
    tools: tuple[CopyTool, ...]
    redactor: Redactor
    plugins: Mapping[str, PluginRef]
    pause_s: float
    under_way: UnderWay
    lookout: Lookout
    names: Mapping[str, str] = {}
    """The tools' own names by those that the site knows them by, also of tools that cannot be used."""

    def plugin(self, tool: CopyTool) -> PluginRef:
        """Whose the tool is."""
        return self.plugins.get(tool.name) or PluginRef(tool.name)

    def able(self, kind: type[CopyTool], replica: Replica) -> list[CopyTool]:
        """The tools that do this, and reach that place."""
        tools = [tool for tool in self._wanted(replica.tools) if isinstance(tool, kind)]
        return [tool for tool in tools if self.hooks.guarded(self.plugin(tool), "takes", tool.takes, replica)]

    def _wanted(self, names: Sequence[str]) -> Sequence[CopyTool]:
        """The tools of these names, in their order; all of them where the site has chosen others."""
        known = [self.names[name] for name in names if name in self.names]
        return [tool for name in dict.fromkeys(known) for tool in self.tools if tool.name == name] or (
            () if known else self.tools
        )

    def error(self, side: Side, file: FileSpec, failed: Failure) -> PilotError:
        """The error of a file that was not moved."""
        error = side.error(failed)
        told = error.detail if isinstance(failed, PilotError) else self.redactor.scrub(f"{file.lfn}: {error.detail}")
        return PilotError(error.code, told, **{"lfn": file.lfn, **error.facts})

    def tell(self, job: Job, receipt: Receipt) -> None:
        """Tell that a file was brought or stored."""
        log.info("%s %s by %s: %s", receipt.direction, receipt.lfn, receipt.tool, receipt.url)
        self.hooks.tell(staging.pilot_file_moved, job=job, receipt=receipt)


@frozen
class Way:
    """A place and a tool that can reach it."""

    replica: Replica
    tool: CopyTool


def host_of(replica: Replica) -> str:
    """Whom a call to this place talks to."""
    return urlsplit(replica.url).netloc if "://" in replica.url else ""


def budget_s(size_b: int | None, options: DataOptions | None = None) -> float:
    """How long a file may take whose tool does not tell of bytes; the longest if its size is unknown."""
    options = options or DataOptions()
    own_s = options.budget_s + (size_b or 0) // options.slowest_b
    return options.longest_s if size_b is None else min(own_s, options.longest_s)


class Calls:
    """The calls of one task, from any thread."""

    def __init__(self, means: Means, task: Task) -> None:
        self.means = means
        self.options = task.settings.of(DataOptions)
        self.limit = Limit(task.cancel, task.budget_s)
        self._job = task.job.id
        self._control = task.control
        self._workdir = task.workdir
        self._doors: dict[str, threading.Semaphore] = {}

    @cached_property
    def _proxy(self) -> Path | None:
        return proxy_of(self._control)

    def move(self, side: Side, way: Way, path: Path, file: FileSpec, kept_b: int = 0) -> Moved:
        """Let a tool fetch to or store from ``path``, once."""
        with self._moving(side, way.replica, file.lfn, [path], file.size_b, kept_b) as moving:
            run = partial(run_tool, way.tool, side.verb, path, way.replica, file, moving, side.expired)
            return self.means.hooks.guarded(self.means.plugin(way.tool), side.verb, run)

    def move_many(
        self, side: Side, tool: CopyTool, wanted: Sequence[Wanted], hear: Callable[[Wanted, Moved | PilotError], None]
    ) -> None:
        """Let a tool move all of these in one call; ``hear`` is told of each at once and must not raise."""
        sizes = [each.file.size_b for each in wanted]
        size_b = None if None in sizes else sum(filter(None, sizes))
        name = f"{wanted[0].file.lfn} and {len(wanted) - 1} more"
        paths = [each.path for each in wanted]
        with self._moving(side, wanted[0].replica, name, paths, size_b) as moving:
            run = partial(run_many, tool, side.verb, wanted, moving, side.expired, hear)
            self.means.hooks.guarded(self.means.plugin(tool), f"{side.verb}_many", run)

    def look(self, tool: Looks, replica: Replica, file: FileSpec) -> Found | None:
        """Ask what lies there."""
        left_s = self.limit.left_s()
        limit = Limit(self.limit, LOOK_LIMIT_S if left_s is None else min(left_s, LOOK_LIMIT_S))
        moving = Moving(cancel=limit, budget_s=limit.limit_s, proxy=self._proxy)
        run = partial(run_look, tool, replica, file, moving, Code.SERVICENOTAVAILABLE)
        return self.means.hooks.guarded(self.means.plugin(tool), "look", run)

    @contextmanager
    def _moving(
        self, side: Side, replica: Replica, name: str, paths: Sequence[Path], size_b: int | None, kept_b: int = 0
    ) -> Iterator[Moving]:
        door = self._doors.setdefault(host_of(replica), threading.Semaphore(self.options.per_host))
        with (
            door,
            self.means.under_way.move(self._job, name, side.direction, size_b) as so_far,
        ):
            left_s = self.limit.left_s()
            limit = Limit(self.limit, self.options.longest_s if left_s is None else min(self.options.longest_s, left_s))
            silent_s = budget_s(size_b, self.options)
            stalled = PilotError(side.expired, f"no byte moved for {self.options.stall_s:g} s")
            late = PilotError(side.expired, f"not done after {silent_s:g} s")
            arrives = paths if side is IN else ()
            watched = self._workdir, self.options.reserve_b, self.options.stall_s
            with self.means.lookout.over(Call(limit, so_far, arrives, *watched, silent_s, stalled, late)):
                try:
                    yield Moving(
                        cancel=limit,
                        budget_s=limit.limit_s,
                        progress=so_far.tell,
                        kept_b=kept_b,
                        proxy=self._proxy,
                    )
                except (PilotError, PluginFailed):
                    raise_reason(side, limit)
                    raise


def raise_reason(side: Side, limit: Limit) -> None:
    """Raise what ended a call, if it was ended from here and not by the end of the whole work."""
    if limit.why is not None:
        raise PilotError(limit.why.code, limit.why.detail) from None
    if limit.is_over():
        raise PilotError(side.expired, f"not done after {limit.limit_s or 0.0:g} s") from None
