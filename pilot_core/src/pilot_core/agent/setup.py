"""From what people wrote to what a pilot is made of: plugins, settings, queue and drivers, step by step."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from attrs import define, evolve, field, frozen

from pilot_core.agent.hiding import is_wanted, refuse_unhidden
from pilot_core.config.layers import Layer, Rank, Schema, Settings, read_yaml
from pilot_core.config.schema import (
    CORE,
    Bootstrap,
    Budgets,
    Connection,
    ContainerOptions,
    DataOptions,
    LogOptions,
    MonitorOptions,
    PayloadOptions,
    PilotOptions,
)
from pilot_core.errors import Code, PilotError, register
from pilot_core.infosys.queue import refuse, resolve
from pilot_core.infosys.timed import Allowance, Timed
from pilot_core.model.job import Job, JobKey
from pilot_core.model.queue import Queue
from pilot_core.plugins.choose import Chosen, Wish, choose_plugins
from pilot_core.plugins.discover import Discovery
from pilot_core.plugins.drivers import Drivers, Several, Usable, one_resource
from pilot_core.plugins.guard import Guard
from pilot_core.plugins.hooks import Hooks
from pilot_core.spec import jobs, payload, reporting, staging, startup
from pilot_core.spec.drivers import (
    Communicator,
    Container,
    CopyTool,
    InfoSource,
    Launcher,
    LogShipper,
    Monitor,
    Resource,
    Workflow,
)

OVERRIDES: JobKey[object] = JobKey("queue.overrides")
"""Where a communicator leaves what a job says of its queue."""
SPECS = (startup, jobs, staging, payload, reporting)
START_BUDGET_S = 10.0
CACHE, RENEWED = "cache", "renewed"
KEPT = frozenset({"connection", "data", "payload", "pilot"})
"""Sections by which a pilot's drivers were chosen and made, or that it goes by itself: they hold to its end."""
NONE = "none"
"""In place of the names of plugins: the core's alone."""
ALSO_READ = frozenset({"PILOT_TRACE", "PILOT_JOIN", "PILOT_SERVER_HOME", "PILOT_SOURCE_DIR", "PILOT_WORK_DIR"})


log = logging.getLogger(__name__)


@frozen(kw_only=True)
class Sources:
    """Where settings come from: a site's file, the environment, the command line."""

    site: Path | None = None
    environ: Mapping[str, str] = field(factory=dict)
    assignments: tuple[str, ...] = ()
    flags: Mapping[str, str] = field(factory=dict)
    blocked: tuple[str, ...] = ()
    cwd: str = ""
    """Whence relative paths of the environment and the command line are seen."""
    own: Path | None = None
    """The pilot's own directory, where it has one."""
    before: Sources | None = None
    """An earlier command line, which holds where this one says nothing."""

    def layers(self, schema: Schema) -> tuple[Layer, ...]:
        """The layers of people's own words, by this schema."""
        site = (Layer(Rank.SITE, str(self.site), read_yaml(self.site), base=_folder(self.site)),) if self.site else ()
        return (
            *site,
            schema.environment(self.environ, also=ALSO_READ, base=self.cwd),
            *(each.words(schema) for each in (self.before, self) if each is not None),
        )

    def words(self, schema: Schema) -> Layer:
        """What the command line said, by this schema."""
        return schema.command_line(self.assignments, self.flags, base=self.cwd)


@frozen
class Known:
    """What is known of the queue, and the settings that follow from it and all else for the jobs that begin now."""

    queue: Queue
    layers: tuple[Layer, ...]
    settings: Settings


