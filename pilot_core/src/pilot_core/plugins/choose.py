"""Which plugins this pilot has: its experiment, everybody who is not blocked, and the site's own file."""

from __future__ import annotations

import re
import sys
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import evolve, field, frozen

from pilot_core.config.spelling import meant
from pilot_core.plugins.discover import EXPERIMENT, PLUGIN, Entry, State
from pilot_core.plugins.guard import PluginFailed, PluginRef
from pilot_core.plugins.hooks import PluginRefused, Tier
from pilot_core.plugins.profiles import with_profile

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import ModuleType

    from pilot_core.plugins.discover import Discovery
    from pilot_core.plugins.hooks import Hooks

CORE = "pilot-core"
SITE_NAME = "pilotfile"
_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:>=\s*(\d+(?:\.\d+)*)\s*)?")
_NUMBERS = re.compile(r"\d+(?:\.\d+)*")


class CannotChoose(Exception):
    """The plugins asked for are not to be had; ``problems`` says all of why."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@frozen
class Wish:
    """What command line, environment and site ask of plugins.

    ``only`` leaves out every plugin that is not the core's and not named; ``blocked`` leaves out these;
    ``required`` are plugins or distributions as ``name`` or ``name>=N.M``; ``profile`` is the experiment's, which it
    reads itself; ``essential`` are the core's that nobody may block.
    """

    experiment: str
    only: Collection[str] | None = None
    blocked: Collection[str] = ()
    required: Collection[str] = ()
    site_file: Path | None = None
    profile: Path | None = None
    essential: Collection[str] = field(default=(), kw_only=True)


@frozen
class Chosen:
    """What became of every installed experiment and plugin, and what somebody should know."""

    entries: tuple[Entry, ...]
    warnings: tuple[str, ...] = ()


def choose_plugins(discovery: Discovery, hooks: Hooks, wish: Wish) -> Chosen:
    """Register what is wished for and seal the hooks, or raise ``CannotChoose`` with all problems."""
    problems = _unblockable(wish)
    experiments = _choose_experiment(discovery, hooks, wish)
    plugins = _choose_all(discovery, hooks, wish)
    problems += _experiment_problems(experiments, wish)
    problems += _required_problems(discovery, (*experiments, *plugins), wish)
    problems += _missing(plugins, wish)
    warnings = _not_here(plugins, wish.blocked)
    if wish.site_file is not None:
        told, faults = _register_site(hooks, wish.site_file)
        warnings += told
        problems += faults
    if problems:
        raise CannotChoose(*problems)
    hooks.seal()
    return Chosen((*experiments, *plugins), tuple(warnings))


def _unblockable(wish: Wish) -> list[str]:
    kept = sorted(set(wish.blocked) & {*wish.essential, wish.experiment})
    return [f"plugin {name} cannot be blocked: the pilot does not work without it" for name in kept]


def _choose_experiment(discovery: Discovery, hooks: Hooks, wish: Wish) -> list[Entry]:
    (chosen,) = discovery.load(EXPERIMENT, [wish.experiment])
    made = with_profile(discovery, chosen, wish.profile)
    registered = [_register(hooks, entry, Tier.EXPERIMENT) for entry in made]
    others = [entry for entry in discovery.find(EXPERIMENT) if entry.name != wish.experiment]
    return registered + others


def _experiment_problems(experiments: list[Entry], wish: Wish) -> list[str]:
    chosen, *others = experiments
    if chosen.state is State.LOADED:
        return []
    installed = ", ".join(sorted(each.name for each in others)) or "none"
    more = f"; installed: {installed}" if chosen.state is State.MISSING else ""
    return [f"experiment {wish.experiment!r}: {chosen.reason}{more}{_way_out(chosen)}"]


def _choose_all(discovery: Discovery, hooks: Hooks, wish: Wish) -> list[Entry]:
    entries = []
    for entry in discovery.find(PLUGIN):
        if why := _left_out(entry, wish):
            entries.append(evolve(entry, state=State.BLOCKED, reason=why))
            continue
        tier = Tier.CORE if _is_core(entry) else Tier.PLUGIN
        entries += [_register(hooks, each, tier) for each in discovery.load(PLUGIN, [entry.name])]
    return entries


def _left_out(entry: Entry, wish: Wish) -> str:
    if entry.name in wish.blocked and entry.name not in wish.essential:
        return f"blocked by name (no:{entry.name})"
    if wish.only is not None and entry.name not in wish.only and not _is_core(entry):
        return f"not among the only ones wanted: {', '.join(sorted(wish.only)) or 'none'}"
    return ""


def _is_core(entry: Entry) -> bool:
    return _plain(entry.distribution) == CORE


def _register(hooks: Hooks, entry: Entry, tier: Tier) -> Entry:
    if entry.state is not State.LOADED:
        return entry
    try:
        hooks.register(entry.obj, entry.name, tier=tier, distribution=entry.distribution, version=entry.version)
    except PluginRefused as refused:
        return evolve(entry, state=State.BROKEN, reason="; ".join(refused.reasons))
    return entry


def _missing(plugins: list[Entry], wish: Wish) -> list[str]:
    return _not_here(plugins, {*(wish.only or ())} - {wish.experiment})


def _not_here(plugins: list[Entry], named: Collection[str]) -> list[str]:
    known = {entry.name for entry in plugins}
    return [f"no plugin {name!r} is installed{meant(name, known)}" for name in sorted({*named} - known)]


def _required_problems(discovery: Discovery, entries: Iterable[Entry], wish: Wish) -> list[str]:
    groups = [group for group in discovery.groups() if group not in (PLUGIN, EXPERIMENT)]
    here = [*entries, *(each for group in groups for each in discovery.find(group))]
    required = [*wish.essential, *wish.required]
    return [problem for written in required if (problem := check_required(written, here))]


def check_required(written: str, entries: Iterable[Entry]) -> str:
    """What is wrong with the requirement ``name`` or ``name>=N.M``, or nothing.

    The name is a plugin's or a distribution's. Only leading integers of versions are compared.
    """
    parsed = _REQUIREMENT.fullmatch(written)
    if parsed is None:
        return f"required plugin {written!r}: write it as name or name>=N.M, with whole numbers"
    name, least = parsed.groups()
    here = list(entries)
    found = [each for each in here if name == each.name or _plain(name) == _plain(each.distribution)]
    if not found:
        known = {each.name for each in here} | {each.distribution for each in here}
        return f"required plugin {name!r} is not installed{meant(name, known)}"
    for each in found:
        if each.state not in (State.LOADED, State.INSTALLED) and each.name == name:
            return f"required plugin {name!r}: {each.reason}{_way_out(each)}"
        if least and _numbers(each.version) < _numbers(least):
            return f"required plugin {name!r} is {each.version} here, wanted is at least {least}"
    return ""


def _numbers(version: str) -> tuple[int, ...]:
    leading = _NUMBERS.match(version)
    numbers = [int(part) for part in leading[0].split(".")] if leading else []
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def _plain(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


def _way_out(entry: Entry) -> str:
    return f"; to install it: {entry.install}" if entry.install else ""


def _register_site(hooks: Hooks, path: Path) -> tuple[list[str], list[str]]:
    """Warnings and problems of the site's file."""
    plugin = PluginRef(SITE_NAME, str(path))
    if not path.is_file():
        return [], [f"{path}: there is no such file"]
    try:
        module = hooks.guarded(plugin, "import", _import_file, path)
        dropped = hooks.register(module, SITE_NAME, tier=Tier.SITE, distribution=str(path))
    except (PluginFailed, PluginRefused) as failed:
        return [], [str(failed)]
    return [f"{path}: {fault}; it is left out" for fault in dropped], []


def _import_file(path: Path) -> ModuleType:
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location(SITE_NAME, path)
    if spec is None or spec.loader is None:
        raise ImportError("a site's file is Python and ends in .py")
    module = module_from_spec(spec)
    sys.modules[SITE_NAME] = module
    spec.loader.exec_module(module)
    return module
