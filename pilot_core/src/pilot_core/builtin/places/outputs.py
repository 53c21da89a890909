"""Where outputs and the log go: their storage, another if that fails and may be used, and the protocols of each. Pure,
but for facts of storages asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from attrs import frozen

from pilot_core.builtin.places import PlacesOptions
from pilot_core.builtin.places import activities as words
from pilot_core.builtin.places.paths import hashed, path_of, url_of
from pilot_core.builtin.places.ways import Ways
from pilot_core.sdk import Code, DataOptions, FileSpec, Job, JobKey, PilotError, Queue, Replica, Settings

ELSEWHERE: Final[JobKey[Mapping[str, str]]] = JobKey("job.elsewhere")
"""What a job says of another storage: ``wish`` on, off or force, ``never`` the endpoint that is none."""
Answer = Sequence[Replica] | PilotError


def destinations(job: Job, files: Sequence[FileSpec], queue: Queue, settings: Settings) -> dict[str, Answer]:
    """The places of files that came without one, by name; one that is left out has nowhere to go."""
    options, output_dir = settings.of(PlacesOptions), settings.of(DataOptions).output_dir
    goals = {log: Goals.of(job, queue, options, log=log) for log in (False, True)}
    log_name = job.log.lfn if job.log else ""
    placed: dict[str, Answer] = {}
    for file in files:
        goal = goals[file.lfn == log_name]
        found = None if file.replicas else goal.in_folder(file, output_dir) if output_dir else goal.choose(file)
        if found is not None:
            placed[file.lfn] = found
    return placed


@frozen
class Goals:
    """Where the files of a job go that are stored for one purpose."""

    queue: Queue
    storages: tuple[str, ...]
    near: tuple[str, ...]
    """The storages that the queue reads from."""
    ways: Ways
    never: str
    other: bool
    """Whether another storage may be used where the first fails."""

    @classmethod
    def of(cls, job: Job, queue: Queue, options: PlacesOptions, *, log: bool) -> Goals:
        activities = words.writing(job, queue, log=log)
        said = job.extras.get(ELSEWHERE) or {}
        return cls(
            queue,
            words.storages(queue, activities),
            words.storages(queue, words.reading(job, queue)),
            Ways.of(queue, activities, options),
            said.get("never", ""),
            may_go_elsewhere(queue, said.get("wish", ""), options),
        )

    def choose(self, file: FileSpec) -> Answer | None:
        """The places of a file in its storage and then in the other; why there is none; nothing if nobody knows any."""
        if not self.storages:
            return self._places(file, file.endpoint) if file.endpoint in self.queue.storages else None
        first, other = self.endpoints(file)
        found = self._places(file, first)
        more = self._places(file, other) if other and self.other else ()
        if isinstance(more, PilotError):
            return found
        return more or found if isinstance(found, PilotError) else (*found, *more)

    def endpoints(self, file: FileSpec) -> tuple[str, str]:
        """The storage of a file, and the one to go to if that fails."""
        names = self.storages
        if file.endpoint and file.endpoint not in names:
            return names[0], file.endpoint if file.endpoint != self.never else ""
        first = file.endpoint or names[0]
        at = names.index(first)
        rest = (*names[at + 1 :], *names[:at])
        return first, next((name for name in rest if name not in (first, self.never)), "")

    def _places(self, file: FileSpec, endpoint: str) -> Answer:
        storage = self.queue.storages.get(endpoint)
        if storage is None:
            return PilotError(Code.NOSTORAGE, f"{file.lfn}: nothing is known of the storage {endpoint}")
        is_near = endpoint in self.near
        order = ("write_lan", "write_wan") if is_near else ("write_wan", "write_lan")
        begins = next((found for each in order if (found := storage.protocols.get(each))), ())
        try:
            urls = [url_of(begin, path_of(file, storage)) for begin in begins]
        except PilotError as unknown:
            return unknown
        domain = "lan" if is_near else "wan"
        places = self.ways.reachable(Replica(url, endpoint, domain) for url in urls)
        if not places:
            told = f"{file.lfn}: {endpoint} has no protocol for {self.ways.activity} that the queue's copy tools speak"
            return PilotError(Code.NOSTORAGEPROTOCOL, told)
        return tuple(sorted(places, key=self.ways.liking))

    def in_folder(self, file: FileSpec, folder: str) -> Answer | None:
        """The place below one directory for all, named as in the file's storage if that names by hashes."""
        names = (file.endpoint, *self.storages[:1])
        known = next((self.queue.storages[name] for name in names if name in self.queue.storages), None)
        if known is None or not known.hashed:
            return None
        return (Replica(url_of(folder, hashed(file.scope, file.lfn))),)


def may_go_elsewhere(queue: Queue, wish: str, options: PlacesOptions) -> bool:
    """Whether another storage may take a file: as the queue says, else as the job does, unless the job forces it."""
    if wish == "force" and options.forced:
        return True
    told = queue.params.get("allow_altstageout")
    return bool(told) if told is not None else wish in ("on", "force")