@define(kw_only=True, eq=False)
class Setup:
    """Everything that a pilot is made of, before it runs. Of a pilot that runs, only what is ``known`` changes."""

    settings: Settings
    schema: Schema
    known: Known
    sources: Callable[[], list[InfoSource]]
    """Makes the information sources, in their order."""
    hooks: Hooks
    discovery: Discovery
    chosen: Chosen
    drivers: Drivers
    communicator: Usable
    workflow: Usable
    resource: Usable
    container: Usable
    isolation: Usable
    launcher: Usable
    copytools: Several
    monitors: Several
    shippers: Several

    @property
    def queue(self) -> Queue:
        """The queue as it is known by now."""
        return self.known.queue

    def ask_again(self) -> Known:
        """What the sources tell by now. Options by which drivers were chosen, or the pilot goes, stay as they are."""
        queue, facts = resolve(self.queue.name, self.sources())
        if _is_told(self.queue) and not _is_told(queue):
            raise PilotError(Code.QUEUEDATA, "no source tells of it any more")
        layers = _renewed(self.known.layers, facts)
        return Known(queue, layers, self.schema.merge(*layers))

    def of_job(self, job: Job) -> tuple[Queue, Settings]:
        """The queue as one job sees it, which may overrule a few of its facts, and the settings of that job."""
        known, said, facts = self.known, job.extras.get(OVERRIDES), None
        queue = known.queue
        if said:
            from pilot_core.infosys.overrides import overruled

            queue, facts = overruled(queue, said, who=f"job {job.id}")
        return queue, self._settings_of(job, known, facts)

    def _settings_of(self, job: Job, known: Known, facts: Layer | None) -> Settings:
        """Those that are known, and what the job may set and did."""
        if not job.options and facts is None:
            return known.settings
        given: dict[str, dict[str, object]] = {}
        for path, value in job.options.items():
            section, _, name = path.partition(".")
            given.setdefault(section, {})[name] = value
        more = (facts,) if facts is not None else ()
        return self.schema.merge(*known.layers, *more, Layer(Rank.JOB, job.origin or f"job {job.id}", given))


def prepare(
    sources: Sources,
    discovery: Discovery | None = None,
    trace: Callable[[str], None] | None = None,
    closed: Callable[[PilotError], None] = refuse,
) -> Setup:
    """Choose plugins, read settings, resolve the queue, choose drivers. Raises what is wrong with any of it.

    ``closed`` is told why the queue takes no work, if so.
    """
    discovery = discovery or Discovery()
    hooks, chosen = choose(sources, discovery, trace)
    drivers = Drivers(discovery, hooks.guard)
    defaults = (*_own(sources), *_defaults(hooks))
    core = _merge(CORE, sources, defaults)
    picked = _pick(core, drivers)
    info = _several(drivers, "info_source", core.of(Connection).info_sources)
    sections = _sections(hooks, (*picked.values(), *info.usable))
    ask = partial(_sources, hooks.guard, info, _merge(sections, sources, defaults))
    queue, facts = resolve(core.of(PilotOptions).queue, ask(), closed)
    if facts:
        picked |= _pick(_merge(CORE, sources, (*defaults, facts)), drivers)
        sections = _sections(hooks, (*picked.values(), *info.usable))
    hooks.budget_s = _merge(CORE, sources, defaults).of(PilotOptions).hook_budget_s
    schema = Schema(sections)
    layers = (*defaults, *((facts,) if facts else ()), *sources.layers(schema))
    settings = schema.merge(*layers)
    refuse_unhidden(settings)
    for answer in hooks.gather(startup.pilot_config_unused, settings=settings):
        hooks.retire(answer.plugin, answer.value)
    return Setup(
        settings=settings,
        schema=schema,
        known=Known(queue, layers, settings),
        sources=ask,
        hooks=hooks,
        discovery=discovery,
        chosen=chosen,
        drivers=drivers,
        **picked,
    )


def choose(sources: Sources, discovery: Discovery, trace: Callable[[str], None] | None = None) -> tuple[Hooks, Chosen]:
    """Register experiment, plugins and their error codes; ``CannotChoose`` says all that stands against it."""
    early = _merge((Bootstrap, Connection), sources, ()).of(Bootstrap)
    hooks = Hooks(*SPECS, trace=trace, budget_s=START_BUDGET_S)
    wish = Wish(
        experiment=early.experiment,
        only=[name for name in early.plugins if name != NONE] if early.plugins else None,
        blocked=(*early.blocked, *sources.blocked),
        required=early.required,
        site_file=early.pilotfile,
        profile=early.profile,
    )
    chosen = choose_plugins(discovery, hooks, wish)
    for answer in hooks.gather(startup.pilot_error_codes):
        register(answer.plugin, answer.value)
    return hooks, chosen


def _folder(file: Path) -> str:
    return str(file.absolute().parent)


def _merge(sections: Iterable[type[Any]], sources: Sources, more: Sequence[Layer]) -> Settings:
    schema = Schema(sections)
    return schema.merge(*more, *sources.layers(schema))


def _own(sources: Sources) -> tuple[Layer, ...]:
    """What lies with the pilot's own files unless somebody has a better place for it."""
    if sources.own is None:
        return ()
    places = {"cache_dir": str(sources.own / CACHE), "renewed_dir": str(sources.own / RENEWED)}
    return (Layer(Rank.DEFAULTS, "the pilot's own directory", {"connection": places}),)


