"""The facts of a queue: asked of ranked sources, cast by rule, and turned into what the pilot goes by."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from attrs import evolve

from pilot_core.config.layers import Layer, Rank
from pilot_core.errors import Code, PilotError
from pilot_core.infosys.casting import Cast, as_name_lists, as_users
from pilot_core.infosys.facts import Told, ask, let_rest
from pilot_core.infosys.storage import Storages
from pilot_core.infosys.wire import FIELDS, PARAMS
from pilot_core.model.job import Job, JobKey
from pilot_core.model.queue import Queue
from pilot_core.spec.drivers import InfoSource

MB: Final = 10**6
GRACES: Final = {
    "pilot_walltime_grace": "walltime",
    "pilot_rss_grace": "memory",
    "pilot_maxwdir_grace": "disk",
}
"""Percentages in ``params`` and the sections whose ``grace`` they set, as a factor."""
WALL: Final[JobKey[float]] = JobKey("queue.wall_limit_s")
"""Where a communicator leaves what is a limit of a job's wall time only if the queue says so."""


def refuse(closed: PilotError) -> None:
    """A pilot does not begin for a queue that takes no work."""
    raise closed


def resolve(
    name: str, sources: Sequence[InfoSource], closed: Callable[[PilotError], None] = refuse
) -> tuple[Queue, Layer | None]:
    """The queue and the options that its facts set; the first source that knows a fact tells it.

    A queue that nobody knows is refused if a source keeps a list, and has default facts if there is none. ``closed`` is
    told why a queue takes no work, if so.
    """
    try:
        told = ask(name, sources)
        if not told.tellers:
            return Queue(name=name, storages=Storages(sources)), None
        queue = queue_of(name, told)
        if why := _why_closed(queue, told):
            closed(why)
        queue = evolve(queue, storages=Storages(sources, endpoints(queue)))
    finally:
        let_rest(sources)
    return queue, _layer(f"queue {name} ({', '.join(told.tellers)})", queue)


def queue_of(name: str, told: Told) -> Queue:
    """The queue as its facts say, without its storages."""
    cast = Cast(f"queue {name}", told.facts)
    params = {**_kept(cast, FIELDS), **_params(cast)}
    users: Mapping[str, str] = cast.read("container_type", as_users, {})
    queue = Queue(
        name=name,
        state=cast.text("state", "ACTIVE"),
        status=cast.text("status", "online"),
        cores=cast.number("corecount") or None,
        memory_b=cast.number("maxrss") * MB or None,
        disk_b=cast.number("maxwdir") * MB or None,
        wall_limit_s=float(cast.number("maxtime")) or None,
        copytools=tuple(dict.fromkeys((*cast.names("copytools"), *_each_once(params.get("acopytools"))))),
        container=users.get("pilot") or "none",
        environment=_environment(cast.text("environ")),
    )
    named = {"name", "nickname"}
    rest = {fact: value for fact, value in cast.rest().items() if fact not in named}
    tables = {"container_type": users, "copytools": told.facts.get("copytools")}
    rest |= {table: value for table, value in tables.items() if value and isinstance(value, Mapping)}
    if remarks := params.get("catchall"):
        from pilot_core.infosys.catchall import warn_of_misspelt

        warn_of_misspelt(str(remarks), cast.what)
    return evolve(queue, params=_with_container_options({**rest, **params}))


def endpoints(queue: Queue) -> tuple[str, ...]:
    """The names of the storage endpoints that a queue uses, whatever for."""
    return _each_once(queue.params.get("astorages"))


def limited_by(queue: Queue, job: Job) -> Job:
    """The job with the limit of its wall time that its queue takes for one."""
    limit_s = job.extras.get(WALL) if queue.params.get("job_maxwalltime") else None
    return evolve(job, wall_limit_s=limit_s) if limit_s else job


def input_limit_b(queue: Queue) -> int | None:
    """How much the inputs of a job may have: what the queue says of them, where -1 is no limit, or else its disk."""
    told = queue.params.get("maxinputsize")
    if not isinstance(told, int) or not told:
        return queue.disk_b
    return told * MB if told > 0 else None


def grace_values(params: Mapping[str, object]) -> dict[str, dict[str, object]]:
    """The options that graces in ``params`` set."""
    given = ((section, params.get(param)) for param, section in GRACES.items())
    return {section: {"grace": 1 + max(value, 0) / 100} for section, value in given if isinstance(value, int)}


def _why_closed(queue: Queue, told: Told) -> PilotError | None:
    if queue.state != "ACTIVE":
        return PilotError(Code.PANDAQUEUENOTACTIVE, f"queue {queue.name} is {queue.state}{told.whence('state')}")
    if queue.status.lower() == "offline":
        return PilotError(Code.PANDAQUEUENOTONLINE, f"queue {queue.name} is {queue.status}{told.whence('status')}")
    return None


def _layer(where: str, queue: Queue) -> Layer | None:
    values = grace_values(queue.params)
    if isinstance(minutes := queue.params.get("timefloor"), int):
        values["pilot"] = {"refill_s": 60.0 * max(minutes, 0)}
    if str(queue.params.get("internet_protocol_version", "")).lower() == "ipv4":
        values["connection"] = {"ipv4_only": True}
    if queue.copytools:
        values["data"] = {"copytools": queue.copytools}
    if queue.container != "none" or "pilot" in _mapping(queue.params.get("container_type")):
        values["payload"] = {"container": queue.container}
    if (text := queue.params.get("container_options")) and values.get("payload"):
        from pilot_core.infosys.container_options import container_options

        values["container"] = container_options(str(text), where)
    return Layer(Rank.QUEUE, where, dict(values)) if values else None


def _kept(cast: Cast, kinds: Mapping[str, Callable[[Any], object]]) -> dict[str, object]:
    read = {name: cast.read(name, kind, None) for name, kind in kinds.items()}
    return {name: value for name, value in read.items() if value is not None}


def _params(cast: Cast) -> dict[str, object]:
    inner = Cast(f"{cast.what}: params", cast.mapping("params"))
    known = _kept(inner, PARAMS)
    return {**inner.rest(), **known}


def _with_container_options(params: dict[str, object]) -> dict[str, object]:
    """Options of the container runtime that stand among the remarks count where there are no others."""
    told = params.pop("container_options", "")
    options = "" if str(told).lower() == "none" else str(told)
    if not options and "_options=" in str(params.get("catchall", "")):
        from pilot_core.infosys.catchall import Catchall

        values = Catchall.read(str(params["catchall"])).values
        options = next((value for name, value in values.items() if name.endswith("_options")), "")
    return {**params, "container_options": options} if options else params


def _environment(text: str) -> dict[str, str]:
    pairs = (each.partition("=") for each in text.replace(",", " ").split())
    return {name: value for name, sign, value in pairs if name and sign}


def _each_once(lists: object) -> tuple[str, ...]:
    """The names in the lists of a table."""
    names = (name for row in as_name_lists(lists or {}).values() for name in row)
    return tuple(dict.fromkeys(names))


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}
