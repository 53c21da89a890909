"""The Data API: files brought, stored and looked at as a pilot of a queue does it, without a pilot.

``with Data("OUR_QUEUE") as data: data.get(files, folder)``. It is Data Control itself that works here: places from
catalogue and storage data, copy tools in the queue's order, verification, one owner of retries. A ``Data`` may be used
from many threads and for many calls; ``aget``, ``aput`` and ``astat`` wait without holding up a loop. Where nobody says
which copy tools, all that work here are used.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar
from urllib.parse import unquote, urlsplit

from attrs import evolve

from pilot_core.control.data import DataControl
from pilot_core.control.lanes import Progress, UnderWay
from pilot_core.control.looking import Seen
from pilot_core.control.naming import named_once
from pilot_core.control.sides import OUT
from pilot_core.errors import Code, PilotError
from pilot_core.io.cancel import CancelFlag
from pilot_core.model.files import Checksum, FileSpec, Receipt, Replica
from pilot_core.model.job import Job
from pilot_core.model.wire import Fields
from pilot_core.redact import Redactor
from pilot_core.spec import startup
from pilot_core.spec.work import Task

if TYPE_CHECKING:
    from pilot_core.agent.setup import Setup, Sources

__all__ = [
    "CancelFlag",
    "Checksum",
    "Data",
    "FileSpec",
    "PilotError",
    "Progress",
    "Receipt",
    "Replica",
    "Seen",
    "described",
    "named",
]
LEFT_ALONE: Final = "a plugin says that it needs no transfer"
NOWHERE: Final = "neither the call nor the queue says where it goes, or no copy tool here stores files"
T = TypeVar("T")
Heard = Callable[[Progress], None]


class Data:
    """Data Control with the settings of a queue, of a site's file, or of one's own.

    ``options`` are settings by ``section.name``, which count more than all others. Nothing is asked of anybody but
    information sources before the first file. Raises what is wrong with any of it.
    """

    def __init__(
        self,
        queue: str = "",
        *,
        config: Path | str | None = None,
        options: Mapping[str, object] | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        from pilot_core.agent.setup import Sources

        told = {**({"pilot.queue": queue} if queue else {}), **(options or {})}
        self._begin(
            Sources(
                site=Path(config).absolute() if config else None,
                environ=dict(os.environ if environ is None else environ),
                assignments=tuple(f"{name}={_text(value)}" for name, value in told.items()),
                cwd=os.getcwd(),
            )
        )

    @classmethod
    def of(cls, sources: Sources) -> Self:
        """With settings from where a pilot has its own."""
        data = cls.__new__(cls)
        data._begin(sources)
        return data

    def _begin(self, sources: Sources) -> None:
        from pilot_core.agent.setup import make_all

        self.setup = _prepared(sources)
        """What a pilot with these settings would be made of."""
        self._tools = make_all(self.setup, "copytools")
        self._redactor = Redactor()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let plugins send what they have gathered, such as reports of transfers."""
        self.setup.hooks.tell(startup.pilot_ended, error=None)

    # --- calls ---

    def get(
        self,
        files: Iterable[FileSpec | str],
        folder: Path | str = ".",
        *,
        job: str = "0",
        progress: Heard | None = None,
        cancel: CancelFlag | None = None,
        budget_s: float | None = None,
    ) -> list[Receipt | PilotError]:
        """Bring files into a folder under their logical names; what became of each, in their order.

        A file that is there already and is the right one stays; another of its name is replaced once the right one is
        there. ``job`` is the job in whose name this is done. ``progress`` is called in the threads that move files
        and must neither block nor raise. Raises ``PilotError`` where nothing can be brought at all.
        """
        wanted = [named(file) for file in files]
        Path(folder).mkdir(parents=True, exist_ok=True)
        task = self._task(Job(id=job, inputs=tuple(wanted)), Path(folder), cancel, budget_s)
        with closing(self._control(progress)) as control:
            result = control.stage_in(task, beside=False)
        return _in_order(wanted, (*result.errors, *result.receipts), LEFT_ALONE)

    def put(
        self,
        files: Iterable[FileSpec | str],
        folder: Path | str = ".",
        *,
        job: str = "0",
        progress: Heard | None = None,
        cancel: CancelFlag | None = None,
        budget_s: float | None = None,
    ) -> list[Receipt | PilotError]:
        """Store files of a folder, each at the first of its places, or of those of its endpoint, that takes it.

        What became of each, in their order; the rest is as with ``get``.
        """
        wanted = [FileSpec(lfn=file) if isinstance(file, str) else file for file in files]
        _, errors = named_once(OUT, wanted)
        if errors:
            raise errors[0].among(errors[1:])
        task = self._task(Job(id=job, outputs=tuple(wanted)), Path(folder), cancel, budget_s)
        with closing(self._control(progress)) as control:
            result = control.stage_out(task)
        return _in_order(wanted, (*result.errors, *result.receipts), NOWHERE)

    def stat(
        self, files: Iterable[FileSpec | str], *, job: str = "0", cancel: CancelFlag | None = None
    ) -> list[Seen | PilotError]:
        """Look where files lie, and what their storage says of them; in their order."""
        wanted = [named(file) for file in files]
        task = self._task(Job(id=job, inputs=tuple(wanted)), Path(), cancel, None)
        with closing(self._control(None)) as control:
            seen = control.look(task)
        return [seen.get(file.lfn) or _left(file, LEFT_ALONE) for file in wanted]

    async def aget(self, *args: Any, **how: Any) -> list[Receipt | PilotError]:
        """``get()`` in a thread of its own; cancelled, it ends what is under way first."""
        return await _in_thread(self.get, *args, **how)

    async def aput(self, *args: Any, **how: Any) -> list[Receipt | PilotError]:
        """``put()`` in a thread of its own; cancelled, it ends what is under way first."""
        return await _in_thread(self.put, *args, **how)

    async def astat(self, *args: Any, **how: Any) -> list[Seen | PilotError]:
        """``stat()`` in a thread of its own."""
        return await _in_thread(self.stat, *args, **how)

    # --- what they are made of ---

    def _control(self, progress: Heard | None) -> DataControl:
        setup = self.setup
        owners = {usable.name: usable.plugin for usable in setup.copytools.usable}
        names, under_way = setup.copytools.names, UnderWay(progress)
        return DataControl(setup.hooks, self._tools, self._redactor, plugins=owners, names=names, under_way=under_way)

    def _task(self, job: Job, folder: Path, cancel: CancelFlag | None, budget_s: float | None) -> Task:
        return Task(
            job=job,
            queue=self.setup.queue,
            settings=self.setup.settings,
            workdir=folder.absolute(),
            control=folder.absolute() / ".control",
            cancel=cancel or CancelFlag(),
            stored=lambda _: None,
            budget_s=budget_s,
        )