def _defaults(hooks: Hooks) -> tuple[Layer, ...]:
    answers = sorted(hooks.gather(startup.pilot_config_defaults), key=lambda answer: answer.tier)
    plugins = {each.plugin.name: each.plugin for each in hooks.plugins()} if answers else {}
    told = ((plugins[answer.plugin], answer.value) for answer in answers)
    return tuple(Layer(Rank.EXPERIMENT, plugin.place, values, base=plugin.folder) for plugin, values in told)


def _pick(core: Settings, drivers: Drivers) -> dict[str, Any]:
    pilot, payloads, instead = core.of(PilotOptions), core.of(PayloadOptions), core.of(ContainerOptions).instead
    return {
        "communicator": drivers.one(_group("communicator"), pilot.communicator),
        "workflow": drivers.one(_group("workflow"), pilot.workflow),
        "resource": one_resource(drivers, pilot.resource),
        "container": drivers.one(_group("container"), instead.get(payloads.container, payloads.container)),
        "isolation": drivers.one(_group("container"), NONE if is_wanted(payloads.isolation) else payloads.isolation),
        "launcher": drivers.one(_group("launcher"), payloads.launcher),
        "copytools": _several(drivers, "copytool", core.of(DataOptions).copytools),
        "monitors": _several(drivers, "monitor", core.of(MonitorOptions).monitors),
        "shippers": _several(drivers, "log_shipper", core.of(LogOptions).shippers),
    }


def _several(drivers: Drivers, kind: str, names: Iterable[str]) -> Several:
    return drivers.several(_group(kind), names)


def _group(kind: str) -> str:
    return f"pilot_core.{kind}"


def _sections(hooks: Hooks, picked: Iterable[Usable | Several]) -> tuple[type, ...]:
    of_plugins = [section for answer in hooks.gather(startup.pilot_config_sections) for section in answer.value]
    drivers = [driver for each in picked for driver in (each.drivers if isinstance(each, Several) else (each.driver,))]
    of_drivers = [driver.options for driver in drivers if driver.options is not None]
    return tuple(dict.fromkeys((*CORE, *of_plugins, *of_drivers)))


def _sources(guard: Guard, info: Several, settings: Settings) -> list[InfoSource]:
    """All that are usable; none takes longer than all together may."""
    allowance = Allowance(settings.of(Budgets).info_s)
    made = ((one.plugin, guard.call(one.plugin, "making", _made, one, InfoSource, settings)) for one in info.usable)
    return [Timed(plugin, source, guard, allowance) for plugin, source in made]


def _is_told(queue: Queue) -> bool:
    return evolve(queue, storages={}) != Queue(name=queue.name)


def _renewed(layers: tuple[Layer, ...], facts: Layer | None) -> tuple[Layer, ...]:
    """The layers with the queue's new facts in place of the old, but for what a running pilot keeps."""
    others = tuple(each for each in layers if each.rank is not Rank.QUEUE)
    old = next((each for each in layers if each.rank is Rank.QUEUE), None)
    before, now = old.values if old else {}, facts.values if facts else {}
    if changed := sorted(section for section in KEPT if before.get(section) != now.get(section)):
        log.warning("what the queue says of %s has changed, and holds for the next pilot", ", ".join(changed))
    kept = {section: told for section, told in before.items() if section in KEPT}
    new = {section: told for section, told in now.items() if section not in KEPT}
    latest = facts or old
    return (*others, evolve(latest, values={**new, **kept})) if latest else others


def _made(usable: Usable, kind: type[Any], settings: Settings) -> Any:
    assert issubclass(usable.driver, kind), f"{usable.plugin} is no {kind.__name__}"
    return usable.driver(settings)


def make(setup: Setup, name: str) -> Any:
    """The one driver of this choice, made with the settings, under the guard of plugin calls."""
    usable: Usable = getattr(setup, name)
    kind = KINDS[name]
    return setup.hooks.guarded(usable.plugin, "making", _made, usable, kind, setup.settings)


def make_all(setup: Setup, name: str) -> list[Any]:
    """The drivers of this choice in their order, made with the settings."""
    several: Several = getattr(setup, name)
    return [
        setup.hooks.guarded(one.plugin, "making", _made, one, KINDS[name], setup.settings) for one in several.usable
    ]


KINDS: Mapping[str, type[Any]] = {
    "communicator": Communicator,
    "workflow": Workflow,
    "resource": Resource,
    "container": Container,
    "isolation": Container,
    "launcher": Launcher,
    "copytools": CopyTool,
    "monitors": Monitor,
    "shippers": LogShipper,
}
