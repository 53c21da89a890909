"""What is installed, who owns it, and whether it loads. Nothing here is fatal: every fault is an ``Entry``.

``find`` reads metadata only; ``load`` imports, through stevedore, what is asked for and no more. Metadata are
read afresh in each process, once, and nothing is cached on disk.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import TYPE_CHECKING

from attrs import evolve, frozen

from pilot_core.config.spelling import meant

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from importlib.metadata import EntryPoint

PREFIX = "pilot_core."
EXPERIMENT = PREFIX + "experiment"
PLUGIN = PREFIX + "plugin"

Key = tuple[str, str]
Owner = tuple[str, str]
"""A distribution and its version."""


class State(Enum):
    """How far something came on the way to being used."""

    INSTALLED = "installed"
    LOADED = "loaded"
    MISSING = "missing"
    BLOCKED = "blocked"
    BROKEN = "broken"
    RIVAL = "rival"
    UNSUITABLE = "unsuitable"


@frozen
class Entry:
    """One name in one group: its owner, its state, and why it is not better.

    ``extra`` is the extra of its distribution that would bring what it lacks.
    """

    group: str
    name: str
    distribution: str = ""
    version: str = ""
    state: State = State.INSTALLED
    reason: str = ""
    extra: str = ""
    obj: object = None

    @property
    def kind(self) -> str:
        """The group without its prefix, as people say it: ``copytool``."""
        return self.group.removeprefix(PREFIX)

    @property
    def install(self) -> str:
        """The command that would make it work, where one is known."""
        return f"pip install '{self.distribution}[{self.extra}]'" if self.distribution and self.extra else ""


class Discovery:
    """All entry points of the groups ``pilot_core.*``, or those that a test gives."""

    def __init__(self) -> None:
        self._entries: dict[Key, Entry] | None = None
        self._points: dict[Key, EntryPoint] = {}

    @classmethod
    def from_objects(
        cls, objects: Mapping[str, Mapping[str, object]], distribution: str = "objects", version: str = "0"
    ) -> Discovery:
        """A discovery of these objects (group, then name) and of nothing that is installed."""
        made = cls()
        made._entries = _entries_of(objects, distribution, version)
        return made

    def with_objects(
        self, objects: Mapping[str, Mapping[str, object]], distribution: str = "objects", version: str = "0"
    ) -> Discovery:
        """The same discovery with these objects too; they take the place of what has their name."""
        made = Discovery()
        made._entries = self._scanned() | _entries_of(objects, distribution, version)
        made._points = self._points
        return made

    def groups(self) -> list[str]:
        """The groups that somebody has an entry in."""
        return sorted({group for group, _ in self._scanned()})

    def find(self, group: str) -> list[Entry]:
        """The entries of one group by name; nothing is imported for it."""
        entries = self._scanned()
        return [entries[key] for key in sorted(entries) if key[0] == group]

    def load(self, group: str, names: Iterable[str]) -> list[Entry]:
        """The entries with these names in this order, each imported or saying why not."""
        wanted = list(names)
        entries = self._scanned()
        waiting = [
            self._points[group, name]
            for name in dict.fromkeys(wanted)
            if (found := entries.get((group, name))) and found.state is State.INSTALLED
        ]
        for point, loaded in _load(group, waiting):
            entries[group, point.name] = _loaded(entries[group, point.name], point, loaded)
        return [entries.get((group, name)) or self._missing(group, name) for name in wanted]

    def _missing(self, group: str, name: str) -> Entry:
        known = [each.name for each in self.find(group)]
        reason = f"not installed{meant(name, known)}"
        return Entry(group, name, state=State.MISSING, reason=reason)

    def _scanned(self) -> dict[Key, Entry]:
        if self._entries is None:
            claims: dict[Key, list[tuple[EntryPoint, Owner]]] = {}
            for point, owner in _scan():
                claims.setdefault((point.group, point.name), []).append((point, owner))
            self._points = {key: claimed[0][0] for key, claimed in claims.items()}
            self._entries = {key: _entry(key, {owner for _, owner in claimed}) for key, claimed in claims.items()}
        return self._entries


def _entries_of(objects: Mapping[str, Mapping[str, object]], distribution: str, version: str) -> dict[Key, Entry]:
    return {
        (group, name): Entry(group, name, distribution, version, State.LOADED, obj=obj)
        for group, named in objects.items()
        for name, obj in named.items()
    }


def _scan() -> Iterator[tuple[EntryPoint, Owner]]:
    """Our entry points. A distribution that is on the path twice counts once: the first, as in an import."""
    from importlib import metadata

    marked = f"[{PREFIX}"
    owners = {
        re.sub(r"[-_.]+", "-", found.name).lower()
        for found in metadata.distributions()
        if marked in (found.read_text("entry_points.txt") or "").replace("[ ", "[")
    }
    for owner in sorted(owners):
        found = metadata.distribution(owner)
        about = found.metadata  # parsed anew each time that it, a name or a version is asked for
        for point in found.entry_points:
            if point.group.startswith(PREFIX):
                yield point, (about["Name"], about["Version"])


def _entry(key: Key, owners: set[Owner]) -> Entry:
    distribution, version = min(owners)
    found = Entry(*key, distribution, version)
    if len(owners) == 1:
        return found
    named = " and ".join(f"{name} {number}" for name, number in sorted(owners))
    return evolve(found, state=State.RIVAL, reason=f"claimed by {named}: uninstall one of them")


def _load(group: str, points: list[EntryPoint]) -> Iterable[tuple[EntryPoint, object]]:
    """Each entry point with what it loads, or with the exception: a plugin's import may raise anything."""
    if not points:
        return
    from stevedore.named import NamedExtensionManager

    class Fresh(NamedExtensionManager[object]):
        def list_entry_points(self) -> list[EntryPoint]:
            return points

    failures: dict[str, BaseException] = {}

    def keep(_: object, point: EntryPoint, error: BaseException) -> None:
        failures[point.name] = error

    for point in points:
        try:
            manager = Fresh(group, [point.name], on_load_failure_callback=keep, on_missing_entrypoints_callback=None)
        except (AssertionError, SystemExit) as error:  # these two pass through stevedore
            yield point, error
        else:
            yield point, failures.get(point.name) or manager[point.name].plugin


def _loaded(entry: Entry, point: EntryPoint, loaded: object) -> Entry:
    if not isinstance(loaded, BaseException):
        return evolve(entry, state=State.LOADED, obj=loaded)
    if isinstance(loaded, ModuleNotFoundError) and _is_foreign(loaded.name, point):
        reason = f"needs the module {loaded.name!r}, which is not installed"
        return evolve(entry, state=State.UNSUITABLE, reason=reason, extra=_extra(point))
    return evolve(entry, state=State.BROKEN, reason=f"does not load: {_told(loaded)}")


def _is_foreign(module: str | None, point: EntryPoint) -> bool:
    return bool(module) and str(module).partition(".")[0] != point.module.partition(".")[0]


def _extra(point: EntryPoint) -> str:
    if point.extras:
        return point.extras[0]
    offered = point.dist.metadata.get_all("Provides-Extra") or [] if point.dist else []
    return point.name if point.name in offered else ""


def _told(error: BaseException) -> str:
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    place = f" ({trace.tb_frame.f_code.co_filename}:{trace.tb_lineno})" if trace else ""
    return f"{type(error).__name__}: {error}{place}"