def named(file: FileSpec | str) -> FileSpec:
    """A file by its URL or path, or by ``SCOPE:NAME`` for a catalogue or the storages of the queue."""
    if not isinstance(file, str):
        return file
    if "/" not in file and ":" in file:
        scope, _, name = file.partition(":")
        return FileSpec(lfn=name, scope=scope)
    if "://" not in file:
        path = os.path.abspath(file)
        return FileSpec(lfn=os.path.basename(path), replicas=(Replica(path),))
    return FileSpec(lfn=unquote(urlsplit(file).path.rpartition("/")[2]), replicas=(Replica(file),))


def described(told: Mapping[str, object]) -> FileSpec:
    """A file as JSON has it: ``name``, and any of scope, guid, dataset, endpoint, size_b, checksum, places.

    Raises ``BadMessage`` with all that is wrong.
    """
    fields = Fields(told)
    known: dict[str, Any] = {name: fields.text(name) for name in ("scope", "guid", "dataset", "endpoint")}
    file = FileSpec(
        lfn=fields.text("name", required=True),
        size_b=fields.number("size_b"),
        checksum=_checksum(fields),
        replicas=tuple(Replica(place, known["endpoint"]) for place in fields.texts("places")),
        **known,
    )
    fields.refuse_unknown()
    fields.raise_problems(file.lfn)
    return file


def _checksum(fields: Fields) -> Checksum | None:
    text = fields.text("checksum")
    try:
        return Checksum.parse(text) if text else None
    except ValueError as wrong:
        fields.problem("checksum", str(wrong))
    return None


def _prepared(sources: Sources) -> Setup:
    """With all copy tools that work here where nobody chose any, those first that speak the fewest schemes."""
    from pilot_core.agent.setup import Sources, prepare

    setup = prepare(sources)
    row = next(row for row in setup.settings.explain() if row.path == "data.copytools")
    if row.layer != "defaults":
        return setup
    every = setup.drivers.every("pilot_core.copytool").usable
    ordered = sorted(every, key=lambda each: (len(getattr(each.driver, "schemes", ())), each.name))
    chosen = Sources(assignments=(f"data.copytools={','.join(each.asked for each in ordered)}",))
    return prepare(evolve(sources, before=chosen))


def _text(value: object) -> str:
    """A setting as the command line has it."""
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _in_order(
    wanted: Sequence[FileSpec], answers: Iterable[Receipt | PilotError], why: str
) -> list[Receipt | PilotError]:
    known = {str(each.facts.get("lfn") if isinstance(each, PilotError) else each.lfn): each for each in answers}
    return [known.get(file.lfn) or _left(file, why) for file in wanted]


def _left(file: FileSpec, why: str) -> PilotError:
    return PilotError(Code.NOSTORAGE, f"{file.lfn}: {why}", lfn=file.lfn)


async def _in_thread(call: Callable[..., list[T]], *args: Any, cancel: CancelFlag | None = None, **how: Any) -> list[T]:
    import asyncio

    flag = cancel or CancelFlag()
    working = asyncio.ensure_future(asyncio.to_thread(partial(call, *args, cancel=flag, **how)))
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        flag.set()
        await asyncio.gather(working, return_exceptions=True)
        raise
