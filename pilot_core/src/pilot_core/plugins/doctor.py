"""Everything installed for this pilot, whether it would work here, and what would make it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import asdict, frozen

from pilot_core.plugins.discover import EXPERIMENT, PLUGIN
from pilot_core.plugins.drivers import Drivers
from pilot_core.spec.markers import Shape

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pilot_core.plugins.choose import Chosen
    from pilot_core.plugins.discover import Discovery, Entry
    from pilot_core.plugins.guard import PluginRef
    from pilot_core.plugins.hooks import Hooks, Tier


@frozen
class Row:
    """A line of ``pilot plugins list`` and ``doctor``; ``install`` is the command that would mend it."""

    kind: str
    name: str
    distribution: str
    version: str
    state: str
    reason: str
    install: str
    hooks: tuple[str, ...]

    def as_json(self) -> dict[str, object]:
        """Plain values for ``--json``."""
        return asdict(self, value_serializer=lambda _, __, value: list(value) if type(value) is tuple else value)


class Doctor:
    """Looks at what ``choose_plugins`` did, and at every driver: loads it and asks its probe."""

    def __init__(self, discovery: Discovery, hooks: Hooks, chosen: Chosen) -> None:
        self._discovery = discovery
        self._hooks = hooks
        self._chosen = chosen

    def rows(self) -> list[Row]:
        """Experiments and plugins first, then drivers by group."""
        asked = {(each.plugin.name, each.plugin.distribution): each.hooks for each in self._hooks.plugins()}
        chosen = [_row(each, asked.get((each.name, each.distribution), ())) for each in self._chosen.entries]
        return chosen + [_row(each, ()) for each in self._drivers()]

    def shared(self) -> list[str]:
        """Questions that one plugin decides and several answer: who, and whose word it is."""
        decided = [name for name, spec in sorted(self._hooks.specs.items()) if spec.shape is Shape.FIRST]
        answered = ((name, self._hooks.answerers(name)) for name in decided)
        return [_shared(name, answerers) for name, answerers in answered if len(answerers) > 1]

    def _drivers(self) -> Iterable[Entry]:
        drivers = Drivers(self._discovery, self._hooks.guard)
        for group in self._discovery.groups():
            if group not in (EXPERIMENT, PLUGIN):
                names = [entry.name for entry in self._discovery.find(group)]
                yield from map(drivers.check, self._discovery.load(group, names))


def _shared(name: str, answerers: Sequence[tuple[PluginRef, Tier]]) -> str:
    (first, tier), (_, next_tier), *_ = answerers
    whom = " and by ".join(str(plugin) for plugin, _ in answerers)
    told = f"{name} is answered by {whom}; {first.name} is asked first"
    return f"{told}, by chance: leave one out with --plugin no:NAME" if tier is next_tier else told


def _row(entry: Entry, hooks: tuple[str, ...]) -> Row:
    return Row(
        entry.kind,
        entry.name,
        entry.distribution,
        entry.version,
        entry.state.value,
        entry.reason,
        entry.install,
        hooks,
    )
