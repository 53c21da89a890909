"""Where inputs lie, and which of their places are used in which order. Pure, but for facts of storages asked for.

The queue's own storages are near, everything else is far away. What the queue does not allow, what lies on tape and
what is no place of a storage is left out; near comes before far, near places in the order of the queue's storages, and
there by the schemes that the tools like; far ones in the order that they were told in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from urllib.parse import unquote, urlsplit

from attrs import evolve, frozen

from pilot_core.builtin.places import PlacesOptions
from pilot_core.builtin.places import activities as words
from pilot_core.builtin.places.paths import path_of, url_of
from pilot_core.builtin.places.ways import Ways, scheme_of
from pilot_core.sdk import Code, FileSpec, Job, PilotError, Queue, Replica, Storage
from pilot_core.sdk.queues import Catchall

LAN, WAN = "lan", "wan"
LINKS = "mv"
"""The tool that makes an input a link to where it lies, so that there is nothing to be read from afar."""


def sources(job: Job, queue: Queue) -> dict[str, Sequence[Replica]]:
    """The places of inputs that came without one, as the storages name them."""
    near = words.storages(queue, words.reading(job, queue))
    placed = {file.lfn: _sources(file, queue, near) for file in job.inputs if not file.replicas}
    return {lfn: places for lfn, places in placed.items() if places}


def _sources(file: FileSpec, queue: Queue, near: Sequence[str]) -> list[Replica]:
    """In the endpoint that the file names; else wherever a near storage would have it, were it there."""
    if file.endpoint:
        storage = queue.storages.get(file.endpoint)
        return _in(file, storage, near) if storage else []
    known = (queue.storages.get(name) for name in near) if file.scope else ()
    return [place for each in known if each is not None and each.hashed for place in _in(file, each, near)]


def _in(file: FileSpec, storage: Storage, near: Sequence[str]) -> list[Replica]:
    order = ("read_lan", "read_wan") if not near or storage.name in near else ("read_wan", "read_lan")
    begins = next((found for each in order if (found := storage.protocols.get(each))), ())
    try:
        return [Replica(url_of(begin, path_of(file, storage)), storage.name) for begin in begins]
    except PilotError:
        return []


def ranked(
    job: Job, queue: Queue, replicas: Mapping[str, Sequence[Replica]], options: PlacesOptions
) -> dict[str, Sequence[Replica] | PilotError]:
    """Each input's places that may be used, in order, or why there is none."""
    activities = words.reading(job, queue)
    rules = _Rules.of(queue, words.storages(queue, activities), Ways.of(queue, activities, options), options)
    files = {file.lfn: file for file in job.inputs}
    return {lfn: rules.choose(files[lfn], places) for lfn, places in replicas.items() if lfn in files}


@frozen
class _Rules:
    """What a queue allows and prefers, for all inputs of a job."""

    queue: Queue
    near: tuple[str, ...]
    ways: Ways
    direct: Mapping[str, tuple[str, ...]]
    """Schemes by which files are read where they lie, by domain."""
    libraries: bool
    """Whether libraries may come from afar even where nothing else may."""

    @classmethod
    def of(cls, queue: Queue, near: tuple[str, ...], ways: Ways, options: PlacesOptions) -> _Rules:
        params = queue.params
        allowed = {
            LAN: options.direct_lan if params.get("direct_access_lan") else (),
            WAN: options.direct_wan if params.get("direct_access_wan") else (),
        }
        return cls(queue, near, ways, allowed, Catchall.of(queue).flag("allow_wan_for_lib"))

    def choose(self, file: FileSpec, places: Sequence[Replica]) -> Sequence[Replica] | PilotError:
        """The places of one file, the first first."""
        told = [evolve(place, domain=self._domain(file, place)) for place in places]
        out = Counter(why for place in told if (why := self._refusal(file, place)))
        kept = self.ways.reachable(place for place in told if not self._refusal(file, place))
        if not kept and told:
            out["no copy tool may use"] += len(told) - out.total()
            reasons = ", ".join(f"{number} {why}" for why, number in out.items() if number)
            return PilotError(Code.NOREPLICAS, f"{file.scope}:{file.lfn}: of {len(told)} places {reasons}")
        chosen = [evolve(each, direct=self._is_direct(each)) for each in sorted(kept, key=self._rank)]
        return self._check_links(file, chosen)

    def _domain(self, file: FileSpec, place: Replica) -> str:
        near = self.near or (file.endpoint,)
        return LAN if place.endpoint in near else WAN

    def _refusal(self, file: FileSpec, place: Replica) -> str:
        """Why this place is left out; nothing if it is not."""
        if place.tape:
            return "on tape"
        params, library = self.queue.params, self.libraries and ".lib." in file.lfn
        allowed = params.get("allow_lan", True) if place.domain == LAN else params.get("allow_wan", not self.near)
        if not allowed and not (library and place.domain == WAN):
            return f"over {place.domain.upper()}, which the queue does not allow"
        return "" if self._is_storage(place) else "of no storage but the node's own"

    def _is_storage(self, place: Replica) -> bool:
        """Whether this is a place outside the node; inside it only where the storage's own facts say so."""
        if scheme_of(place.url) != "file" and not _is_link_local(place.url):
            return True
        storage = self.queue.storages.get(place.endpoint)
        begins = [f"{begin.rstrip('/')}/" for begin in storage.read] if storage else []
        return place.url.startswith(tuple(begins)) and ".." not in unquote(place.url).split("/")

    def _rank(self, place: Replica) -> tuple[int, int, int]:
        if place.domain == WAN or place.endpoint not in self.near:
            return int(place.domain == WAN), 0, 0
        return 0, self.near.index(place.endpoint), self.ways.liking(place)

    def _is_direct(self, place: Replica) -> bool:
        scheme = place.url.partition("://")[0].lower()
        return "://" in place.url and not place.signed and scheme in self.direct[place.domain]

    def _check_links(self, file: FileSpec, chosen: list[Replica]) -> list[Replica] | PilotError:
        if file.direct and self.ways.tools == (LINKS,) and any(self.direct.values()):
            told = f"{file.lfn}: bad queue configuration: its only copy tool makes links, and it wants direct access"
            return PilotError(Code.BADQUEUECONFIGURATION, told)
        return chosen


def _is_link_local(url: str) -> bool:
    """Whether a host is on the node's own link, where clouds keep what is not for everybody; or makes no sense."""
    try:
        host = urlsplit(url).hostname or ""
        return ip_address(host).is_link_local if host[-1:].isdigit() or ":" in host else False
    except ValueError:
        return True
