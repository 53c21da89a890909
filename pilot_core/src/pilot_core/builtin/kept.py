"""Information sources that read others' documents: "local", "cvmfs", "cric", "environment". The site says where.

A document holds the facts of many queues by their names, or those of one, which then names itself.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Final
from urllib.parse import quote

from attrs import frozen

from pilot_core.builtin.documents import Document, Documents
from pilot_core.sdk import Code, InfoSource, PilotError, Settings, option

FLAT: Final = frozenset({"nickname", "panda_resource", "state", "status"})
"""A document that holds one of these is of one queue."""


class Kept(InfoSource):
    """Reads documents and keeps them. Subclasses say where they lie."""

    fresh_s: ClassVar[float] = 3 * 3600.0
    keep: ClassVar[bool] = True
    """Whether copies go to the cache directory."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._documents = Documents(self.name, settings, keep=self.keep)
        self._whence: dict[str, Document] = {}

    @abstractmethod
    def queue_place(self, name: str) -> str:
        """Path or URL of the facts of a queue, or nothing."""

    @abstractmethod
    def storage_place(self, name: str) -> str:
        """Path or URL of the facts of a storage endpoint, or of all, or nothing."""

    def queue(self, name: str) -> Mapping[str, object] | None:
        """The facts of a queue; ``None`` where no document is named. A queue that is not in it is an error."""
        place = self.queue_place(name)
        if not place:
            return None
        read = self._documents.read(f"queue {name}", place, self.fresh_s, lambda facts: _one(facts, name))
        facts = _one(read.facts, name)
        if facts is None:
            hint = f"it says: {read.said}" if read.said else _near(name, read.facts)
            raise PilotError(Code.QUEUEDATA, f"{place} has no queue {name!r}; {hint}", permanent=True)
        self._whence[name] = read
        return facts

    def storage(self, name: str) -> Mapping[str, object] | None:
        """The facts of a storage endpoint, if the document has it."""
        place = self.storage_place(name)
        if not place:
            return None
        what = f"storage {name}" if place != self.storage_place("") else "storages"
        read = self._documents.read(what, place, self.fresh_s, _holds_facts)
        self._whence[name] = read
        facts = read.facts.get(name, read.facts if read.facts.get("name") == name else None)
        return facts if isinstance(facts, Mapping) else None

    def whence(self, name: str) -> tuple[str, float | None]:
        """The place of the document that told of this queue or storage last, and its age."""
        read = self._whence.get(name)
        return (read.place, read.age_s()) if read else ("", None)

    def rest(self) -> None:
        """Let go of connections: nothing more will be asked for now."""
        self._documents.rest()


def _one(told: Mapping[str, object], name: str) -> Mapping[str, object] | None:
    """The facts of one queue: the document itself, or what it holds under the queue's name."""
    if not FLAT & told.keys():
        keyed = told.get(name)
        return keyed if isinstance(keyed, Mapping) and keyed and "error" not in keyed else None
    return told if told.get("nickname", name) == name and "error" not in told else None


def _holds_facts(told: Mapping[str, object]) -> bool:
    return bool(told) and "error" not in told


def _near(name: str, told: Mapping[str, object]) -> str:
    """The nearest names, if the document has many; else what can be done."""
    from difflib import get_close_matches

    keyed = [key for key, facts in told.items() if isinstance(facts, Mapping)] if not FLAT & told.keys() else []
    near = get_close_matches(name, keyed, n=3, cutoff=0.6)
    if near:
        return f"did you mean {' or '.join(map(repr, near))}?"
    other = told.get("nickname")
    return f"it tells of {other!r}" if other and other != name else "`--queue` names another"


def fill(place: str, **names: str) -> str:
    """A place with names put where it says ``{queue}`` or ``{storage}``."""
    for key, name in names.items():
        place = place.replace(f"{{{key}}}", quote(name, safe="") if "://" in place else name.replace("/", "_"))
    return place


