"""Which implementation: one driver by its name, or several in the order of a queue's list."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

from attrs import evolve, frozen

from pilot_core.errors import PilotError
from pilot_core.plugins.discover import Discovery, Entry, State
from pilot_core.plugins.guard import Guard, PluginFailed, PluginRef
from pilot_core.spec.drivers import Driver, Resource

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pilot_core.model.allotment import Told


log = logging.getLogger(__name__)


@frozen
class Usable:
    """A driver class that can work here. ``asked`` is the name it was asked by, perhaps an alias."""

    plugin: PluginRef
    asked: str
    driver: type[Driver]

    @property
    def name(self) -> str:
        """Its own name, whatever alias was used."""
        return self.driver.name


@frozen
class Several:
    """What is usable, in order, and what was skipped, with the reason in each entry."""

    usable: tuple[Usable, ...]
    skipped: tuple[Entry, ...]
    names: Mapping[str, str] = {}
    """Own names by those that were asked for."""

    @property
    def drivers(self) -> list[type[Driver]]:
        """All that are installed, so also those that could not work here."""
        unsuitable = [each.obj for each in self.skipped if each.state is State.UNSUITABLE]
        return [each.driver for each in self.usable] + [each for each in unsuitable if isinstance(each, type)]


class NoSuchDriver(LookupError):
    """Nothing of this name can be used here; the message says why and what to do."""

    def __init__(self, entry: Entry, known: Iterable[str]) -> None:
        self.entry = entry
        self.known = tuple(known)
        told = f"{entry.kind} {entry.name!r}: {entry.reason}"
        if entry.state is State.MISSING:
            told += f"; installed: {', '.join(self.known) or 'none'}"
        super().__init__(f"{told}; to install it: {entry.install}" if entry.install else told)


class Drivers:
    """Chooses drivers from what is installed."""

    def __init__(self, discovery: Discovery, guard: Guard) -> None:
        self._discovery = discovery
        self._guard = guard

    def one(self, group: str, name: str) -> Usable:
        """The driver of this name or alias, or ``NoSuchDriver``."""
        found = self._tried(*self._discovery.load(group, [name]))
        if isinstance(found, Usable):
            return found
        raise NoSuchDriver(found, [each.name for each in self._discovery.find(group)])

    def every(self, group: str) -> Several:
        """All that are installed, the usable ones in no order."""
        return self.several(group, [each.name for each in self._discovery.find(group)])

    def several(self, group: str, names: Iterable[str]) -> Several:
        """The usable among these, in order; two aliases of one driver count once."""
        tried = [self._tried(entry) for entry in self._discovery.load(group, names)]
        usable = {each.name: each for each in reversed(tried) if isinstance(each, Usable)}
        first = [each for each in tried if isinstance(each, Usable) and each is usable[each.name]]
        names = {each.asked: each.name for each in tried if isinstance(each, Usable)}
        skipped = tuple(each for each in tried if isinstance(each, Entry))
        return Several(tuple(first), skipped, {each.name: each.name for each in skipped} | names)

    def check(self, entry: Entry) -> Entry:
        """The entry of a loaded driver after its probe, for the doctor."""
        found = self._tried(entry)
        return found if isinstance(found, Entry) else entry

    def _tried(self, entry: Entry) -> Usable | Entry:
        if entry.state is not State.LOADED:
            return entry
        plugin = PluginRef(entry.name, entry.distribution, entry.version)
        driver = entry.obj
        if not isinstance(driver, type) or not issubclass(driver, Driver):
            return evolve(entry, state=State.BROKEN, reason="is no driver: it has no driver base class")
        if lacking := sorted(driver.__abstractmethods__):
            return evolve(entry, state=State.BROKEN, reason=f"is unfinished: it lacks {', '.join(lacking)}")
        try:
            why = self._guard.call(plugin, "probe", driver.probe)
        except (PluginFailed, PilotError) as failed:
            return evolve(entry, state=State.BROKEN, reason=str(failed))
        if why is None:
            return Usable(plugin, entry.name, driver)
        return evolve(entry, state=State.UNSUITABLE, reason=why, extra=driver.needs)


def batch_job() -> Told[str] | None:
    """The number of the job of the innermost batch system that is here, as its resource driver tells."""
    guard = Guard()
    usable = one_resource(Drivers(Discovery(), guard), "auto")
    assert issubclass(usable.driver, Resource)
    try:
        return guard.call(usable.plugin, "job", usable.driver.job)
    except (PluginFailed, PilotError) as failed:
        log.warning("the number of the batch job is not known: %s", failed)
        return None


def one_resource(drivers: Drivers, name: str) -> Usable:
    """The resource of this name; ``auto`` is the innermost of those that can work here."""
    group = "pilot_core.resource"
    if name != "auto":
        return drivers.one(group, name)
    ordered = [(one.driver.order, one) for one in drivers.every(group).usable if issubclass(one.driver, Resource)]
    return min(ordered, key=lambda pair: (pair[0], pair[1].name))[1]