# --- the sources ----------------------------------------------------------------------------------------------------


@frozen(kw_only=True)
class CvmfsOptions:
    """The information source "cvmfs"."""

    section = "queue_cvmfs"

    root: Path = option(Path("/cvmfs"), help="Where the file system is mounted.")
    queues: str = option("", help="The document of all queues, by its path below the root.")
    storages: str = option("", help="The document of all storage endpoints, by its path below the root.")


class Cvmfs(Kept):
    """Documents that an experiment distributes over CVMFS."""

    name = "cvmfs"
    options = CvmfsOptions
    fresh_s = 60.0

    def queue_place(self, name: str) -> str:
        """Below the root."""
        return self._below(self.settings.of(CvmfsOptions).queues)

    def storage_place(self, name: str) -> str:
        """Below the root."""
        return self._below(self.settings.of(CvmfsOptions).storages)

    def _below(self, path: str) -> str:
        return str(self.settings.of(CvmfsOptions).root / path) if path else ""


@frozen(kw_only=True)
class LocalOptions:
    """The information source "local"."""

    section = "queue_local"

    folder: Path = option(Path(), help="The directory with the documents.", env="PILOT_HOME")
    queues: str = option(
        "",
        help="Path or URL of the facts of many queues; if not set, cric_pandaqueues.json in the directory.",
        env="LOCAL_AGIS_SCHEDCONF",
        place=True,
    )
    enough: bool = option(True, help="Where all that is wanted of the queue lies there, no other source is asked.")


class Local(Kept):
    """Documents that whoever started the pilot laid into a directory, under the names that are usual for them."""

    name = "local"
    options = LocalOptions
    fresh_s = 60.0
    keep = False

    def queue_place(self, name: str) -> str:
        """The facts of this queue, or else those of many."""
        many = fill(self.settings.of(LocalOptions).queues, queue=name, pandaqueue=name)
        return self._there("queuedata.json") or many or self._there("cric_pandaqueues.json")

    def storage_place(self, name: str) -> str:
        """The facts of many endpoints."""
        return self._there("cric_ddmendpoints.json")

    def enough(self) -> bool:
        """Whoever lays all there need not have a network."""
        return self.settings.of(LocalOptions).enough

    def _there(self, name: str) -> str:
        path = self.settings.of(LocalOptions).folder / name
        return str(path) if path.exists() else ""


@frozen(kw_only=True)
class CricOptions:
    """The information source "cric"."""

    section = "queue_cric"

    queues: str = option("", help="The URL of the facts of queues; {queue} in it stands for the name of one.")
    storages: str = option("", help="The URL of the facts of storage endpoints; {storage} stands for the name of one.")


class Cric(Kept):
    """Documents of a CRIC server."""

    name = "cric"
    options = CricOptions

    def queue_place(self, name: str) -> str:
        """The URL that the site gave."""
        return fill(self.settings.of(CricOptions).queues, queue=name, pandaqueue=name)

    def storage_place(self, name: str) -> str:
        """The URL that the site gave."""
        return fill(self.settings.of(CricOptions).storages, storage=name)


@frozen(kw_only=True)
class EnvironmentOptions:
    """The information source "environment": what whoever started the pilot put into its environment."""

    section = "queue_environment"

    queues: str = option("", help="Path or URL of the facts of the queue.", env="QUEUEDATA_SERVER_URL", place=True)
    storages: str = option(
        "",
        help="Path or URL of the facts of storage endpoints.",
        env="STORAGEDATA_SERVER_URL",
        place=True,
    )


class Environment(Kept):
    """Documents that whoever started the pilot points to."""

    name = "environment"
    options = EnvironmentOptions

    def queue_place(self, name: str) -> str:
        """Path or URL."""
        return fill(self.settings.of(EnvironmentOptions).queues, queue=name, pandaqueue=name)

    def storage_place(self, name: str) -> str:
        """Path or URL."""
        return fill(self.settings.of(EnvironmentOptions).storages, storage=name)
